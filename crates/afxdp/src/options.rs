//! The options of a port.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use hioload_mem::HugePages;

/// `ebpf/redirect.bpf.c`, compiled. A program that uses this crate embeds the object, or reads it from a file.
#[derive(Clone)]
pub struct XdpObject(Arc<[u8]>);

impl XdpObject {
    /// An object from the bytes of the file that clang wrote.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// An object from a file.
    ///
    /// # Errors
    /// The errors of reading the file.
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

/// A text that names none of the choices of an option.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct UnknownChoice {
    /// The text.
    pub text: String,
    /// The names of the choices.
    pub choices: &'static [&'static str],
}

impl fmt::Display for UnknownChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is none of {}", self.text, self.choices.join(", "))
    }
}

impl Error for UnknownChoice {}

/// Declares an enum of named choices, as a command line or a file gives them.
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
            type Err = UnknownChoice;
            fn from_str(text: &str) -> Result<Self, UnknownChoice> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err(UnknownChoice {
                        text: text.to_owned(),
                        choices: &[$($text),*],
                    }),
                }
            }
        }
    };
}

choice! {
    /// The place where the XDP program runs.
    XdpMode {
        /// In the driver; if the driver does not support XDP, in the kernel's stack.
        #[default]
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// In the kernel's stack (generic XDP): works with any driver, and is slower.
        Skb = "skb",
    }
}

choice! {
    /// The way in which packets get into the frames.
    BindMode {
        /// The NIC writes packets into the frames if its driver supports that; otherwise the kernel copies them.
        #[default]
        Auto = "auto",
        /// The NIC writes packets into the frames; opening fails if the driver does not support that.
        ZeroCopy = "zero-copy",
        /// The kernel copies packets into the frames.
        Copy = "copy",
    }
}

choice! {
    /// The treatment of the checksums of received frames.
    RxChecksum {
        /// `Trust` on drivers that carry packets only within this machine (veth), because a sender leaves its checksums
        /// unfinished there; `Verify` on all others.
        #[default]
        Auto = "auto",
        /// Frames are marked as unverified: the TCP stack verifies the checksums.
        Verify = "verify",
        /// Frames are marked as good.
        Trust = "trust",
    }
}

choice! {
    /// The owner of the port's addresses.
    Ownership {
        /// The port alone owns its addresses, and the kernel does not have them configured. The port receives all TCP, ICMP,
        /// ARP, neighbour discovery and fragments for them.
        #[default]
        Own = "own",
        /// The kernel has the addresses configured. The port receives only TCP to the listened ports, and ICMP errors about
        /// it. The kernel receives everything else.
        Shared = "shared",
    }
}

/// Busy polling: the application's thread does the driver's receive work, instead of an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BusyPoll {
    /// The longest time that one call polls an empty queue, in microseconds.
    pub micros: u32,
    /// The largest number of frames per call.
    pub budget: u32,
}

impl BusyPoll {
    /// Polls an empty queue for up to `micros` microseconds, and takes up to `budget` frames, in one call.
    #[must_use]
    pub fn new(micros: u32, budget: u32) -> Self {
        Self { micros, budget }
    }
}

/// The options of [`Port::open`](crate::Port::open). [`new`](Self::new) sets the defaults; the fields are public, to be changed
/// afterwards.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PortOptions {
    /// The XDP program.
    pub object: XdpObject,
    /// The interface's name.
    pub interface: String,
    /// The queues to open, each once; empty: all queues of the interface. A packet for the port that arrives on another queue is
    /// dropped and counted ([`XdpCounters::no_socket`](crate::XdpCounters)), because the kernel would answer it with a reset.
    pub queues: Vec<u32>,
    /// The place where the XDP program runs.
    pub mode: XdpMode,
    /// The way in which packets get into the frames.
    pub bind: BindMode,
    /// The owner of the addresses.
    pub ownership: Ownership,
    /// The port's addresses, 1 to 1024.
    pub addresses: Vec<IpAddr>,
    /// For [`Ownership::Shared`]: the listened addresses and ports. An unspecified address stands for each of `addresses` of its
    /// family; after that expansion there may be 1 to 4096. Unused with [`Ownership::Own`].
    pub listen: Vec<SocketAddr>,
    /// `Some`: the port receives only frames with this 802.1Q tag, 1 to 4094. `None`: it receives only frames without a tag, or with a
    /// priority tag (identifier 0). The program reads the tag from the packet: a NIC must not remove it (`ethtool -K IF rxvlan off`), and the other end of a veth
    /// must not keep it in metadata (`ethtool -K PEER txvlan off`).
    pub vlan: Option<u16>,
    /// Slots of each queue's receive ring and of its transmit ring; a power of two, 64 to 32768.
    pub ring: u32,
    /// Frames of each queue, at least twice `ring`; a busy queue needs four times `ring`. `None`: four times `ring`, or twice
    /// `ring` for frames larger than a page.
    pub frames: Option<usize>,
    /// The pages of the frames' memory.
    pub huge_pages: HugePages,
    /// The treatment of the checksums of received frames.
    pub rx_checksum: RxChecksum,
    /// Whether the kernel or the NIC fills in TCP checksums, if it can.
    pub tx_checksum: bool,
    /// Busy polling; `None`: the driver's interrupts are used.
    pub busy_poll: Option<BusyPoll>,
    /// The time for which opening waits until another process releases a queue or the interface.
    pub busy_timeout: Duration,
}

impl PortOptions {
    /// All queues of `interface`, owning `addresses`. Rings have 2048 slots, `busy_timeout` is 5 s.
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
            busy_timeout: Duration::from_secs(5),
        }
    }
}
