//! The sending half of a turn.

use std::io::{ErrorKind, IoSlice};

use super::{Network, SEND_COST, Streams};
use crate::table::flag;
use crate::table::send_queue::SendQueue;
use crate::{Closed, ConnId, Driver, TransportStats};

/// Slices in one gathered send. More are sent with the next call.
const SLICES: usize = 64;
/// Receives of bytes that are discarded before a connection is closed, at most.
const DISCARDS: usize = 16;

enum Sent {
    All,
    Blocked,
    Failed(ErrorKind),
}

impl<N: Network> Streams<N> {
    /// Sends the queued bytes of a connection, then finishes or closes it if that was requested.
    pub(super) fn send_queued<D: Driver>(&mut self, driver: &mut D, id: ConnId) {
        let Some((entry, queue)) = self.table.with_queue(id) else {
            return;
        };
        entry.flags.clear(flag::DIRTY);
        if entry.flags.any(flag::DEAD | flag::CONNECTING) {
            return;
        }
        let Some(stream) = &mut entry.own.stream else {
            return;
        };
        driver.spend(SEND_COST);
        let sent_before = self.stats.bytes_out;
        let sent = match queue {
            Some(queue) => send_all(&mut self.net, stream, queue, &mut self.stats),
            None => Sent::All,
        };
        match sent {
            Sent::Failed(kind) => self.mark_dead(id, Closed::Failed(kind)),
            Sent::Blocked => {
                self.stats.blocked += 1;
                let ask = entry.flags.newly(flag::WANT_WRITE);
                if ask && let Err(error) = self.net.want_write(stream, id, true) {
                    self.mark_dead(id, Closed::Failed(error.kind()));
                    return;
                }
                if self.table.blocked(id, self.stats.bytes_out > sent_before) {
                    driver.on_blocked(self, id);
                }
            }
            Sent::All => self.all_sent(driver, id),
        }
    }

    fn all_sent<D: Driver>(&mut self, driver: &mut D, id: ConnId) {
        let Some(drained) = self.table.drained(id) else {
            return;
        };
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut entry.own.stream else {
            return;
        };
        let mut failed = None;
        if entry.flags.any(flag::WANT_WRITE) {
            entry.flags.clear(flag::WANT_WRITE);
            failed = self.net.want_write(stream, id, false).err();
        }
        if drained.finish {
            // If it is not connected any more, a receive reports how it ended.
            let finished = self.net.finish(stream);
            failed = failed.or(finished
                .err()
                .filter(|error| error.kind() != ErrorKind::NotConnected));
        }
        if let Some(error) = failed {
            self.mark_dead(id, Closed::Failed(error.kind()));
        } else if drained.close {
            self.discard_received(id);
            self.mark_dead(id, Closed::Flushed);
        } else if drained.writable {
            driver.on_writable(self, id);
        }
    }

    /// Receives and discards bytes that have arrived. If a TCP socket is closed with unread bytes, the kernel sends a reset,
    /// which can destroy bytes that were sent but not yet delivered.
    fn discard_received(&mut self, id: ConnId) {
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut entry.own.stream else {
            return;
        };
        if !entry.flags.any(flag::READABLE) || entry.flags.any(flag::END) {
            return;
        }
        for _ in 0..DISCARDS {
            self.stats.reads += 1;
            match self.net.recv(stream, &mut self.rx) {
                Ok(n) if n == self.rx.len() => {}
                _ => return,
            }
        }
    }
}

/// Sends until the queue is empty or the network's buffer is full.
fn send_all<N: Network>(
    net: &mut N,
    stream: &mut N::Stream,
    queue: &mut SendQueue,
    stats: &mut TransportStats,
) -> Sent {
    while !queue.is_empty() {
        let (offered, result) = if let Some(bytes) = queue.single() {
            (bytes.len(), net.send(stream, bytes))
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (count, bytes) = queue.gather(&mut slices);
            (bytes, net.send_vectored(stream, &slices[..count]))
        };
        stats.writes += 1;
        match result {
            Ok(0) => return Sent::Failed(ErrorKind::WriteZero),
            Ok(n) => {
                let n = n.min(offered);
                queue.consume(n);
                stats.bytes_out += n as u64;
                if n < offered && net.short_means_drained() {
                    return Sent::Blocked;
                }
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return Sent::Blocked,
                ErrorKind::Interrupted => {}
                kind => return Sent::Failed(kind),
            },
        }
    }
    Sent::All
}
