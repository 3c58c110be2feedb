//! The bounds of handshakes: their number, their memory, their time.

use std::collections::VecDeque;
use std::io::ErrorKind;

use hioload_lcore::Time;
use hioload_transport::{ConnId, Connections, Driver};

use super::clear::queue;
use super::conn::{Conn, State, flag};
use super::state::Tls;
use super::work::Setup;
use crate::handshake::alert_in_clear;
use crate::record::Alert;

/// Bytes that a handshake may hold whatever all of them hold together: more than a ClientHello with a key share of X25519MLKEM768.
const ALWAYS: usize = 4 << 10;
/// Entries that the lists of handshakes may have besides two for each one in progress.
const LISTED: usize = 1024;

/// Removes the entries that are not needed from a list of more than `most`.
fn prune<T>(list: &mut VecDeque<T>, most: usize, is_needed: impl FnMut(&T) -> bool) {
    if list.len() > most {
        list.retain(is_needed);
        list.shrink_to(most);
    }
}

/// Whether a handshake is in progress.
fn is_open(conn: &Conn) -> bool {
    matches!(conn.state, State::Handshake(_)) && !conn.is(flag::FAILED)
}

/// Whether an accepted connection has sent no whole record.
fn is_silent(conn: &Conn) -> bool {
    let State::Handshake(pending) = &conn.state else {
        return false;
    };
    matches!(pending.work.setup, Setup::Server(_)) && !conn.is(flag::FAILED | flag::QUEUED)
}

impl Tls {
    fn first_deadline(&self) -> Option<Time> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// When the layer has something to do of its own.
    pub(super) fn first_time(&self) -> Option<Time> {
        let retry = (!self.stuck.is_empty()).then_some(self.retry_at);
        let limited = (!self.limited.is_empty()).then(|| self.pace.next());
        let threads = (self.offload.is_some() && !self.queue.is_empty()).then_some(self.offload_at);
        let times = [self.first_deadline(), retry, limited, threads];
        times.into_iter().flatten().min()
    }

    /// Whether there is room for a handshake, after the oldest one without a whole record was ended for it if need be.
    pub(super) fn admit<C: Connections>(&mut self, below: &mut C) -> bool {
        if self.stats.handshakes_open < self.options.handshakes as u64 {
            return true;
        }
        while let Some(id) = self.silent.pop_front() {
            if self.is_silent(id) {
                self.stats.handshakes_evicted += 1;
                self.mark_failed(id);
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.error = Some(ErrorKind::TimedOut);
                }
                self.discard(id);
                below.abort(id);
                return self.stats.handshakes_open < self.options.handshakes as u64;
            }
        }
        false
    }

    /// Whether an accepted connection has sent no whole record.
    fn is_silent(&self, id: ConnId) -> bool {
        self.conns.get(id).is_some_and(is_silent)
    }

    /// Removes handshakes that are over from the lists: behind one that stays open until its deadline, there could otherwise be as many
    /// as can begin and end in that time. At least half of a list is removed, so an entry costs O(1).
    pub(super) fn prune_lists(&mut self) {
        let most = 2 * self.stats.handshakes_open as usize + LISTED;
        let conns = &self.conns;
        prune(&mut self.deadlines, most, |(_, id)| {
            conns.get(*id).is_some_and(is_open)
        });
        prune(&mut self.silent, most, |id| {
            conns.get(*id).is_some_and(is_silent)
        });
    }

    /// Whether the handshake of a connection may begin: the rate allows it, and no other one waits for it. Otherwise it waits.
    pub(super) fn may_begin(&mut self, id: ConnId) -> bool {
        let rate = self.options.handshake_rate;
        if self.limited.is_empty() && self.pace.take(self.now, rate) {
            return true;
        }
        self.stats.handshakes_limited += 1;
        self.wait_in_queue(id);
        self.limited.push_back(id);
        false
    }

    /// Moves connections whose handshake may begin now to the queue of those with a step to make.
    pub(super) fn admit_limited(&mut self) {
        while let Some(&id) = self.limited.front() {
            let waits = self
                .conns
                .get(id)
                .is_some_and(|conn| conn.is(flag::QUEUED) && !conn.is(flag::FAILED));
            if waits && !self.pace.take(self.now, self.options.handshake_rate) {
                break;
            }
            self.limited.pop_front();
            if waits {
                self.queue.push_back(id);
            }
        }
    }

    /// Marks a connection as one that waits for its handshake's turn.
    pub(super) fn wait_in_queue(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.set(flag::QUEUED);
        }
    }

    /// Accounts for what a handshake holds. Returns whether it may go on; otherwise it has been ended.
    pub(super) fn account<C: Connections>(&mut self, below: &mut C, id: ConnId) -> bool {
        let Some(State::Handshake(pending)) = self.conns.get_mut(id).map(|conn| &mut conn.state)
        else {
            return true;
        };
        let held = pending.held();
        self.handshake_bytes = self.handshake_bytes - pending.charged + held;
        pending.charged = held;
        if held <= ALWAYS || self.handshake_bytes <= self.options.handshake_memory {
            return true;
        }
        let is_clear = pending.is_clear();
        self.stats.handshakes_over_memory += 1;
        self.stats.handshake_failures += 1;
        if is_clear {
            queue(below, id, &alert_in_clear(Alert::InternalError));
        }
        self.end_with(below, id, None, ErrorKind::QuotaExceeded);
        false
    }

    /// Ends the handshakes whose time is over. While a PROXY header is incomplete, the driver's deadline applies instead.
    pub(super) fn expire<C: Connections, D: Driver>(&mut self, below: &mut C, above: &D) {
        // An entry that is put back waits for the next turn, so that a timeout of 0 does not loop here.
        for _ in 0..self.deadlines.len() {
            let Some(&(deadline, id)) = self.deadlines.front() else {
                break;
            };
            let is_open = self.conns.get(id).is_some_and(is_open);
            if is_open && deadline > self.now {
                break;
            }
            self.deadlines.pop_front();
            if is_open && above.expects_preamble(id) {
                let deadline = self.now + self.options.handshake_timeout;
                self.deadlines.push_back((deadline, id));
            } else if is_open {
                self.stats.handshake_timeouts += 1;
                self.end_with(below, id, None, ErrorKind::TimedOut);
            }
        }
        while let Some(&id) = self.silent.front()
            && !self.is_silent(id)
        {
            self.silent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_what_is_needed_and_at_most_so_many_others() {
        let mut list = VecDeque::new();
        let mut visits = 0;
        for n in 0..100_000u32 {
            // The first one is needed for ever, as a handshake that never ends.
            prune(&mut list, 2 + 100, |at| {
                visits += 1;
                *at == 0
            });
            list.push_back(n);
            assert!(list.len() <= 2 + 100 + 1);
        }
        assert_eq!(list.front(), Some(&0));
        assert!(list.capacity() < 1000, "{}", list.capacity());
        assert!(visits < 2 * 100_000, "{visits}");
    }
}
