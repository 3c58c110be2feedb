//! The sending half of a turn.

use std::io::{ErrorKind, IoSlice};

use super::{Network, Streams};
use crate::send_queue::SendQueue;
use crate::slots::flag;
use crate::{Closed, ConnId, Driver, TransportStats};

/// Slices in one gathered send. More are sent with the next call.
const SLICES: usize = 64;
/// One in so many of the pool's chunks is only for connections that are not blocked: peers that do not read may hold the
/// others for as long as they like, and those that do are still answered.
const KEPT_FOR_OTHERS: usize = 4;
/// Received bytes that are thrown away, in receives, before a connection is closed.
const DISCARDS: usize = 16;

enum Sent {
    All,
    Blocked,
    Failed(ErrorKind),
}

impl<N: Network> Streams<N> {
    /// Sends what the connection has queued, then finishes or closes it if that was asked for.
    pub(super) fn flush_one<D: Driver>(&mut self, driver: &mut D, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        slot.flags.clear(flag::DIRTY);
        if slot.flags.any(flag::DEAD | flag::CONNECTING) {
            return;
        }
        let Some(stream) = &mut slot.stream else {
            return;
        };
        let sent_before = self.stats.bytes_out;
        let sent = match &mut slot.send {
            Some(queue) => send_all(&mut self.net, stream, queue, &mut self.stats),
            None => Sent::All,
        };
        match sent {
            Sent::Failed(kind) => self.bury(id, Closed::Failed(kind)),
            Sent::Blocked => {
                self.stats.blocked += 1;
                if !slot.flags.newly(flag::BLOCKED) && self.stats.bytes_out > sent_before {
                    slot.flags.set(flag::MOVED);
                }
                if let Some(queue) = &mut slot.send {
                    queue.leave(self.pool.capacity() / KEPT_FOR_OTHERS);
                }
                if slot.flags.newly(flag::WANT_WRITE)
                    && let Err(error) = self.net.want_write(stream, id, true)
                {
                    self.bury(id, Closed::Failed(error.kind()));
                }
            }
            Sent::All => {
                let queue = slot.send.take();
                let was_blocked = slot.flags.any(flag::BLOCKED);
                slot.flags.clear(flag::BLOCKED | flag::MOVED);
                let mut failed = None;
                if slot.flags.any(flag::WANT_WRITE) {
                    slot.flags.clear(flag::WANT_WRITE);
                    failed = self.net.want_write(stream, id, false).err();
                }
                let close = slot.flags.any(flag::CLOSE);
                if !close && slot.flags.any(flag::FINISH) && slot.flags.newly(flag::FINISHED) {
                    // Not connected any more: the receiving side tells how it ended.
                    let finished = self.net.finish(stream);
                    failed = failed.or(finished
                        .err()
                        .filter(|error| error.kind() != ErrorKind::NotConnected));
                }
                self.recycle_queue(queue);
                if let Some(error) = failed {
                    self.bury(id, Closed::Failed(error.kind()));
                } else if close {
                    self.discard_received(id);
                    self.bury(id, Closed::Flushed);
                } else if was_blocked {
                    driver.on_writable(self, id);
                }
            }
        }
    }

    /// Receives what is known to have arrived: a kernel that closes a TCP socket with unread bytes sends a reset, which
    /// can destroy what was sent but not yet delivered.
    fn discard_received(&mut self, id: ConnId) {
        let Some(slot) = self.slots.get_mut(id) else {
            return;
        };
        let Some(stream) = &mut slot.stream else {
            return;
        };
        if !slot.flags.any(flag::READABLE) || slot.flags.any(flag::END) {
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
