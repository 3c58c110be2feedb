//! The sending side of a connection.

use std::collections::VecDeque;

use hioload_mem::{LocalShared, Pool};

use super::flags::Flags;
use super::queues::Queued;
use super::send_queue::{SendQueue, room_when_empty};
use super::{Entry, Table, flag};
use crate::{ConnId, SendError};

/// The steps that remain after a connection has sent all its queued bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Drained {
    /// End the sending side.
    pub(crate) finish: bool,
    /// Close.
    pub(crate) close: bool,
    /// Call `on_writable`, if neither failed.
    pub(crate) writable: bool,
}

/// Lists a connection for a flush.
#[inline]
fn to_flush(
    flags: &mut Flags,
    shared: bool,
    id: ConnId,
    dirty: &mut Vec<ConnId>,
    fanned: &mut VecDeque<ConnId>,
) {
    if !shared {
        if flags.newly(flag::DIRTY) {
            dirty.push(id);
        }
    } else if !flags.any(flag::DIRTY) && flags.newly(flag::FANNED) {
        fanned.push_back(id);
    }
}

impl<E> Entry<E> {
    /// Bytes staged since the last flush, if there is no queue; `None` if there is one.
    #[inline]
    pub(crate) fn staged_alone(&self) -> Option<usize> {
        (!self.flags.any(flag::QUEUED)).then_some(self.tail as usize)
    }
}

impl<E> Table<E> {
    /// The entry of a connection that may be written to.
    #[inline]
    pub(crate) fn sendable(&self, id: ConnId) -> Option<&Entry<E>> {
        let closed = flag::DEAD | flag::FINISH | flag::CLOSE;
        self.get(id).filter(|entry| !entry.flags.any(closed))
    }

    fn queued_of(&self, id: ConnId) -> Option<&Queued> {
        let entry = self.get(id).filter(|entry| entry.flags.any(flag::QUEUED))?;
        self.queues.get(entry.tail)
    }

    fn queued_of_mut(&mut self, id: ConnId) -> Option<&mut Queued> {
        let entry = self.get(id).filter(|entry| entry.flags.any(flag::QUEUED))?;
        let at = entry.tail;
        self.queues.get_mut(at)
    }

    /// The entry of a connection, and its queue if it has one.
    pub(crate) fn with_queue(
        &mut self,
        id: ConnId,
    ) -> Option<(&mut Entry<E>, Option<&mut SendQueue>)> {
        let entry = self.entries.get_mut(id.index as usize)?;
        if entry.generation != id.generation || !entry.flags.any(flag::LIVE) {
            return None;
        }
        let queue = if entry.flags.any(flag::QUEUED) {
            self.queues
                .get_mut(entry.tail)
                .map(|queued| &mut queued.queue)
        } else {
            None
        };
        Some((entry, queue))
    }

    /// The connection's queue, made if there is none, and what its methods need. Marks for the next flush, unless the
    /// connection is blocked: then the network reports when it takes bytes again, and an earlier attempt would fail. `shared` is
    /// whether a payload is to be queued that other connections may get as well.
    fn queue(
        &mut self,
        id: ConnId,
        shared: bool,
    ) -> Result<(&mut SendQueue, &Pool, usize), SendError> {
        self.sendable(id).ok_or(SendError::Closed)?;
        let entry = self
            .entries
            .get_mut(id.index as usize)
            .ok_or(SendError::Closed)?;
        if !entry.flags.any(flag::BLOCKED) {
            to_flush(
                &mut entry.flags,
                shared,
                id,
                &mut self.dirty,
                &mut self.fanned,
            );
        }
        if entry.flags.newly(flag::QUEUED) {
            entry.tail = self.queues.take(entry.tail as usize);
        }
        let queued = self.queues.get_mut(entry.tail).ok_or(SendError::Closed)?;
        let bound = self.bound.saturating_sub(queued.staged);
        Ok((&mut queued.queue, &self.pool, bound))
    }

    pub(super) fn free_queue(&mut self, index: usize) {
        let Some(entry) = self.entries.get_mut(index) else {
            return;
        };
        if entry.flags.any(flag::QUEUED) {
            entry.flags.clear(flag::QUEUED);
            let at = std::mem::take(&mut entry.tail);
            self.queues.give_back(at);
        }
    }

    /// Gives the connection's queue back, with what it holds.
    pub(crate) fn drop_queue(&mut self, id: ConnId) {
        if self.get(id).is_some() {
            self.free_queue(id.index as usize);
        }
    }

    /// Records `n` bytes that went past the queue into the transport's own memory. They leave with the next flush, and
    /// count in the bound until then. There must be no queue. `shared` is whether other connections may get them as well.
    #[inline]
    pub(crate) fn stage(&mut self, id: ConnId, n: usize, shared: bool) {
        let Some(entry) = self
            .entries
            .get_mut(id.index as usize)
            .filter(|entry| entry.generation == id.generation && entry.flags.any(flag::LIVE))
        else {
            return;
        };
        if !entry.flags.any(flag::QUEUED) {
            // A ring is at most a few megabytes.
            entry.tail += n as u32;
        }
        to_flush(
            &mut entry.flags,
            shared,
            id,
            &mut self.dirty,
            &mut self.fanned,
        );
    }

    /// Bytes staged since the last flush.
    pub(crate) fn staged(&self, id: ConnId) -> usize {
        match (self.get(id), self.queued_of(id)) {
            (_, Some(queued)) => queued.staged,
            (Some(entry), None) => entry.tail as usize,
            (None, None) => 0,
        }
    }

    /// Takes what was staged.
    #[inline]
    pub(crate) fn take_staged(&mut self, id: ConnId) -> usize {
        if let Some(queued) = self.queued_of_mut(id) {
            return std::mem::take(&mut queued.staged);
        }
        self.get_mut(id)
            .map_or(0, |entry| std::mem::take(&mut entry.tail) as usize)
    }

    /// [`send_space`](crate::Connections::send_space) in the queue.
    #[inline]
    pub(crate) fn send_space(&mut self, id: ConnId, want: usize) -> Result<&mut [u8], SendError> {
        let (queue, pool, bound) = self.queue(id, false)?;
        queue.space(pool, want, bound)
    }

    #[inline]
    pub(crate) fn commit(&mut self, id: ConnId, n: usize) {
        if let Some(queued) = self.queued_of_mut(id) {
            queued.queue.commit(n);
        }
    }

    /// Bytes that the queue is sure to take; 0 for a connection that must not be written to.
    pub(crate) fn send_room(&self, id: ConnId) -> usize {
        let Some(entry) = self.sendable(id) else {
            return 0;
        };
        match entry.staged_alone() {
            Some(staged) => room_when_empty(&self.pool, self.bound.saturating_sub(staged)),
            None => self.queues.get(entry.tail).map_or(0, |queued| {
                let bound = self.bound.saturating_sub(queued.staged);
                queued.queue.room(&self.pool, bound)
            }),
        }
    }

    pub(crate) fn send_shared(
        &mut self,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        let (queue, pool, bound) = self.queue(id, true)?;
        queue.push_shared(pool, payload, droppable, bound)
    }

    pub(crate) fn drop_oldest(&mut self, id: ConnId) -> Option<usize> {
        self.queued_of_mut(id)?.queue.drop_oldest()
    }

    /// Bytes staged and queued.
    pub(crate) fn queued(&self, id: ConnId) -> usize {
        let queue = self.queued_of(id).map_or(0, |queued| queued.queue.len());
        self.staged(id) + queue
    }

    pub(crate) fn is_blocked(&self, id: ConnId) -> bool {
        self.get(id)
            .is_some_and(|entry| entry.flags.any(flag::BLOCKED))
    }

    pub(crate) fn has_moved(&mut self, id: ConnId) -> bool {
        let Some(entry) = self.get_mut(id) else {
            return false;
        };
        let moved = entry.flags.any(flag::MOVED);
        entry.flags.clear(flag::MOVED);
        moved
    }

    pub(crate) fn set_mark(&mut self, id: ConnId, most: usize) {
        if let Some(queued) = self.queued_of_mut(id) {
            queued.queue.set_mark(most);
        }
    }

    pub(crate) fn before_mark(&self, id: ConnId) -> usize {
        self.queued_of(id)
            .map_or(0, |queued| queued.queue.before_mark())
    }

    /// The network took only a part of the queue, or nothing; `moved` is whether it took something. Returns whether the connection
    /// was not blocked before: the driver receives `on_blocked` then.
    pub(crate) fn blocked(&mut self, id: ConnId, moved: bool) -> bool {
        let Some((entry, queue)) = self.with_queue(id) else {
            return false;
        };
        let newly = entry.flags.newly(flag::BLOCKED);
        if !newly && moved {
            entry.flags.set(flag::MOVED);
        }
        if let Some(queue) = queue {
            queue.set_blocked();
        }
        newly
    }

    /// The network took all that was queued. Gives the queue back.
    #[inline]
    pub(crate) fn drained(&mut self, id: ConnId) -> Option<Drained> {
        let flags = &mut self.get_mut(id)?.flags;
        let close = flags.any(flag::CLOSE);
        let drained = Drained {
            finish: !close && flags.any(flag::FINISH) && flags.newly(flag::FINISHED),
            close,
            writable: flags.any(flag::BLOCKED),
        };
        flags.clear(flag::BLOCKED | flag::MOVED);
        self.free_queue(id.index as usize);
        Some(drained)
    }
}
