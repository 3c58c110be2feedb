//! The bound of the memory of all rings: what it does not admit is not written.
//!
//! A payload that would need a page beyond the bound is dropped as if the network had lost it, and its peer sends it again; the
//! acknowledgement in its segment counts. A user's bytes wait in the user's own queue, and the flow has
//! [`SPACE`](crate::EventFlags::SPACE) when there is memory again.

use hioload_device::{Device, Frame};

use crate::event::{Event, EventFlags, FlowId};
use crate::flow_flags::FlowFlags;
use crate::parse::{Segment, flags};
use crate::ring_reclaim::PAGE;
use crate::stack::Stack;

/// Maximum number of `SPACE` events for starved flows in one turn.
const RELIEVED: usize = 64;

impl<D: Device> Stack<D> {
    /// Whether the payload of a segment is known to be the next one of its flow.
    #[inline]
    pub(crate) fn is_known_next(&self, slot: u32, segment: &Segment) -> bool {
        segment.seq == self.flows.hot(slot).losses.expected
    }

    /// Whether there is memory for the payload of a segment, wherever in the ring it belongs.
    #[inline]
    pub(crate) fn admits_payload(&mut self, slot: u32, segment: &Segment) -> bool {
        self.fits(slot, segment) || (self.empties_rings(slot) && self.fits(slot, segment))
    }

    #[inline]
    fn fits(&self, slot: u32, segment: &Segment) -> bool {
        let have = self.flows.hot(slot).rx_pages;
        let next = self.is_known_next(slot, segment);
        let len = segment.payload.len();
        let pages = self.ring_reclaim.rx_pages(have, segment.seq, len, next);
        self.ring_reclaim.rx_admits(have, pages, next)
    }

    /// Gives back the rings of a flow that are empty, however recently they were used.
    #[cold]
    fn empties_rings(&mut self, slot: u32) -> bool {
        let hot = self.flows.hot(slot);
        let holds = self
            .flows
            .sockets
            .with(slot, |socket| socket.recv_queue() + socket.send_queue());
        if hot.rx_pages == 0 || hot.is(FlowFlags::GAPS) || holds != Some(0) {
            return false;
        }
        self.give_back(slot..slot + 1);
        true
    }

    /// Removes the payload of a segment, and a FIN behind it.
    #[cold]
    pub(crate) fn strip_payload(&mut self, frame: &mut D::Frame, segment: &Segment) -> Segment {
        self.stats.ring_drops += 1;
        let mut bare = segment.clone();
        bare.payload.end = bare.payload.start;
        bare.end = bare.payload.start;
        bare.flags &= !flags::FIN;
        let len = bare.end - bare.ip_at;
        let (ip, tcp) = (usize::from(bare.ip_at), usize::from(bare.tcp_at));
        let bytes = frame.bytes_mut();
        // The checksums have been verified, and smoltcp does not verify them again.
        let (at, len) = if bare.tuple.is_v4() {
            (ip + 2, len)
        } else {
            (ip + 4, len.saturating_sub(40))
        };
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&len.to_be_bytes());
        }
        if let Some(byte) = bytes.get_mut(tcp + 13) {
            *byte &= !flags::FIN;
        }
        bare
    }

    /// Of `room` bytes in the send ring, those for which there is memory.
    #[inline]
    pub(crate) fn admitted_room(&self, slot: u32, room: usize) -> usize {
        let have = self.flows.hot(slot).tx_pages;
        let pages = usize::from(self.ring_reclaim.tx_admits(have));
        if pages * PAGE >= self.config.tx_ring {
            return room;
        }
        // A ring that has wrapped has all its pages.
        let next = self.flows.sockets.tx_next(slot).unwrap_or(0);
        room.min((pages * PAGE).saturating_sub(next))
    }

    /// Notes that a flow could queue nothing. While nothing is in flight, no acknowledgement would make room.
    #[cold]
    pub(crate) fn starves(&mut self, id: FlowId) {
        self.stats.ring_waits += 1;
        if self.send_queued(id) == 0 {
            self.starved.push_back(id);
        }
    }

    /// At the beginning of a turn: how many flows may be told that there is memory again.
    #[inline]
    pub(crate) fn begin_relief(&mut self) {
        if !self.starved.is_empty() {
            let free = usize::try_from(self.ring_reclaim.free()).unwrap_or(usize::MAX);
            self.relieved = self.starved.len().min(RELIEVED).min(free);
        }
    }

    /// The next flow that waits for memory, if there is some.
    pub(crate) fn next_relieved(&mut self) -> Option<Event<D::Frame>> {
        while self.relieved > 0 {
            self.relieved -= 1;
            let flow = self.starved.pop_front()?;
            if self.flows.owned(flow).is_some() {
                return Some(Event {
                    flow,
                    flags: EventFlags::SPACE,
                    error: None,
                    payload: None,
                });
            }
        }
        None
    }
}
