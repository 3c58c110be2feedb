//! The events of a stack.

use std::fmt;
use std::io;
use std::ops::{BitOr, BitOrAssign, Range};

/// The id of a flow, unique in its stack. A call with a stale id does nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId {
    /// The slot; slots are numbered from 0 without gaps.
    pub index: u32,
    /// Distinguishes the successive flows of a slot.
    pub generation: u32,
}

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// The set of things that an [`Event`] reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EventFlags(u8);

impl EventFlags {
    /// A connection begun by a peer is established.
    pub const ACCEPTED: Self = Self(1);
    /// A connection begun by us is established.
    pub const CONNECTED: Self = Self(2);
    /// New bytes can be read.
    pub const DATA: Self = Self(4);
    /// The peer has ended its side. All it has sent is in the ring.
    pub const END: Self = Self(8);
    /// The peer has acknowledged bytes: the send ring has more room.
    pub const SPACE: Self = Self(16);
    /// The flow has ended. [`Event::error`] is the reason, if it failed. The id becomes stale with the next call of
    /// [`Stack::next`](crate::Stack::next).
    pub const CLOSED: Self = Self(32);

    /// The empty set.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all of `other` are in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for EventFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for EventFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The effect of one frame or one timer on one flow.
#[derive(Debug)]
#[non_exhaustive]
pub struct Event<F> {
    /// The flow.
    pub flow: FlowId,
    /// What has happened to it.
    pub flags: EventFlags,
    /// With [`EventFlags::CLOSED`], why the flow failed; `None` if both sides have finished.
    pub error: Option<io::ErrorKind>,
    /// The payload in the frame it arrived in.
    pub payload: Option<FramePayload<F>>,
}

/// A payload in its frame. An event has one only if the flow's ring was empty before and now holds exactly these bytes. The
/// receiver handles the bytes here, then calls [`Stack::consume`](crate::Stack::consume) with the number of bytes it has taken.
/// The rest stays in the ring, and must not have been modified in the frame.
#[derive(Debug)]
pub struct FramePayload<F> {
    /// The frame.
    pub frame: F,
    /// The range of the payload in the bytes of the frame.
    pub range: Range<usize>,
}

/// Why a connection cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// All source ports are in use for this destination.
    AddrInUse,
    /// The stack has no address of that family, or the destination has no port or is unspecified.
    AddrNotAvailable,
    /// No route: the destination is in another network without a gateway, or no host can have its address, or its neighbour
    /// did not answer lately.
    HostUnreachable,
    /// The flow table is full.
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
            Self::AddrInUse => "all source ports are in use for this destination",
            Self::AddrNotAvailable => {
                "no source address of this family, or the destination is not an address with a port"
            }
            Self::HostUnreachable => "no route to the destination",
            Self::Full => "the flow table is full",
        })
    }
}
impl std::error::Error for ConnectError {}

impl From<ConnectError> for io::Error {
    fn from(error: ConnectError) -> Self {
        Self::new(error.kind(), error)
    }
}
