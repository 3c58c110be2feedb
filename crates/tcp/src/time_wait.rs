//! TIME_WAIT: flows that we have closed first, so that old segments of them are recognised (RFC 9293 §3.6).
//!
//! An entry is 56 bytes, not a socket. All entries have the same lifetime, so they expire in the order they came. Without room,
//! the oldest is evicted.

use std::time::Duration;

use hioload_lcore::Time;

use crate::next_hop::NextHopId;
use crate::table::Table;
use crate::tuple::{Key, Tuple};

/// The lifetime of an entry: twice the maximum segment lifetime, as in Linux.
pub(crate) const LIFE: Duration = Duration::from_secs(60);

/// A flow in TIME_WAIT.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub tuple: Tuple,
    /// The sequence number after our FIN.
    pub snd_nxt: u32,
    /// The sequence number after the peer's FIN.
    pub rcv_nxt: u32,
    pub next_hop: NextHopId,
    /// The entry is not in the table any more.
    dead: bool,
    until: Time,
}

/// The entries in the order they came.
pub(crate) struct TimeWait {
    /// A ring of `capacity`.
    ring: Vec<Entry>,
    capacity: usize,
    /// The position of the oldest.
    first: usize,
    len: usize,
    alive: usize,
    table: Table,
    key: Key,
}

impl TimeWait {
    pub(crate) fn new(capacity: usize, key: Key) -> Self {
        let capacity = capacity.max(1);
        Self {
            ring: Vec::with_capacity(capacity),
            capacity,
            first: 0,
            len: 0,
            alive: 0,
            table: Table::new(capacity),
            key,
        }
    }

    /// The number of entries.
    pub(crate) fn entries(&self) -> usize {
        self.alive
    }

    /// Whether there is no room for another entry.
    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity
    }

    /// The time at which the oldest expires.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        (self.len > 0).then(|| self.ring[self.first].until)
    }

    /// Adds an entry. There must be room.
    pub(crate) fn insert(
        &mut self,
        tuple: Tuple,
        (snd_nxt, rcv_nxt): (u32, u32),
        next_hop: NextHopId,
        now: Time,
    ) {
        debug_assert!(!self.is_full());
        let entry = Entry {
            tuple,
            snd_nxt,
            rcv_nxt,
            next_hop,
            dead: false,
            until: now + LIFE,
        };
        let at = (self.first + self.len) % self.capacity;
        if at == self.ring.len() {
            self.ring.push(entry);
        } else {
            self.ring[at] = entry;
        }
        self.len += 1;
        self.alive += 1;
        self.table.insert(tuple.hash(&self.key), at as u32);
    }

    /// The position and the entry of a flow.
    pub(crate) fn find(&self, hash: u32, tuple: &Tuple) -> Option<(u32, Entry)> {
        if self.alive == 0 {
            return None;
        }
        let at = self
            .table
            .find(hash, |at| self.ring[at as usize].tuple == *tuple)?;
        Some((at, self.ring[at as usize]))
    }

    /// Ends an entry early. Its position becomes free when it is the oldest.
    pub(crate) fn remove(&mut self, at: u32) {
        let entry = &mut self.ring[at as usize];
        if !entry.dead {
            entry.dead = true;
            self.alive -= 1;
            self.table.remove(entry.tuple.hash(&self.key), at);
        }
    }

    /// Removes the oldest entry, if it has expired. The caller releases the next hop that is returned.
    pub(crate) fn pop(&mut self, now: Time) -> Option<NextHopId> {
        if self.next_deadline()? > now {
            return None;
        }
        let at = self.first;
        self.remove(at as u32);
        self.first = (at + 1) % self.capacity;
        self.len -= 1;
        Some(self.ring[at].next_hop)
    }
}
