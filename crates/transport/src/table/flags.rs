//! The flags of a connection.

/// A set of the `flag` constants.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Flags(u32);

pub(crate) mod flag {
    //! The state of one connection, and the requests of its driver. Only readiness-based networks use `READ_CLOSED`, `ERROR`
    //! and `WANT_WRITE`, and only flows `ACCEPT_PENDING`.

    /// The slot is in use.
    pub(crate) const LIVE: u32 = 1 << 0;
    /// `connect` has not ended.
    pub(crate) const CONNECTING: u32 = 1 << 1;
    /// The connection has ended, and the driver has not received `on_closed`.
    pub(crate) const DEAD: u32 = 1 << 2;
    /// Bytes or the end may be received.
    pub(crate) const READABLE: u32 = 1 << 3;
    /// The network reported that the peer has ended its sending side: a short read does not mean that nothing follows.
    pub(crate) const READ_CLOSED: u32 = 1 << 4;
    /// The network reported an error.
    pub(crate) const ERROR: u32 = 1 << 5;
    /// The end of the stream has been received.
    pub(crate) const END: u32 = 1 << 6;
    /// The driver has received `on_end`.
    pub(crate) const END_REPORTED: u32 = 1 << 7;
    /// The driver has paused the connection.
    pub(crate) const PAUSED: u32 = 1 << 8;
    /// The bytes that the driver left are presented in the next turn, even if no more arrive.
    pub(crate) const LATER: u32 = 1 << 9;
    /// It is in the list of connections to visit.
    pub(crate) const LISTED: u32 = 1 << 10;
    /// It is in the list of connections to flush.
    pub(crate) const DIRTY: u32 = 1 << 11;
    /// The last flush could not send everything.
    pub(crate) const BLOCKED: u32 = 1 << 12;
    /// The network is asked to report when it takes bytes again.
    pub(crate) const WANT_WRITE: u32 = 1 << 13;
    /// End the sending side when the queue is empty.
    pub(crate) const FINISH: u32 = 1 << 14;
    /// The sending side has been ended.
    pub(crate) const FINISHED: u32 = 1 << 15;
    /// Close when the queue is empty. No more bytes are presented.
    pub(crate) const CLOSE: u32 = 1 << 16;
    /// The network has taken bytes since the flush that blocked it.
    pub(crate) const MOVED: u32 = 1 << 17;
    /// Established, and not yet offered to the driver.
    pub(crate) const ACCEPT_PENDING: u32 = 1 << 18;
    /// It has a send queue.
    pub(crate) const QUEUED: u32 = 1 << 19;
    /// It ends by `abort`.
    pub(crate) const ABORT: u32 = 1 << 20;
    /// It is in the list of connections to which only shared payloads were queued.
    pub(crate) const FANNED: u32 = 1 << 21;
}

impl Flags {
    pub(crate) const fn new(bits: u32) -> Self {
        Self(bits)
    }
    /// Whether any of `bits` is set.
    pub(crate) const fn any(self, bits: u32) -> bool {
        self.0 & bits != 0
    }
    pub(crate) fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }
    pub(crate) fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }
    /// Sets `bits`. Returns whether any of them was not set before.
    pub(crate) fn newly(&mut self, bits: u32) -> bool {
        let new = self.0 & bits != bits;
        self.set(bits);
        new
    }
}
