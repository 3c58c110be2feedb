//! The declaration of all settings: one struct for each section of the file, which is also a heading of `hioload serve --help`.
//!
//! A setting is declared once, as a field: its documentation, its type (which defines the accepted values), its placeholder, its default,
//! whether it can change while lcores run, and what happens beyond a bound. The flag, the key of the file, the help,
//! `deploy/hioload.toml` and `docs/configuration.md` follow from that (see [`super::reference`]).

use clap::Args;
use serde::Deserialize;

use hioload_ws::{HugePages, Idle, ProxyProtocol, RealIpHeader, SendPolicy};

use super::declaration::{Change, Section, Setting};
use super::text;
use super::values::{
    Accepts, AllowHost, AllowOrigin, AtLeastOne, AutoOff, BusyPoll, ClientAuth, Control, Deflate,
    EalArguments, Gateway, Interface, LcoreSet, ListenOn, LogFilter, LogFormat, Mac, Mbufs, Mtu,
    NetworkValue, OptionalPath, OwnAddress, PortName, Queues, RingSize, RxChecksum, Size, Span,
    TlsCertificate, TlsCurve, TlsMode, TlsSuite, TlsTickets, TlsVersion, TransportKind,
    TrustedProxy, UnixGroup, UnixMode, UnknownName, UpTo, Vlan, Within, XdpMode, ZeroCopy,
};

// Upper bounds keep a typing error from reaching the allocator. They are far above useful values.
/// Slots for which each lcore reserves address space.
const MOST_SLOTS: u64 = 1 << 24;
/// Entries of a ring that is allocated whole.
const MOST_QUEUE: u64 = 1 << 20;
/// Bytes of a buffer that is allocated whole.
const MOST_BUFFER: u64 = 1 << 30;
/// Bytes of memory that is allocated on demand.
const MOST_BYTES: u64 = 1 << 40;

/// Declares a section: in brackets the keys that hold lists, in braces those that hold one value, each as
/// `key: Type, "PLACEHOLDER", "default", Change [, beyond "..."];`. A setting without a value is `None`.
macro_rules! section {
    (
        $(#[doc = $doc:literal])* $name:ident, $section:literal, $heading:literal
        $([ $(
            $(#[doc = $list_doc:literal])* $(#[arg($($list_arg:tt)*)])?
            $list:ident : $item:ty, $list_value:literal, $list_default:literal, $list_change:ident
            $(, beyond $list_beyond:literal)?;
        )* ])?
        {
            $(
                $(#[doc = $key_doc:literal])* $(#[arg($($arg:tt)*)])?
                $key:ident : $ty:ty, $value:literal, $default:literal, $change:ident
                $(, beyond $beyond:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Args, Deserialize, Clone, Default, PartialEq, Debug)]
        #[serde(deny_unknown_fields, default)]
        #[command(next_help_heading = $heading)]
        #[group(skip)]
        pub(crate) struct $name {
            $($(
                $(#[doc = $list_doc])*
                #[arg(long, value_name = $list_value $(, $($list_arg)*)?)]
                #[serde(deserialize_with = "text::many")]
                pub(crate) $list: Option<Vec<$item>>,
            )*)?
            $(
                $(#[doc = $key_doc])*
                #[arg(long, value_name = $value, hide_possible_values = true $(, $($arg)*)?)]
                #[serde(deserialize_with = "text::one")]
                pub(crate) $key: Option<$ty>,
            )*
        }

        impl $name {
            const SECTION: Section = Section {
                name: $section,
                heading: $heading,
                settings: &[
                    $($(Setting {
                        key: stringify!($list),
                        docs: &[$($list_doc),*],
                        accepts: <$item as Accepts>::accepts,
                        default: $list_default,
                        is_list: true,
                        change: Change::$list_change,
                        beyond: { let _beyond: &[&str] = &[$($list_beyond)?]; _beyond },
                    },)*)?
                    $(Setting {
                        key: stringify!($key),
                        docs: &[$($key_doc),*],
                        accepts: <$ty as Accepts>::accepts,
                        default: $default,
                        is_list: false,
                        change: Change::$change,
                        beyond: { let _beyond: &[&str] = &[$($beyond)?]; _beyond },
                    },)*
                ],
            };

            /// The settings of `self`, and those of `other` that `self` leaves unset.
            fn or(self, other: Self) -> Self {
                Self {
                    $($($list: self.$list.or(other.$list),)*)?
                    $($key: self.$key.or(other.$key),)*
                }
            }
        }
    };
}

section! {
    /// `[server]`
    ServerArgs, "server", "Server"
    [
        /// The endpoints to listen on; repeatable
        ///
        /// `:PORT` is every address of the machine, IPv4 and IPv6. `0.0.0.0:PORT` is every IPv4 address and `[::]:PORT` every IPv6
        /// address. `NAME:PORT` is every address of a name, such as localhost. `systemd` takes the sockets that systemd passes, and
        /// `systemd:NAME` those with this FileDescriptorName; without `listen`, sockets that are passed replace the default. Port 0
        /// lets the kernel choose a port, which the start line shows.
        listen: ListenOn, "ADDR", "127.0.0.1:9001", Start;
        /// The origins whose web pages may use the server; `same-origin`: those that came from it; `*`: any; repeatable
        ///
        /// A request with another Origin gets 403. The server's own origin is always allowed: the host and port of the request. Clients
        /// that are not browsers send no Origin and are accepted. `*` lets any page that a user visits use the server with that user's
        /// network access.
        allow_origin: AllowOrigin, "ORIGIN", "same-origin", Running;
        /// The host names under which browsers may use the server; `auto`: any, but for clients on a loopback address only localhost; `*`:
        /// any; repeatable
        ///
        /// A request for another name gets 403. IP addresses, localhost and the names in `allow_origin` are always allowed. This protects
        /// against pages whose name resolves to an address of the server (DNS rebinding).
        allow_host: AllowHost, "NAME", "auto", Running;
        /// The proxies in front of the server: their networks, and `unix` for the peers of Unix sockets; repeatable
        ///
        /// The client that such a proxy names, by `proxy_protocol` or `real_ip_header`, is the peer for limits, `allow` and `deny`, logs
        /// and handlers. The proxy itself counts for no source.
        trusted_proxies: TrustedProxy, "NETWORK", "none", Running;
        /// The networks that may connect; `none`: all; repeatable
        ///
        /// A connection from another network is reset.
        allow: NetworkValue, "NETWORK", "none", Running;
        /// The networks that may not connect, also if they are allowed; repeatable
        deny: NetworkValue, "NETWORK", "none", Running;
    ]
    {
        /// Which connections begin with a PROXY header (version 1 or 2): `off`: none; `trusted`: those of `trusted_proxies`; `require`:
        /// all, and other peers are reset
        ///
        /// A malformed header is answered with a reset. A header has at most `max_handshake` bytes and arrives within
        /// `handshake_timeout`.
        proxy_protocol: ProxyProtocol, "off|trusted|require", "off", Running;
        /// The field in which `trusted_proxies` name the client of a request
        ///
        /// The client is the rightmost address that is not one of `trusted_proxies`. An address that is malformed is answered with 400.
        real_ip_header: RealIpHeader, "none|x-forwarded-for|forwarded", "none", Running;
        /// The threads that serve connections, each on its own CPU
        ///
        /// `all` is one for each CPU that the process may use, and a CPU quota counts. A number is a count. A list or range of CPUs pins
        /// one lcore to each. With af-xdp and dpdk there is one lcore for each queue.
        lcores: LcoreSet, "N|CPUS", "all", Start;
        /// The transport: sockets, or user-space TCP on the queues of a network interface (af-xdp) or of a DPDK port (dpdk)
        ///
        /// The sections `[bypass]`, `[tcp]`, `[af_xdp]` and `[dpdk]` configure the latter two, which are in builds with the feature of
        /// that name.
        transport: TransportKind, "NAME", "sockets", Start;
        /// How an lcore waits when it has nothing to do
        ///
        /// `busy` spins: the least delay, at the cost of the whole CPU. `adaptive` spins for a short time and then sleeps. `block` sleeps at
        /// once.
        idle: Idle, "busy|adaptive|block", "adaptive", Running;
        /// Huge pages for buffers
        ///
        /// `explicit` takes pages from the pool that vm.nr_hugepages reserves, and transparent ones if the pool is too small.
        huge_pages: HugePages, "off|transparent|explicit", "off", Start;
        /// Whether GET /stats returns the counters as JSON
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        stats: bool, "true|false", "false", Start;
        /// The Unix socket for hioload flows and hioload tap, which only the user of the server may open
        ///
        /// `auto` is /run/hioload/PORT.sock for root and $XDG_RUNTIME_DIR/hioload/PORT.sock for other users. If there is no such
        /// directory, there is no socket.
        control: Control, "PATH", "auto", Start;
    }
}

section! {
    /// `[limits]`
    LimitArgs, "limits", "Limits" {
        /// Open connections of the process
        ///
        /// If it is not set, it is lowered to the number that the limit on open files allows.
        max_connections: UpTo<usize, MOST_SLOTS>, "N", "100000", UpToStart,
            beyond "the request is answered with 503";
        /// Open connections from one source address (IPv6: one /64); 0: no limit
        max_connections_per_source: u32, "N", "0", Running,
            beyond "the request is answered with 503";
        /// Connections per second from one source address (IPv6: one /64), with a burst of one second's worth; 0: no limit
        connection_rate_per_source: u32, "N", "0", Running,
            beyond "the request is answered with 503";
        /// The bounds of an IPv6 /56, as a multiple of the two above; 0: no bound of its own
        ///
        /// A subscriber that holds a /56 has 256 networks of the size /64. Raise it where many subscribers share one.
        source_factor_56: u32, "N", "4", Running,
            beyond "the request is answered with 503";
        /// The bounds of an IPv6 /48, as a multiple of those of a source; 0: no bound of its own
        source_factor_48: u32, "N", "16", Running,
            beyond "the request is answered with 503";
        /// Connections that the process accepts per second; 0: no limit
        accept_rate: u32, "N", "0", Running,
            beyond "connections wait in the backlog";
        /// Time from accept to the end of the request head
        handshake_timeout: AtLeastOne<Span>, "TIME", "10s", Running,
            beyond "the connection is answered with 408";
        /// Bytes of the request head
        max_handshake: UpTo<Size, MOST_BUFFER>, "SIZE", "8KiB", Running,
            beyond "the request is answered with 431";
        /// Bytes of a message after reassembly and inflation
        ///
        /// A message is handled in one piece, and the other connections of the lcore wait for that: a larger bound makes the longest
        /// wait longer.
        max_message: UpTo<Size, MOST_BYTES>, "SIZE", "1MiB", UpToStart,
            beyond "the connection is closed with 1009";
        /// Frames of a message
        max_fragments: AtLeastOne<u32>, "N", "131072", Running,
            beyond "the connection is closed with 1008";
        /// Time for a message to arrive, from its first byte; 0: no limit
        ///
        /// A message that takes longer goes on while it keeps `message_min_rate`.
        message_timeout: Span, "TIME", "60s", Running,
            beyond "the connection is closed with 1008";
        /// Bytes per second of a message that takes longer than `message_timeout`, in each such period; 0: it may take no longer
        message_min_rate: Size, "SIZE", "1KiB", Running,
            beyond "the connection is closed with 1008";
        /// Bytes of unfinished messages on one lcore
        ///
        /// One connection may use a quarter. The last quarter is reserved for messages of which at most 16 KiB have arrived.
        reassembly_memory: UpTo<Size, MOST_BYTES>, "SIZE", "512MiB", Running,
            beyond "the connection that needs more is closed with 1013";
        /// Bytes of published messages that one lcore shares among send queues, each message counted once
        published_memory: UpTo<Size, MOST_BYTES>, "SIZE", "256MiB", Running,
            beyond "messages are copied into send buffers (`tx_chunks`)";
        /// Bytes queued for one connection at which its send queue is full
        ///
        /// The server does not read from a connection with a full queue until the queue has drained.
        send_queue: UpTo<Size, MOST_BYTES>, "SIZE", "1MiB", UpToStart,
            beyond "`send_policy` applies";
        /// What happens to a message for a full send queue
        ///
        /// `drop-oldest` drops queued messages, the oldest first. `drop-new` drops the message. `close` closes the connection with 1013.
        send_policy: SendPolicy, "drop-oldest|drop-new|close", "close", Running;
        /// What happens to a published message for a subscriber whose send queue is full
        ///
        /// As `send_policy`. A message that is larger than `send_queue` is refused to its publisher.
        publish_policy: SendPolicy, "drop-oldest|drop-new|close", "drop-oldest", Running;
        /// Time for queued bytes to leave; 0: no limit
        ///
        /// It begins when the network takes no more. If more than `send_queue` is queued, that many bytes have to leave in this time.
        send_timeout: Span, "TIME", "30s", Running,
            beyond "the connection is reset";
        /// Messages and control frames per second from one connection, with a burst of one second's worth; 0: no limit
        message_rate: u32, "N", "0", Running,
            beyond "the connection is closed with 1008";
        /// Silence after which the server sends a Ping; 0: never
        ping_interval: Span, "TIME", "30s", Running;
        /// Silence after which a connection is closed with 1001; 0: never
        idle_timeout: Span, "TIME", "75s", Running;
        /// Age at which a connection is closed with 1001; 0: never
        max_lifetime: Span, "TIME", "0", Running;
        /// Time for the peer to answer a Close, and then to close TCP
        close_timeout: AtLeastOne<Span>, "TIME", "5s", Running,
            beyond "the connection is reset";
        /// Subscriptions of one connection
        max_subscriptions: u32, "N", "1024", Running,
            beyond "the client gets an error";
        /// Bytes of the subscriptions of one connection, about 50 for each token of a pattern
        subscription_bytes: UpTo<Size, MOST_BYTES>, "SIZE", "256KiB", Running,
            beyond "the client gets an error";
        /// Bytes that wait in the mailbox of one lcore: messages from other lcores, events, results of jobs
        mailbox_bytes: UpTo<Size, MOST_BYTES>, "SIZE", "64MiB", Running,
            beyond "the command is dropped and counted";
    }
}

section! {
    /// `[deflate]`
    DeflateArgs, "deflate", "Compression (permessage-deflate, RFC 7692)" {
        /// Compression for clients that offer it
        ///
        /// `shared` uses compressors of the lcore and keeps no context between messages: a connection costs no memory for it. `own` gives
        /// each connection a compressor that keeps its context: messages are smaller.
        deflate: Deflate, "off|shared|own", "shared", Running;
        /// The level, from 0 (stored) to 9 (smallest)
        ///
        /// 1 is by far the fastest level that compresses.
        deflate_level: Within<u8, 0, 9>, "0-9", "1", Running;
        /// Messages shorter than this are sent uncompressed
        deflate_threshold: Size, "SIZE", "128", Running;
        /// Messages longer than this are sent uncompressed
        ///
        /// A message is compressed in one piece, and the other connections of the lcore wait for that. Counter `deflate_skipped`.
        deflate_max: Size, "SIZE", "128KiB", Running;
        /// Memory of an own compressor
        deflate_mem_level: Within<u8, 1, 9>, "1-9", "8", Running;
        /// The server's window, as a power of two
        deflate_server_window_bits: Within<u8, 8, 15>, "8-15", "15", Running;
        /// The client's window, as a power of two
        ///
        /// It is the memory that a client that keeps its context costs: 12 is 4 KiB.
        deflate_client_window_bits: Within<u8, 8, 15>, "8-15", "12", Running;
        /// Whether the server drops its context after each message even with own compressors
        deflate_server_no_context_takeover: bool, "true|false", "false", Running;
        /// Whether the server asks clients to drop theirs
        deflate_client_no_context_takeover: bool, "true|false", "false", Running;
    }
}

section! {
    /// `[tls]`
    TlsArgs, "tls", "TLS (wss://, https://)"
    [
        /// The files of a certificate; repeatable
        ///
        /// A client gets the certificate with the name that it asks for: an exact one, or a wildcard for one label. The names are those in the
        /// certificate, unless some are given. The file of the certificate holds the intermediate certificates too. In a folder the files are
        /// fullchain.pem and privkey.pem (certbot), tls.crt and tls.key (Kubernetes), or cert.pem and key.pem.
        tls_certificate: TlsCertificate, "FILES", "none", Start;
        /// The cipher suites that are allowed, in the server's order of preference; repeatable
        ///
        /// `all`: every suite, and the client's order counts.
        tls_suite: TlsSuite, "NAME", "all", Start;
        /// The key exchanges that are allowed, in the order of preference; repeatable
        ///
        /// `auto`: X25519MLKEM768, X25519, secp256r1, secp384r1.
        tls_curve: TlsCurve, "NAME", "auto", Start;
    ]
    {
        /// Whether all listeners speak TLS
        ///
        /// `auto`: if there is a `tls_certificate`. `dev`: with a certificate for localhost, which `hioload cert dev` makes and shows.
        tls: TlsMode, "auto|off|dev", "auto", Start;
        /// What a client gets that asks for a name that no certificate has, or for none
        ///
        /// `first`: the first certificate. `refuse`: the alert unrecognized_name. Counter `tls_unknown_names`.
        tls_unknown_name: UnknownName, "first|refuse", "first", Start;
        /// The lowest version
        tls_min_version: TlsVersion, "1.2|1.3", "1.2", Start;
        /// Whether clients show certificates
        ///
        /// One that is shown must be of an authority in `tls_client_ca`, also if it is optional. Handlers see it.
        tls_client_auth: ClientAuth, "off|optional|required", "off", Start;
        /// The file with the authorities of clients' certificates
        tls_client_ca: OptionalPath, "FILE", "none", Start;
        /// The file with their revocation lists
        ///
        /// A client is refused if its certificate is on one, if none is of its issuer, or if that is past its next update.
        tls_client_crl: OptionalPath, "FILE", "none", Start;
        /// The keys of session tickets
        ///
        /// `own`: random ones of the process. A file, which `hioload cert tickets` makes: several servers resume each other's sessions.
        tls_tickets: TlsTickets, "own|off|FILE", "own", Start;
        /// Time for which each of the process's own keys encrypts; it decrypts for one more
        tls_ticket_period: Within<Span, 1_000_000_000, 604_800_000_000_000>, "TIME", "12h", Start;
        /// Whether certificates, keys and the other files are read again when they change
        ///
        /// New connections use them, and open ones keep what they have. If a file is wrong, all stay as they are.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        tls_watch: bool, "true|false", "true", Start;
        /// Handshakes in progress on each lcore
        tls_handshakes: UpTo<usize, MOST_QUEUE>, "N", "4096", Start,
            beyond "the oldest one without a whole record is ended, or the new one if each has sent one";
        /// Bytes that they may hold together on each lcore of what they received, besides 4 KiB for each of them
        ///
        /// Counter `tls_handshakes_over_memory`.
        tls_handshake_memory: UpTo<Size, MOST_BYTES>, "SIZE", "16MiB", Start,
            beyond "the handshake that wants more is ended";
        /// Steps of handshakes in one turn of the loop; each costs about 150 us
        ///
        /// The others wait for the next turn, so that a storm of handshakes does not stall open connections. Counter
        /// `tls_handshakes_delayed`.
        tls_handshakes_per_turn: AtLeastOne<usize>, "N", "1", Start;
        /// Handshakes that may begin in a second, in the whole process; 0: no limit
        ///
        /// A tenth of them may begin at once. The others wait, at most until `handshake_timeout`. Counter `tls_handshakes_limited`.
        tls_handshake_rate: u32, "N", "0", Start,
            beyond "handshakes wait";
        /// Threads that make the steps of handshakes, so that lcores do not; 0: the lcores make them
        ///
        /// They need CPUs that no lcore uses: see `lcores`. Counters `tls_handshake_steps_offloaded`, `tls_handshake_threads_busy`.
        tls_handshake_threads: Within<usize, 0, 1024>, "N", "0", Start;
        /// Steps of handshakes that may wait for these threads
        tls_handshake_queue: UpTo<usize, MOST_QUEUE>, "N", "256", Start,
            beyond "handshakes wait on their lcore";
        /// Expanded keys that each lcore keeps, of 600 bytes; 0: two for each of `max_connections`, and at most 2048
        ///
        /// A connection that is active has two. Beyond it a record costs the expansion of its key. Counter `tls_keys_expanded`.
        tls_key_cache: Within<usize, 0, MOST_QUEUE>, "N", "0", Start;
        /// A file for the secrets of all connections, with which Wireshark reads a recording
        ///
        /// For debugging only: whoever reads the file decrypts the connections.
        tls_key_log: OptionalPath, "FILE", "none", Start;
    }
}

section! {
    /// `[drain]`
    DrainArgs, "drain", "Drain (on SIGTERM)" {
        /// The window over which the Close frames (1001) are spread
        drain_jitter: Span, "TIME", "1s", Running;
        /// Time after which the remaining connections are reset
        drain_deadline: Span, "TIME", "10s", Running;
    }
}

section! {
    /// `[sockets]`
    SocketArgs, "sockets", "Sockets (backlog, rx_buffer, tx_chunk and tx_chunks apply to af-xdp and dpdk too)" {
        /// Connections that may wait to be accepted
        ///
        /// The kernel caps it at net.core.somaxconn.
        backlog: AtLeastOne<i32>, "N", "4096", Start;
        /// Whether small writes leave at once (TCP_NODELAY)
        nodelay: bool, "true|false", "true", Start;
        /// The receive buffer of each lcore
        rx_buffer: UpTo<Size, MOST_BUFFER>, "SIZE", "64KiB", Start;
        /// The size of one send buffer
        tx_chunk: UpTo<Size, MOST_BUFFER>, "SIZE", "16KiB", Start;
        /// Send buffers of each lcore
        ///
        /// They are address space; they use memory only while they hold data. One connection may use a quarter of them, and half of what is
        /// left.
        tx_chunks: UpTo<usize, MOST_SLOTS>, "N", "16384", Start;
        /// The mode of the files of Unix sockets; `umask`: as the umask leaves it, and 0660 if there is a `unix_group`
        ///
        /// A client needs write permission to connect.
        unix_mode: UnixMode, "MODE", "umask", Start;
        /// The group of these files; `none`: that of the process
        unix_group: UnixGroup, "GROUP", "none", Start;
        /// SO_RCVBUF of each connection; 0: the kernel's choice
        recv_buffer: Size, "SIZE", "0", Start;
        /// SO_SNDBUF of each connection; 0: the kernel's choice
        send_buffer: Size, "SIZE", "0", Start;
    }
}

section! {
    /// `[bypass]`
    BypassArgs, "bypass", "User-space TCP on the queues of a port (--transport af-xdp, dpdk)"
    [
        /// An address of the server with the prefix length of its network; repeatable
        ///
        /// Every --listen address must be one of these.
        ip: OwnAddress, "ADDR/LEN", "none", Start;
        /// The router for connections to other networks, one for IPv4 and one for IPv6
        ///
        /// Replies go back to the MAC address that the request came from, so a server needs no gateway.
        gateway: Gateway, "ADDR", "none", Start;
    ]
    {
        /// The queues; each has one lcore
        ///
        /// af-xdp: the queues to take; packets for the server that arrive on another queue are dropped. dpdk: how many; `all` is one for
        /// each lcore on a device that spreads flows over queues (RSS), and one on other devices.
        queues: Queues, "QUEUES", "all", Start;
        /// The MAC address of the server; `device` is that of the port
        mac: Mac, "MAC", "device", Start;
        /// The VLAN of the server; `none` is packets without a tag, or with a priority tag (VLAN 0)
        vlan: Vlan, "1-4094", "none", Start;
    }
}

section! {
    /// `[af_xdp]`
    AfXdpArgs, "af_xdp", "AF_XDP (--transport af-xdp)" {
        /// The network interface
        interface: Interface, "NAME", "none", Start;
        /// Whether the kernel has the addresses too
        ///
        /// `false`: only the server has them, and it answers ARP, neighbour discovery and ping. `true`: the server receives TCP to its
        /// listened ports, and the kernel receives everything else.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        share_address: bool, "true|false", "false", Start;
        /// Where the XDP program runs
        ///
        /// `native` is in the driver. `skb` is in the kernel's network stack: slower, but any driver can do it.
        xdp_mode: XdpMode, "auto|native|skb", "auto", Start;
        /// Whether the NIC writes packets into the server's memory (on) or the kernel copies them (off)
        zero_copy: ZeroCopy, "auto|on|off", "auto", Start;
        /// How long one call may poll the driver from the lcore instead of waiting for an interrupt
        busy_poll: BusyPoll, "TIME", "off", Start;
        /// Whether the checksums of received packets are verified
        ///
        /// `auto` trusts them on interfaces whose packets never leave the machine (veth).
        rx_checksum: RxChecksum, "auto|verify|trust", "auto", Start;
    }
}

section! {
    /// `[dpdk]`
    DpdkArgs, "dpdk", "DPDK (--transport dpdk)" {
        /// The arguments of DPDK's EAL in one string, split as a shell does: "-a 0000:01:00.0 --in-memory"
        ///
        /// With `none`, EAL takes every device that is bound to one of its drivers. EAL's log is part of the server's log, target dpdk.
        #[arg(allow_hyphen_values = true)]
        dpdk_args: EalArguments, "ARGS", "none", Start;
        /// The port: its number, or its name (a PCI address, or a virtual device such as net_ring0)
        port: PortName, "N|NAME", "0", Start;
        /// The largest IP packet; `device` is the setting of the port
        mtu: Mtu, "BYTES", "device", Start;
        /// Received frames that each queue of the device may hold
        ///
        /// The device may take fewer.
        rx_descriptors: Within<u16, 32, 32768>, "N", "1024", Start;
        /// Frames to be sent that each queue of the device may hold
        ///
        /// The device may take fewer.
        tx_descriptors: Within<u16, 32, 32768>, "N", "1024", Start;
        /// Frames (mbufs) of each queue; `auto` is enough for its descriptors, and a thousand more
        mbufs: Mbufs, "N", "auto", Start;
        /// Whether TCP checksums are left to a device that offers it
        checksum_offload: AutoOff, "auto|off", "auto", Start;
        /// Whether a device that can (rte_flow) takes only packets for the server's addresses
        ///
        /// Other devices deliver all packets; the server drops and counts those that are not for it.
        flow_rules: AutoOff, "auto|off", "auto", Start;
        /// Whether frames to any MAC address are received
        ///
        /// A device that cannot have a second address is promiscuous in any case if `mac` is set.
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        promiscuous: bool, "true|false", "false", Start;
    }
}

section! {
    /// `[tcp]`
    TcpArgs, "tcp", "User-space TCP, for each lcore (--transport af-xdp, dpdk)" {
        /// Connections whose handshake is not complete
        half_open: UpTo<usize, MOST_QUEUE>, "N", "4096", Start,
            beyond "the oldest is evicted";
        /// Connections in TIME_WAIT
        time_wait: UpTo<usize, MOST_SLOTS>, "N", "65536", Start,
            beyond "the oldest is evicted";
        /// Connections that the server has closed and the peer has not
        orphans: UpTo<usize, MOST_QUEUE>, "N", "16384", Start,
            beyond "the oldest is reset";
        /// Time for the peer to close such a connection; it starts again while the peer acknowledges data
        linger: AtLeastOne<Span>, "TIME", "10s", Start,
            beyond "the connection is reset";
        /// The receive window of a connection
        ///
        /// It is address space; it uses memory only while it holds data.
        rx_ring: RingSize, "SIZE", "64KiB", Start;
        /// The send window of a connection
        tx_ring: RingSize, "SIZE", "64KiB", Start;
        /// Memory in windows
        ///
        /// At least 1 MiB. A window grows only while half of it is free, or 64 times the window: those that hold much leave memory to the
        /// others. When three quarters are used, windows that are empty are returned to the kernel at once.
        ring_memory: UpTo<Size, MOST_BYTES>, "SIZE", "1GiB", Start,
            beyond "received data is dropped as if lost, and data to be sent waits in the send queue";
        /// Time after which an empty window is returned to the kernel
        ring_idle: AtLeastOne<Span>, "TIME", "2s", Start;
        /// Time for a peer to acknowledge data
        user_timeout: AtLeastOne<Span>, "TIME", "30s", Start,
            beyond "the connection is given up";
        /// Silence after which TCP probes the peer; 0: never, since `ping_interval` does the same
        keepalive: Span, "TIME", "0", Start;
        /// Resets per second in answer to segments of no connection, and challenges of resets and SYNs (RFC 5961)
        ///
        /// One host gets at most an eighth of them. How many a tenth of a second allows is random, between half and all.
        rst_rate: u32, "N", "1000", Start,
            beyond "the segment is dropped and counted";
        /// Echo replies per second
        ///
        /// One host gets at most a quarter of them. How many a tenth of a second allows is random, between half and all.
        icmp_rate: u32, "N", "1000", Start,
            beyond "the message is not sent, and is counted";
    }
}

section! {
    /// `[engine]`
    EngineArgs, "engine", "Engine" {
        /// Threads for slow work of handlers
        executor_threads: Within<usize, 0, 1024>, "N", "1", Start;
        /// Jobs that may wait for these threads
        executor_queue: UpTo<usize, MOST_QUEUE>, "N", "1024", Start,
            beyond "the job is refused";
        /// Commands that may wait between two lcores
        mailbox: UpTo<usize, MOST_QUEUE>, "N", "4096", Start,
            beyond "the command is dropped and counted";
        /// Bytes of the subscriptions on one lcore
        subscription_memory: UpTo<Size, MOST_BUFFER>, "SIZE", "64MiB", Start,
            beyond "the client gets an error";
        /// Connections served in one turn of the loop
        turn_events: AtLeastOne<usize>, "N", "256", Running;
        /// Messages taken from one connection in one turn
        turn_messages: AtLeastOne<usize>, "N", "1024", Running;
        /// The time of one turn of the loop; 0: no bound
        ///
        /// Messages, commands and timers that are left wait for the next turn, behind other connections. Counter `turns_cut`.
        turn_time: Span, "TIME", "500us", Running;
        /// The time of one connection in one turn; 0: no bound
        ///
        /// The rest of its messages waits for the next turn. A message that inflates to much is inflated over several turns.
        visit_time: Span, "TIME", "100us", Running;
        /// Time after which an lcore that does not finish a turn is logged, and GET /healthz returns 503; 0: never
        watchdog: Span, "TIME", "1s", Running;
    }
}

section! {
    /// `[log]`
    LogArgs, "log", "Log (to standard error)" {
        /// The log records to write
        log: LogFilter, "LEVEL|FILTER", "info", Start;
        /// The format: text, or json with one object per line
        log_format: LogFormat, "text|json", "text", Start;
    }
}

/// Defines [`Settings`] of its sections, in the order of the file.
macro_rules! settings {
    ($($section:ident: $args:ident,)*) => {
        /// The settings of one source: the command line, or a file.
        #[derive(Args, Deserialize, Clone, Default, PartialEq, Debug)]
        #[serde(deny_unknown_fields, default)]
        #[group(skip)]
        #[allow(missing_docs)]
        pub(crate) struct Settings {
            $(#[command(flatten)] pub $section: $args,)*
        }

        impl Settings {
            /// The settings of `self`, and those of `other` that `self` leaves unset.
            pub(crate) fn or(self, other: Self) -> Self {
                Self { $($section: self.$section.or(other.$section),)* }
            }
        }

        /// All sections, in the order of the file.
        pub(crate) const SECTIONS: &[Section] = &[$($args::SECTION,)*];
    };
}

settings! {
    server: ServerArgs,
    limits: LimitArgs,
    deflate: DeflateArgs,
    tls: TlsArgs,
    drain: DrainArgs,
    sockets: SocketArgs,
    bypass: BypassArgs,
    af_xdp: AfXdpArgs,
    dpdk: DpdkArgs,
    tcp: TcpArgs,
    engine: EngineArgs,
    log: LogArgs,
}
