//! What is asked for when a port is opened.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use hioload_mem::HugePages;

/// `ebpf/redirect.bpf.c`, compiled: whoever embeds this crate also embeds the object, or reads it from a file.
#[derive(Clone)]
pub struct XdpObject(Arc<[u8]>);

impl XdpObject {
    /// The object file's bytes, as clang wrote them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The same from a file.
    ///
    /// # Errors
    /// What reading it says.
    pub fn read(path: &std::path::Path) -> io::Result<Self> {
        Ok(Self(fs::read(path)?.into()))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for XdpObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "XdpObject({} bytes)", self.0.len())
    }
}

/// Declares an enum of choices that have names, as a command line or a file gives them.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $text,)* })
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(format!("'{text}' is none of {}", [$($text),*].join(", "))),
                }
            }
        }
    };
}

choice! {
    /// Where the program is to run.
    XdpMode {
        /// In the driver; if it has no XDP, in the stack.
        #[default]
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// In the stack (generic XDP): any driver, slower.
        Skb = "skb",
    }
}

choice! {
    /// How packets get into the frames.
    BindMode {
        /// The NIC writes them there if its driver can; else the kernel copies them.
        #[default]
        Auto = "auto",
        /// The NIC must write them there.
        ZeroCopy = "zero-copy",
        /// The kernel copies them.
        Copy = "copy",
    }
}

choice! {
    /// What is said of the checksums of received frames.
    RxChecksum {
        /// `Trust` on drivers that only carry packets within this machine (veth), where a sender leaves its checksums
        /// unfinished; else `Verify`.
        #[default]
        Auto = "auto",
        /// Nothing: the stack verifies them.
        Verify = "verify",
        /// That they are good.
        Trust = "trust",
    }
}

choice! {
    /// Whose the port's addresses are.
    Ownership {
        /// Ours alone, not configured in the kernel: all their TCP, ICMP, ARP, neighbour discovery and fragments are ours.
        #[default]
        Own = "own",
        /// Shared with the kernel, which has them configured: only TCP to the listened ports is ours, and ICMP errors about
        /// it. Everything else goes its way as if we were not there.
        Shared = "shared",
    }
}

/// Busy polling: the application drives the driver's receive work from its own thread, rather than an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusyPoll {
    /// How long one call may poll an empty queue; microseconds.
    pub micros: u32,
    /// Frames per call.
    pub budget: u32,
}

/// What [`Port::open`](crate::Port::open) is to open.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// The program to attach.
    pub object: XdpObject,
    /// The interface's name.
    pub interface: String,
    /// Its queues to take, each once; empty: all of them. Traffic of ours that arrives on another queue is dropped and
    /// counted ([`XdpCounters::no_socket`](crate::XdpCounters)): the kernel would answer it with resets.
    pub queues: Vec<u32>,
    /// Where the program runs.
    pub mode: XdpMode,
    /// How packets get into the frames.
    pub bind: BindMode,
    /// Whose the addresses are.
    pub ownership: Ownership,
    /// The addresses; at most 1024.
    pub addresses: Vec<IpAddr>,
    /// For [`Ownership::Shared`]: what is listened on; an unspecified address means each of `addresses` of its family. At
    /// most 4096 once that is expanded. Not looked at otherwise.
    pub listen: Vec<SocketAddr>,
    /// `Some`: only frames with this 802.1Q tag are ours. `None`: only frames without a tag. The program looks for the tag
    /// in the packet: a NIC must not take it off (`ethtool -K IF rxvlan off`), nor a veth's other end keep it beside the
    /// packet (`ethtool -K PEER txvlan off`).
    pub vlan: Option<u16>,
    /// Slots of the receive ring and of the transmit ring of each queue; powers of two.
    pub ring: u32,
    /// Frames of each queue; at least four times `ring` serves a busy queue. `None`: eight times `ring`.
    pub frames: Option<usize>,
    /// The pages for them.
    pub huge_pages: HugePages,
    /// What is said of received checksums.
    pub rx_checksum: RxChecksum,
    /// Let the kernel or the NIC fill in TCP checksums where it can.
    pub tx_checksum: bool,
    /// Poll from the application's thread.
    pub busy_poll: Option<BusyPoll>,
    /// How long a queue or an interface may stay taken by somebody who is just going away.
    pub patience: Duration,
}

impl PortOptions {
    /// All queues of `interface`, with defaults, for `addresses` of its own.
    #[must_use]
    pub fn new(
        object: XdpObject,
        interface: impl Into<String>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            object,
            interface: interface.into(),
            queues: Vec::new(),
            mode: XdpMode::Auto,
            bind: BindMode::Auto,
            ownership: Ownership::Own,
            addresses: addresses.into_iter().collect(),
            listen: Vec::new(),
            vlan: None,
            ring: 2048,
            frames: None,
            huge_pages: HugePages::Off,
            rx_checksum: RxChecksum::Auto,
            tx_checksum: true,
            busy_poll: None,
            patience: Duration::from_secs(5),
        }
    }
}
