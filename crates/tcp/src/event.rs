//! What a stack tells its user.

use std::fmt;
use std::io;
use std::ops::{BitOr, BitOrAssign, Range};

/// Names one flow of one stack. A stale one is harmless: every call with it does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId {
    /// Slot, dense from 0.
    pub index: u32,
    /// Tells the slot's users from one another.
    pub generation: u32,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A set of things that happened to a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct What(u8);

impl What {
    /// A peer's connection is established.
    pub const ACCEPTED: Self = Self(1);
    /// A connection of our own is established.
    pub const CONNECTED: Self = Self(2);
    /// There are bytes to read that were not there before.
    pub const DATA: Self = Self(4);
    /// The peer will send no more; all it sent is in the ring.
    pub const END: Self = Self(8);
    /// The peer acknowledged something: the send ring has more room than before.
    pub const SPACE: Self = Self(16);
    /// The flow is over; `Event::error` says why, if it failed. The id is stale once the next event is asked for.
    pub const CLOSED: Self = Self(32);

    /// None of them.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` happened.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether nothing happened.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for What {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for What {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What happened to one flow, from one frame or one timer.
#[derive(Debug)]
pub struct Event<F> {
    /// To which.
    pub flow: FlowId,
    /// What.
    pub what: What,
    /// Why it is over, with `CLOSED`; `None` if both sides finished in order.
    pub error: Option<io::ErrorKind>,
    /// The bytes, where they arrived.
    pub segment: Option<Segment<F>>,
}

/// A payload in its frame. Only given if the flow's ring was empty before and now holds exactly these bytes: the receiver
/// handles them here and then says how many it took, with [`Stack::consume`](crate::Stack::consume). What it leaves stays in
/// the ring (and must not have been modified here).
#[derive(Debug)]
pub struct Segment<F> {
    /// The frame.
    pub frame: F,
    /// Where the payload is, in its bytes.
    pub payload: Range<usize>,
}

/// Why there is no connection to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectError {
    /// All source ports are taken, for this destination.
    AddrInUse,
    /// There is no address of that family, or the destination cannot be one.
    AddrNotAvailable,
    /// The destination is in another network, and no gateway is known.
    HostUnreachable,
    /// All flows are in use.
    Full,
}

impl ConnectError {
    /// The nearest kind of system error.
    #[must_use]
    pub fn kind(self) -> io::ErrorKind {
        match self {
            Self::AddrInUse => io::ErrorKind::AddrInUse,
            Self::AddrNotAvailable => io::ErrorKind::AddrNotAvailable,
            Self::HostUnreachable => io::ErrorKind::HostUnreachable,
            Self::Full => io::ErrorKind::QuotaExceeded,
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AddrInUse => "all source ports are in use",
            Self::AddrNotAvailable => "no address to connect from or to",
            Self::HostUnreachable => "no gateway to the destination's network",
            Self::Full => "all flows are in use",
        })
    }
}
impl std::error::Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}
