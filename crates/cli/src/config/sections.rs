//! The table of settings: one struct for each section of the file, which is also a heading of `hioload serve --help`.

use clap::Args;
use serde::Deserialize;

use hioload_ws::{HugePages, Idle, SendPolicy};

use super::text;
use super::values::{
    AllowOrigin, AtLeastOne, AutoOff, BusyPoll, Control, Deflate, EalArguments, Gateway, Interface,
    LcoreSet, Listen, LogFilter, LogFormat, Mac, Mbufs, Mtu, OwnAddress, PortName, Queues,
    RingSize, RxChecksum, Size, Span, TransportKind, UpTo, Vlan, Within, XdpMode, ZeroCopy,
};

// Upper bounds, so that a slip of the hand is told and not met by the allocator. They are far above what is of use.
/// Slots of which each lcore reserves room for all.
const MOST_SLOTS: u64 = 1 << 24;
/// Entries of a ring that is set up whole.
const MOST_QUEUE: u64 = 1 << 20;
/// A buffer that is set up whole.
const MOST_BUFFER: u64 = 1 << 30;
/// Memory that is taken as it is needed.
const MOST_BYTES: u64 = 1 << 40;

/// Declares a section: in brackets the keys that hold lists, in braces those that hold one value, each as
/// `key: Type = "PLACEHOLDER";`. What was not said is `None`.
macro_rules! section {
    (
        $(#[$doc:meta])* $name:ident, $heading:literal
        $([ $($(#[$list_meta:meta])* $list:ident : $item:ty = $list_value:literal;)* ])?
        {
            $($(#[$meta:meta])* $key:ident : $ty:ty = $value:literal;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Args, Deserialize, Clone, Default, PartialEq, Debug)]
        #[serde(deny_unknown_fields, default)]
        #[command(next_help_heading = $heading)]
        #[group(skip)]
        pub(crate) struct $name {
            $($(
                $(#[$list_meta])*
                #[arg(long, value_name = $list_value)]
                #[serde(deserialize_with = "text::many")]
                pub(crate) $list: Option<Vec<$item>>,
            )*)?
            $(
                $(#[$meta])*
                #[arg(long, value_name = $value, hide_possible_values = true)]
                #[serde(deserialize_with = "text::one")]
                pub(crate) $key: Option<$ty>,
            )*
        }

        impl $name {
            /// What is set here, and from `below` what is not.
            fn over(self, below: Self) -> Self {
                Self {
                    $($($list: self.$list.or(below.$list),)*)?
                    $($key: self.$key.or(below.$key),)*
                }
            }
        }
    };
}

section! {
    /// `[server]`
    ServerArgs, "Server"
    [
        /// Where to listen: ADDR:PORT, [IPV6]:PORT or unix:/path; repeatable. Port 0 takes a free one
        listen: Listen = "ADDR";
        /// An Origin that browsers may come from, such as https://example.org; repeatable. * is any. Requests without
        /// an Origin (not from browsers) are always let in
        allow_origin: AllowOrigin = "ORIGIN";
    ]
    {
        /// How many lcores (2), or the CPUs to pin one each to (0,1 or 0-3,8 or cpu:3 for a single one), or all. With
        /// af-xdp and dpdk there is one for each queue
        lcores: LcoreSet = "N|CPUS";
        /// What moves the bytes: sockets; or TCP of our own over the queues of a network interface (af-xdp), or of a port of
        /// DPDK (dpdk)
        transport: TransportKind = "NAME";
        /// What an lcore with nothing to do does: busy spins, adaptive spins a while and then sleeps, block sleeps
        idle: Idle = "busy|adaptive|block";
        /// Huge pages for the buffers: off, transparent, or explicit (reserved by vm.nr_hugepages)
        huge_pages: HugePages = "off|transparent|explicit";
        /// Whether GET /stats answers with the counters as JSON
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        stats: bool = "true|false";
        /// The socket for hioload flows and hioload tap: a path, none, or auto (/run/hioload/PORT.sock for root, else in
        /// $XDG_RUNTIME_DIR)
        control: Control = "PATH";
    }
}

section! {
    /// `[bypass]`
    BypassArgs, "TCP of our own, over the queues of a port (--transport af-xdp, dpdk)"
    [
        /// Our address, with its network's prefix length: 10.77.0.2/24, fd77::2/64; repeatable
        ip: OwnAddress = "ADDR/LEN";
        /// The router for other networks, for connections of our own; one for IPv4, one for IPv6
        gateway: Gateway = "ADDR";
    ]
    {
        /// Queues, an lcore for each. af-xdp: those to take, 0,1 or 0-3 or all. dpdk: how many; all is as many as there may
        /// be lcores if the device spreads flows over queues, else one
        queues: Queues = "QUEUES";
        /// Our MAC address; device: the port's
        mac: Mac = "MAC";
        /// The VLAN we are in; none: packets without a tag
        vlan: Vlan = "1-4094";
    }
}

section! {
    /// `[af_xdp]`
    AfXdpArgs, "AF_XDP (--transport af-xdp)" {
        /// The network interface
        interface: Interface = "NAME";
        /// Whether the addresses are the kernel's too: then only the listened ports are ours, and all else stays as it is
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        share_address: bool = "true|false";
        /// Where the XDP program runs: native (in the driver), skb (in the stack: any driver, slower), or auto
        xdp_mode: XdpMode = "auto|native|skb";
        /// Whether the NIC writes packets into our memory; off: the kernel copies them
        zero_copy: ZeroCopy = "auto|on|off";
        /// How long one call may poll the driver from the lcore, instead of interrupts; or off
        busy_poll: BusyPoll = "TIME";
        /// Whether checksums of what arrives are verified; auto does unless packets never leave this machine (veth)
        rx_checksum: RxChecksum = "auto|verify|trust";
    }
}

section! {
    /// `[dpdk]`
    DpdkArgs, "DPDK (--transport dpdk)" {
        /// The arguments of DPDK's EAL, in one, as in a shell: "-a 0000:01:00.0 --in-memory"; or none
        #[arg(allow_hyphen_values = true)]
        dpdk_args: EalArguments = "ARGS";
        /// The port: its number, or its name (a PCI address, a virtual device)
        port: PortName = "N|NAME";
        /// The largest IP packet; device: as the port has it
        mtu: Mtu = "BYTES";
        /// Received frames that each queue of the device may hold; it may take fewer
        rx_descriptors: Within<u16, 32, 32768> = "N";
        /// Frames to be sent that each queue of the device may hold; it may take fewer
        tx_descriptors: Within<u16, 32, 32768> = "N";
        /// Frames (mbufs) of each queue; auto: enough for its descriptors, and a thousand more
        mbufs: Mbufs = "N";
        /// Whether TCP checksums are left to the device: auto if it offers that, or off
        checksum_offload: AutoOff = "auto|off";
        /// Whether a device that can take only what is for our addresses is told to (rte_flow): auto, or off
        flow_rules: AutoOff = "auto|off";
        /// Whether frames to any MAC address are taken
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        promiscuous: bool = "true|false";
    }
}

section! {
    /// `[tcp]`
    TcpArgs, "TCP of our own (--transport af-xdp, dpdk); for each lcore" {
        /// Connections whose handshake is not complete. Beyond: the oldest is forgotten
        half_open: UpTo<usize, MOST_QUEUE> = "N";
        /// Connections remembered for a while after their end (TIME_WAIT). Beyond: the oldest is forgotten
        time_wait: UpTo<usize, MOST_SLOTS> = "N";
        /// Connections that we have closed and the peer has not. Beyond: the oldest is reset
        orphans: UpTo<usize, MOST_QUEUE> = "N";
        /// Time for those
        linger: AtLeastOne<Span> = "TIME";
        /// The receive window of a connection: a power of two. Address space; memory only while it holds data
        rx_ring: RingSize = "SIZE";
        /// The send window, likewise
        tx_ring: RingSize = "SIZE";
        /// Memory in windows. Beyond: empty ones are given back at once
        ring_memory: UpTo<Size, MOST_BYTES> = "SIZE";
        /// Windows that were empty for so long are given back
        ring_idle: AtLeastOne<Span> = "TIME";
        /// Time for a peer to acknowledge what was sent. Beyond: the connection is given up
        user_timeout: AtLeastOne<Span> = "TIME";
        /// Silence after which TCP probes whether the peer is there; 0: never
        keepalive: Span = "TIME";
        /// Resets sent per second to what belongs to no connection
        rst_rate: u32 = "N";
        /// ICMP messages sent per second
        icmp_rate: u32 = "N";
    }
}

section! {
    /// `[limits]`
    LimitArgs, "Limits (0 is no limit where that is said)" {
        /// Open connections of the process. Beyond: 503
        max_connections: UpTo<usize, MOST_SLOTS> = "N";
        /// Open connections from one address (IPv6: one /64); 0: no limit. Beyond: 503
        max_connections_per_source: u32 = "N";
        /// Connections accepted per second; 0: no limit. Beyond: they wait in the backlog
        accept_rate: u32 = "N";
        /// Time for the request head to arrive. Beyond: 408
        handshake_timeout: AtLeastOne<Span> = "TIME";
        /// Bytes of the request head. Beyond: 431
        max_handshake: UpTo<Size, MOST_BUFFER> = "SIZE";
        /// Bytes of a message, reassembled and inflated. Beyond: close 1009
        max_message: UpTo<Size, MOST_BYTES> = "SIZE";
        /// Frames of a message. Beyond: close 1008
        max_fragments: AtLeastOne<u32> = "N";
        /// Bytes of unfinished messages on one lcore. Beyond: close 1013
        reassembly_memory: UpTo<Size, MOST_BYTES> = "SIZE";
        /// Bytes of published messages that one lcore shares among send queues. Beyond: they are copied
        published_memory: UpTo<Size, MOST_BYTES> = "SIZE";
        /// Bytes queued for one connection. Beyond: see --send-policy; it is not read until the queue has drained
        send_queue: UpTo<Size, MOST_BYTES> = "SIZE";
        /// What happens to a message for a full send queue; close is with 1013
        send_policy: SendPolicy = "drop-oldest|drop-new|close";
        /// Messages per second from one connection; 0: no limit. Beyond: close 1008
        message_rate: u32 = "N";
        /// Silence after which a Ping is sent; 0: never
        ping_interval: Span = "TIME";
        /// Silence after which a connection is closed with 1001; 0: never
        idle_timeout: Span = "TIME";
        /// Age at which a connection is closed with 1001; 0: never
        max_lifetime: Span = "TIME";
        /// Time for the peer to answer a Close. Beyond: reset
        close_timeout: AtLeastOne<Span> = "TIME";
        /// Subscriptions of one connection. Beyond: an error to the client
        max_subscriptions: u32 = "N";
    }
}

section! {
    /// `[sockets]`
    SocketArgs, "Sockets (backlog, rx_buffer and tx_ also with af-xdp and dpdk)" {
        /// Connections that may wait to be accepted (the kernel caps it at net.core.somaxconn)
        backlog: AtLeastOne<i32> = "N";
        /// Whether small writes leave at once (TCP_NODELAY)
        nodelay: bool = "true|false";
        /// The receive buffer of an lcore
        rx_buffer: UpTo<Size, MOST_BUFFER> = "SIZE";
        /// One send buffer
        tx_chunk: UpTo<Size, MOST_BUFFER> = "SIZE";
        /// Send buffers of an lcore (address space; memory is used as they are)
        tx_chunks: UpTo<usize, MOST_SLOTS> = "N";
        /// SO_RCVBUF of each connection; 0: the system's choice
        recv_buffer: Size = "SIZE";
        /// SO_SNDBUF of each connection; 0: the system's choice
        send_buffer: Size = "SIZE";
    }
}

section! {
    /// `[deflate]`
    DeflateArgs, "Compression (permessage-deflate)" {
        /// off, shared (compressors of the lcore, no context kept) or own (one for each connection: more memory,
        /// smaller messages)
        deflate: Deflate = "off|shared|own";
        /// Level, from 0 (stored) to 9 (smallest); 1 is by far the fastest that compresses
        deflate_level: Within<u8, 0, 9> = "0-9";
        /// Messages shorter than this are sent as they are
        deflate_threshold: Size = "SIZE";
        /// Memory of an own compressor, from 1 to 9
        deflate_mem_level: Within<u8, 1, 9> = "1-9";
        /// Our window, as a power of two
        deflate_server_window_bits: Within<u8, 8, 15> = "8-15";
        /// The clients' window, as a power of two: what a client that keeps its context costs in memory
        deflate_client_window_bits: Within<u8, 8, 15> = "8-15";
        /// Whether we forget the context between messages even with own compressors
        deflate_server_no_context_takeover: bool = "true|false";
        /// Whether clients are told to forget theirs
        deflate_client_no_context_takeover: bool = "true|false";
    }
}

section! {
    /// `[drain]`
    DrainArgs, "Drain (on SIGTERM)" {
        /// Window over which the Close frames are spread
        drain_jitter: Span = "TIME";
        /// Time after which connections that are left are reset
        drain_deadline: Span = "TIME";
    }
}

section! {
    /// `[engine]`
    EngineArgs, "Engine" {
        /// Threads for slow work
        executor_threads: Within<usize, 0, 1024> = "N";
        /// Jobs that may wait for them
        executor_queue: UpTo<usize, MOST_QUEUE> = "N";
        /// Messages that may wait between two lcores
        mailbox: UpTo<usize, MOST_QUEUE> = "N";
        /// Connections served in one turn of the loop
        turn_events: AtLeastOne<usize> = "N";
        /// Messages taken from one connection in one turn
        turn_messages: AtLeastOne<usize> = "N";
    }
}

section! {
    /// `[log]`
    LogArgs, "Log (to standard error)" {
        /// off, error, warn, info, debug, trace, or a filter such as warn,hioload_engine=debug
        log: LogFilter = "LEVEL|FILTER";
        /// text or json
        log_format: LogFormat = "text|json";
    }
}

/// Everything that was set in one place: the command line, or a file.
#[derive(Args, Deserialize, Clone, Default, PartialEq, Debug)]
#[serde(deny_unknown_fields, default)]
#[group(skip)]
#[allow(missing_docs)]
pub(crate) struct Settings {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub deflate: DeflateArgs,
    #[command(flatten)]
    pub drain: DrainArgs,
    #[command(flatten)]
    pub sockets: SocketArgs,
    #[command(flatten)]
    pub bypass: BypassArgs,
    #[command(flatten)]
    pub af_xdp: AfXdpArgs,
    #[command(flatten)]
    pub dpdk: DpdkArgs,
    #[command(flatten)]
    pub tcp: TcpArgs,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub log: LogArgs,
}

impl Settings {
    /// What is set here, and from `below` what is not.
    pub(crate) fn over(self, below: Self) -> Self {
        Self {
            server: self.server.over(below.server),
            limits: self.limits.over(below.limits),
            deflate: self.deflate.over(below.deflate),
            drain: self.drain.over(below.drain),
            sockets: self.sockets.over(below.sockets),
            bypass: self.bypass.over(below.bypass),
            af_xdp: self.af_xdp.over(below.af_xdp),
            dpdk: self.dpdk.over(below.dpdk),
            tcp: self.tcp.over(below.tcp),
            engine: self.engine.over(below.engine),
            log: self.log.over(below.log),
        }
    }
}
