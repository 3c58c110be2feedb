//! The state of one connection of an attack.

use crate::link::Link;
use crate::reader::Reader;
use crate::sources::Sources;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Idle,
    SynSent,
    Open,
    /// The attack has sent its FIN.
    Closing,
}

/// The way in which a handshake is slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slowness {
    /// The client does not answer the SYN-ACK.
    HalfOpen,
    /// The client sends nothing after the TCP handshake.
    Mute,
    /// The client sends a request that never ends, byte by byte.
    Trickle,
}

/// One connection. Offsets count from the first byte of the stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conn {
    pub(super) phase: Phase,
    /// The number of its source.
    pub(super) source: u64,
    pub(super) iss: u32,
    /// Offsets: sent next, highest sent, acknowledged.
    pub(super) sent: u32,
    pub(super) high: u32,
    pub(super) acked: u32,
    /// The next sequence number expected.
    pub(super) expected: u32,
    pub(super) their_window: u16,
    /// Slow reader: bytes that it reads next.
    pub(super) credit: u16,
    pub(super) tries: u8,
    /// A received segment has to be acknowledged.
    pub(super) ack_due: bool,
    /// The server has sent its FIN.
    pub(super) fin_received: bool,
    pub(super) answered: bool,
    pub(super) reader: Reader,
    /// Times in ns: the next visit, the start, the last progress of the server, and the next read or byte of a slow client.
    pub(super) due: u64,
    pub(super) began: u64,
    pub(super) progress: u64,
    pub(super) next_read: u64,
    /// Broken requests and frames: the case.
    pub(super) case: u32,
}

impl Conn {
    pub(super) fn new(source: u64) -> Self {
        Self {
            phase: Phase::Idle,
            source,
            iss: 0,
            sent: 0,
            high: 0,
            acked: 0,
            expected: 0,
            their_window: 0,
            credit: 0,
            tries: 0,
            ack_due: false,
            fin_received: false,
            answered: false,
            reader: Reader::new(),
            due: 0,
            began: 0,
            progress: 0,
            next_read: 0,
            case: 0,
        }
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.sent.wrapping_sub(self.acked)
    }
}

/// The values of a turn that all connections share.
pub(super) struct Turn<'a> {
    pub(super) link: &'a Link,
    pub(super) sources: &'a Sources,
    pub(super) now: u64,
    /// Largest payload of a segment.
    pub(super) room: usize,
}
