//! The sending half of a turn.

use std::io::IoSlice;

use hioload_device::Device;

use super::Bypass;
use super::conns::flow_of;
use crate::send_queue::SendQueue;
use crate::slots::flag;
use crate::{ConnId, Driver};
use hioload_tcp::{FlowId, Stack};

/// Slices of a queue looked at together.
const SLICES: usize = 16;
/// One in so many of the pool's chunks is only for connections that are not blocked: peers that do not read may hold the
/// others for as long as they like, and those that do are still answered.
const KEPT_FOR_OTHERS: usize = 4;

impl<D: Device> Bypass<D> {
    /// Hands over what the connection has queued, then finishes or closes it if that was asked for.
    pub(super) fn flush_one<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId) {
        let flow = flow_of(id);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.flags.clear(flag::DIRTY);
        if conn.flags.any(flag::DEAD | flag::CONNECTING) {
            return;
        }
        let mut handed = self.conns.take_staged(id);
        let mut empty = true;
        if let Some(queued) = self.conns.queue_mut(id) {
            let moved = move_queue(&mut self.stack, flow, &mut queued.queue);
            handed += moved;
            empty = queued.queue.is_empty();
            if !empty {
                queued.queue.leave(self.pool.capacity() / KEPT_FOR_OTHERS);
            }
        }
        if handed > 0 {
            self.stats.writes += 1;
            self.stats.bytes_out += handed as u64;
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let flags = conn.flags;
        if flags.any(flag::CLOSE) {
            self.discard_received(id);
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !empty {
            self.stats.blocked += 1;
            if !conn.flags.newly(flag::BLOCKED) && handed > 0 {
                conn.flags.set(flag::MOVED);
            }
            return;
        }
        conn.flags.clear(flag::BLOCKED | flag::MOVED);
        if flags.any(flag::FINISH) && !flags.any(flag::CLOSE) && conn.flags.newly(flag::FINISHED) {
            self.stack.finish(flow);
        }
        self.conns.drop_queue(id);
        if flags.any(flag::CLOSE) {
            self.bury(id, 0);
        } else if flags.any(flag::BLOCKED) {
            driver.on_writable(self, id);
        }
    }
}

/// Moves what fits from a queue into the flow's ring; returns how many bytes that was.
fn move_queue<D: Device>(stack: &mut Stack<D>, flow: FlowId, queue: &mut SendQueue) -> usize {
    let mut moved = 0;
    while !queue.is_empty() {
        let (offered, taken) = if let Some(bytes) = queue.single() {
            (bytes.len(), stack.send(flow, bytes))
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let (count, offered) = queue.gather(&mut slices);
            let mut taken = 0;
            for slice in &slices[..count] {
                let n = stack.send(flow, slice);
                taken += n;
                if n < slice.len() {
                    break;
                }
            }
            (offered, taken)
        };
        queue.consume(taken);
        moved += taken;
        if taken < offered {
            break;
        }
    }
    moved
}
