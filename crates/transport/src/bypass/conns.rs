//! What the transport keeps of each connection beside its flow: 16 bytes, and a send queue while one is needed.

use hioload_mem::prefetch;
use hioload_tcp::FlowId;

use crate::ConnId;
use crate::send_queue::SendQueue;
use crate::slots::{Flags, flag};

/// Queues whose tables are kept for reuse.
const WARM_QUEUES: usize = 4096;

pub(super) fn flow_of(id: ConnId) -> FlowId {
    FlowId {
        index: id.index,
        generation: id.generation,
    }
}

pub(super) fn conn_of(flow: FlowId) -> ConnId {
    ConnId {
        index: flow.index,
        generation: flow.generation,
    }
}

/// One connection. It has the slot of its flow.
#[derive(Clone, Copy, Default)]
pub(super) struct Conn {
    generation: u32,
    pub(super) flags: Flags,
    /// Received bytes, from the front, that the driver was lent and left.
    pub(super) lent: u32,
    /// Bytes written into the flow's ring since the last flush; while it is `QUEUED`, the index of its queue.
    tail: u32,
}

impl Conn {
    /// Bytes written into the ring since the last flush, if it has no queue.
    #[inline]
    pub(super) fn staged_alone(&self) -> Option<usize> {
        (!self.flags.any(flag::QUEUED)).then_some(self.tail as usize)
    }

    /// Adds to them.
    #[inline]
    pub(super) fn stage(&mut self, n: usize) {
        if !self.flags.any(flag::QUEUED) {
            // A ring is at most a few megabytes.
            self.tail += n as u32;
        }
    }
}

/// The queue of a connection whose ring was full.
#[derive(Default)]
pub(super) struct Queued {
    pub(super) queue: SendQueue,
    /// Bytes written into the ring since the last flush, before there was this queue.
    pub(super) staged: usize,
}

/// All connections of a transport. Memory is reserved at once and touched as slots are first used.
pub(super) struct Conns {
    conns: Vec<Conn>,
    queues: Vec<Queued>,
    free_queues: Vec<u32>,
}

impl Conns {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            conns: hioload_mem::room_for(capacity),
            queues: Vec::new(),
            free_queues: Vec::new(),
        }
    }

    /// Takes the slot of a new flow.
    pub(super) fn open(&mut self, id: ConnId, flags: u32) {
        let index = id.index as usize;
        if self.conns.len() <= index {
            self.conns.resize(index + 1, Conn::default());
        }
        self.free_queue(index);
        self.conns[index] = Conn {
            generation: id.generation,
            flags: Flags::new(flag::LIVE | flags),
            ..Conn::default()
        };
    }

    /// Asks for a slot that will be looked at soon.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        prefetch::item(self.conns.as_ptr().wrapping_add(index as usize));
    }

    pub(super) fn get(&self, id: ConnId) -> Option<&Conn> {
        let conn = self.conns.get(id.index as usize)?;
        (conn.generation == id.generation && conn.flags.any(flag::LIVE)).then_some(conn)
    }

    pub(super) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let conn = self.conns.get_mut(id.index as usize)?;
        (conn.generation == id.generation && conn.flags.any(flag::LIVE)).then_some(conn)
    }

    /// The connection, if it is neither stale nor dead.
    pub(super) fn living(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.get_mut(id).filter(|conn| !conn.flags.any(flag::DEAD))
    }

    /// Frees the slot: `id` is stale from here on.
    pub(super) fn free(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.free_queue(id.index as usize);
            self.conns[id.index as usize].flags = Flags::default();
        }
    }

    pub(super) fn queue(&self, id: ConnId) -> Option<&Queued> {
        let conn = self.get(id).filter(|conn| conn.flags.any(flag::QUEUED))?;
        self.queues.get(conn.tail as usize)
    }

    pub(super) fn queue_mut(&mut self, id: ConnId) -> Option<&mut Queued> {
        let conn = self.get(id).filter(|conn| conn.flags.any(flag::QUEUED))?;
        let at = conn.tail as usize;
        self.queues.get_mut(at)
    }

    /// The connection's queue, made if there is none.
    pub(super) fn queue_or_new(&mut self, id: ConnId) -> Option<&mut Queued> {
        let Self {
            conns,
            queues,
            free_queues,
        } = self;
        let conn = conns.get_mut(id.index as usize)?;
        if conn.flags.newly(flag::QUEUED) {
            let staged = conn.tail as usize;
            conn.tail = free_queues.pop().unwrap_or_else(|| {
                queues.push(Queued::default());
                // No more queues than connections.
                queues.len() as u32 - 1
            });
            queues[conn.tail as usize].staged = staged;
        }
        queues.get_mut(conn.tail as usize)
    }

    /// Gives the queue of slot `index` back, if it has one.
    fn free_queue(&mut self, index: usize) {
        let Some(conn) = self.conns.get_mut(index) else {
            return;
        };
        if !conn.flags.any(flag::QUEUED) {
            return;
        }
        conn.flags.clear(flag::QUEUED);
        let at = std::mem::take(&mut conn.tail);
        let Some(queued) = self.queues.get_mut(at as usize) else {
            return;
        };
        if self.free_queues.len() < WARM_QUEUES {
            queued.queue.clear();
            queued.staged = 0;
        } else {
            *queued = Queued::default();
        }
        self.free_queues.push(at);
    }

    /// The same by id.
    pub(super) fn drop_queue(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.free_queue(id.index as usize);
        }
    }

    /// Bytes written into the ring since the last flush.
    pub(super) fn staged(&self, id: ConnId) -> usize {
        match (self.get(id), self.queue(id)) {
            (_, Some(queued)) => queued.staged,
            (Some(conn), None) => conn.tail as usize,
            (None, None) => 0,
        }
    }

    /// Takes what was staged.
    pub(super) fn take_staged(&mut self, id: ConnId) -> usize {
        if let Some(queued) = self.queue_mut(id) {
            return std::mem::take(&mut queued.staged);
        }
        self.get_mut(id)
            .map_or(0, |conn| std::mem::take(&mut conn.tail) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32, generation: u32) -> ConnId {
        ConnId { index, generation }
    }

    #[test]
    fn a_connection_is_16_bytes_beside_its_flow() {
        assert_eq!(size_of::<Conn>(), 16);
    }

    #[test]
    fn an_old_id_is_stale_and_slots_may_be_used_in_any_order() {
        let mut conns = Conns::new(8);
        conns.open(id(5, 1), 0);
        assert!(conns.get(id(5, 1)).is_some() && conns.get(id(5, 0)).is_none());
        assert!(conns.get(id(4, 0)).is_none());
        conns.free(id(5, 1));
        conns.free(id(5, 1));
        assert!(conns.get(id(5, 1)).is_none());
        conns.open(id(5, 2), 0);
        conns.free(id(5, 1));
        assert!(conns.get(id(5, 2)).is_some());
    }

    #[test]
    fn staged_bytes_survive_the_making_of_a_queue_and_queues_are_reused() {
        let mut conns = Conns::new(8);
        for index in 0..3 {
            conns.open(id(index, 0), 0);
            conns.get_mut(id(index, 0)).unwrap().stage(100);
            conns.queue_or_new(id(index, 0)).unwrap();
            assert_eq!(conns.staged(id(index, 0)), 100);
            assert_eq!(conns.take_staged(id(index, 0)), 100);
            conns.drop_queue(id(index, 0));
            assert_eq!((conns.staged(id(index, 0)), conns.queues.len()), (0, 1));
        }
        conns.queue_or_new(id(0, 0)).unwrap();
        conns.free(id(0, 0));
        assert_eq!(
            conns.free_queues.len(),
            1,
            "a queue goes with its connection"
        );
    }
}
