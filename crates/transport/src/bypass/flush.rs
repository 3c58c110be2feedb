//! The sending half of a turn.

use std::io::IoSlice;

use hioload_device::Device;
use hioload_tcp::{FlowId, Stack};

use super::{Bypass, flow_of};
use crate::table::flag;
use crate::table::send_queue::SendQueue;
use crate::{Closed, ConnId, Driver};

/// Slices of a queue looked at together.
const SLICES: usize = 16;
/// An estimate of the time to hand a connection's bytes over and send the segments, in nanoseconds.
const HANDOVER_COST: u32 = 300;

impl<D: Device> Bypass<D> {
    /// Moves queued bytes to the flow, then finishes or closes the connection if that was requested.
    pub(super) fn hand_over<Dr: Driver>(&mut self, driver: &mut Dr, id: ConnId) {
        let flow = flow_of(id);
        let Some(entry) = self.table.get_mut(id) else {
            return;
        };
        entry.flags.clear(flag::DIRTY);
        if entry.flags.any(flag::DEAD | flag::CONNECTING) {
            return;
        }
        driver.spend(HANDOVER_COST);
        let closing = entry.flags.any(flag::CLOSE);
        let mut handed = self.table.take_staged(id);
        let mut empty = true;
        if let Some((_, Some(queue))) = self.table.with_queue(id) {
            handed += move_queue(&mut self.stack, flow, queue);
            empty = queue.is_empty();
        }
        if handed > 0 {
            self.stats.writes += 1;
            self.stats.bytes_out += handed as u64;
        }
        if closing {
            self.discard_received(id);
        }
        if !empty {
            self.stats.blocked += 1;
            if self.table.blocked(id, handed > 0) {
                driver.on_blocked(self, id);
            }
            return;
        }
        let Some(drained) = self.table.drained(id) else {
            return;
        };
        if drained.finish {
            self.stack.finish(flow);
        }
        if drained.close {
            self.table.mark_dead(id, Closed::Flushed);
        } else if drained.writable {
            driver.on_writable(self, id);
        }
    }
}

/// Moves as many bytes as fit from a queue into the flow's ring. Returns their number.
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
