//! Why a port cannot have a server.

use std::net::IpAddr;
use std::{fmt, io};

use hioload_engine::StartError;

/// Why a port cannot have a server or a client.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The options hold no IP address.
    NoAddress,
    /// An endpoint cannot be listened on.
    Listen(String, ListenError),
    /// A gateway is in none of the networks of the port's addresses.
    Gateway(IpAddr),
    /// A client needs addresses of its own: with shared addresses only TCP to the listened ports reaches it.
    SharedAddress,
    /// Answers may arrive on queues that the client does not take.
    UncoveredQueues {
        /// The interface.
        interface: String,
        /// Its queues that are not taken.
        uncovered: Vec<u32>,
        /// How many are taken.
        taken: usize,
    },
    /// Lcores and queues are not equally many.
    LcoreCount {
        /// The port.
        port: String,
        /// Its queues.
        queues: usize,
        /// The lcores that were asked for.
        lcores: usize,
    },
    /// The operating system has no random numbers for the secret of the flow hash.
    Entropy(io::Error),
    /// The operating system refused something else.
    System(&'static str, io::Error),
    /// The engine cannot start.
    Start(StartError),
    /// The interface cannot be opened.
    #[cfg(all(feature = "af-xdp", target_os = "linux"))]
    AfXdp(hioload_afxdp::OpenError),
    /// A closed DPDK port has frames that are not back in their pools.
    #[cfg(all(feature = "dpdk", target_os = "linux"))]
    LostFrames {
        /// The port.
        port: String,
        /// Its frames.
        frames: usize,
        /// Frames that are not back.
        missing: usize,
        /// Of these, frames that this process still holds; the others are the driver's.
        frames_held: usize,
    },
    /// DPDK or its port cannot be started or closed.
    #[cfg(all(feature = "dpdk", target_os = "linux"))]
    Dpdk(hioload_dpdk::Error),
}

/// Why an endpoint cannot be listened on by user-space TCP.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ListenError {
    /// It is a Unix socket.
    UnixSocket,
    /// It is a socket of the kernel that was inherited.
    KernelSocket,
    /// The name cannot be resolved.
    Name(String),
    /// Its port is 0.
    NoPort,
    /// Its address is none of the port's.
    Address {
        /// The port's addresses.
        own: Vec<IpAddr>,
    },
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnixSocket => {
                f.write_str("user-space TCP has no Unix sockets; the sockets transport has")
            }
            Self::KernelSocket => f.write_str(
                "user-space TCP has no sockets of a service manager; the sockets transport has",
            ),
            Self::Name(why) => f.write_str(why),
            Self::NoPort => {
                f.write_str("user-space TCP cannot choose a port: name one from 1 to 65535")
            }
            Self::Address { own } => {
                let own: Vec<String> = own.iter().map(IpAddr::to_string).collect();
                write!(
                    f,
                    "not an address of the port, which has {}",
                    own.join(", ")
                )
            }
        }
    }
}
impl std::error::Error for ListenError {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str(
                "user-space TCP needs an IP address with its prefix length, such as 10.77.0.2/24",
            ),
            Self::Listen(endpoint, why) => write!(f, "cannot listen on {endpoint}: {why}"),
            Self::Gateway(gateway) => {
                write!(f, "gateway {gateway} is in none of the networks of the port's addresses")
            }
            Self::SharedAddress => f.write_str(
                "a client cannot share its address with the kernel: only TCP to listened ports would reach it",
            ),
            Self::UncoveredQueues {
                interface,
                uncovered,
                taken,
            } => {
                let uncovered: Vec<String> = uncovered.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "{interface}: answers may arrive on queues {}, which are not taken: ethtool -L {interface} combined {taken}",
                    uncovered.join(",")
                )
            }
            Self::LcoreCount {
                port,
                queues,
                lcores,
            } => write!(
                f,
                "{port} has {queues} queues and {lcores} lcores were asked for: each queue needs one lcore"
            ),
            Self::Entropy(why) => write!(f, "no random numbers from the operating system: {why}"),
            Self::System(what, why) => write!(f, "cannot {what}: {why}"),
            Self::Start(why) => why.fmt(f),
            #[cfg(all(feature = "af-xdp", target_os = "linux"))]
            Self::AfXdp(why) => why.fmt(f),
            #[cfg(all(feature = "dpdk", target_os = "linux"))]
            Self::LostFrames {
                port,
                frames,
                missing,
                frames_held,
            } => write!(
                f,
                "{port}: {missing} of {frames} mbufs are not back in their pools; this process still holds {frames_held}"
            ),
            #[cfg(all(feature = "dpdk", target_os = "linux"))]
            Self::Dpdk(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(_, why) => Some(why),
            Self::Entropy(why) | Self::System(_, why) => Some(why),
            // These errors are displayed without an own text, so their source is the source.
            Self::Start(why) => why.source(),
            #[cfg(all(feature = "af-xdp", target_os = "linux"))]
            Self::AfXdp(why) => why.source(),
            #[cfg(all(feature = "dpdk", target_os = "linux"))]
            Self::Dpdk(why) => why.source(),
            _ => None,
        }
    }
}

impl From<StartError> for Error {
    fn from(why: StartError) -> Self {
        Self::Start(why)
    }
}

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
impl From<hioload_afxdp::OpenError> for Error {
    fn from(why: hioload_afxdp::OpenError) -> Self {
        Self::AfXdp(why)
    }
}

#[cfg(all(feature = "dpdk", target_os = "linux"))]
impl From<hioload_dpdk::Error> for Error {
    fn from(why: hioload_dpdk::Error) -> Self {
        Self::Dpdk(why)
    }
}
