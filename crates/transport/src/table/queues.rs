//! The send queues of all connections.

use super::send_queue::SendQueue;

/// Queues kept for reuse.
const SPARE: usize = 16384;

/// The queue of a connection.
#[derive(Default)]
pub(crate) struct Queued {
    pub(crate) queue: SendQueue,
    /// Bytes staged since the last flush, before there was this queue.
    pub(crate) staged: usize,
}

/// A queue exists only while a connection has something to send. It has a number of 4 bytes, so that the entry of an idle
/// connection holds no pointer to one. Queues are recycled: steady traffic allocates nothing.
#[derive(Default)]
pub(super) struct Queues {
    queues: Vec<Option<Box<Queued>>>,
    free: Vec<u32>,
    // The boxes are what is recycled.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Queued>>,
}

impl Queues {
    #[inline]
    pub(super) fn get(&self, at: u32) -> Option<&Queued> {
        self.queues.get(at as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Queued> {
        self.queues.get_mut(at as usize)?.as_deref_mut()
    }

    /// Adds an empty queue with this number of staged bytes before it; returns its index.
    pub(super) fn take(&mut self, staged: usize) -> u32 {
        let mut queued = self.spare.pop().unwrap_or_default();
        queued.staged = staged;
        if let Some(at) = self.free.pop() {
            self.queues[at as usize] = Some(queued);
            return at;
        }
        self.queues.push(Some(queued));
        // No more queues than connections, which have numbers of 32 bits.
        self.queues.len() as u32 - 1
    }

    /// Gives a queue back, with all that it holds.
    pub(super) fn give_back(&mut self, at: u32) {
        let Some(mut queued) = self.queues.get_mut(at as usize).and_then(Option::take) else {
            return;
        };
        self.free.push(at);
        if self.spare.len() < SPARE {
            queued.queue.clear();
            self.spare.push(queued);
        }
    }

    /// Queues in use, and those kept for reuse.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        (self.queues.len() - self.free.len(), self.spare.len())
    }
}
