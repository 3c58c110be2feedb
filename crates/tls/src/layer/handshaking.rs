//! Handshakes: their bytes, and the turns in which their steps are made.

use std::io::ErrorKind;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver, Rest, Taken};

use super::clear::{First, first, queue};
use super::conn::{State, flag};
use super::state::Tls;
use super::threads::Made;
use super::work::StepError;
use crate::handshake::Established;

/// Estimates of the time of one step, in nanoseconds: on the lcore, and with a thread that makes it.
const STEP_COST: u32 = 150_000;
const OFFLOAD_COST: u32 = 2000;
/// The time after which a step is offered to busy threads again.
const THREADS_RETRY: Duration = Duration::from_millis(1);

impl Tls {
    /// Bytes arrived during a handshake.
    pub(super) fn on_handshake<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let all = Taken {
            bytes: data.len(),
            rest: Rest::NeedsMore,
        };
        if above.expects_preamble(id) {
            return self.on_preamble(below, above, id, data);
        }
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.is(flag::FAILED)) else {
            return all;
        };
        let queued = conn.is(flag::QUEUED);
        let State::Handshake(pending) = &mut conn.state else {
            return all;
        };
        let n = data.len().min(pending.room());
        pending.work.input.extend_from_slice(&data[..n]);
        let taken = Taken {
            bytes: n,
            rest: Rest::Later,
        };
        let is_ready = pending.work.is_ready();
        if !self.account(below, id) {
            return all;
        }
        if queued {
            return taken;
        }
        let Some(State::Handshake(pending)) = self.conns.get(id).map(|conn| &conn.state) else {
            return all;
        };
        let is_new = pending.work.handshake.is_none();
        match first(&pending.work.input) {
            _ if !is_new => {}
            First::Tls => {}
            First::Unknown => return taken,
            First::Http => {
                self.refuse_plain(below, id);
                return all;
            }
            First::Other => {
                self.stats.not_tls += 1;
                self.end_with(below, id, None, ErrorKind::InvalidData);
                return all;
            }
        }
        if is_ready && (!is_new || self.may_begin(id)) {
            self.step_or_wait(below, above, id);
        }
        taken
    }

    /// The header of a proxy, which comes before the handshake, and which the driver reads.
    #[cold]
    fn on_preamble<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let taken = above.on_data(&mut View::new(self, below), id, data);
        let rest = &mut data[taken.bytes..];
        if rest.is_empty() || taken.bytes == 0 || above.expects_preamble(id) {
            return taken;
        }
        let more = self.on_handshake(below, above, id, rest);
        Taken {
            bytes: taken.bytes + more.bytes,
            ..more
        }
    }

    /// Makes a step of a handshake, unless the turn's budget is used up or others wait: then it waits for its turn.
    fn step_or_wait<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) {
        if !self.queue.is_empty() || !self.may_step() || !self.step(below, above, id) {
            self.stats.handshakes_delayed += 1;
            self.wait_in_queue(id);
            self.queue.push_back(id);
        }
    }

    /// Whether a step can be made now.
    pub(super) fn may_step(&self) -> bool {
        match self.offload {
            Some(_) => self.now >= self.offload_at,
            None => self.steps > 0,
        }
    }

    /// Makes a step of the handshakes that wait, as far as the turn's budget or the threads' queue reaches.
    pub(super) fn step_queued<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D) {
        let mut steps = 0;
        while self.may_step() && (steps == 0 || !above.is_exhausted()) {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.clear(flag::QUEUED);
            if conn.is(flag::FAILED) {
                continue;
            }
            steps += 1;
            if !self.step(below, above, id) {
                self.wait_in_queue(id);
                self.queue.push_front(id);
                break;
            }
        }
    }

    /// Processes the whole records that a handshake has received, or has a thread do it. `false` if the threads are busy.
    fn step<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
    ) -> bool {
        let Some(State::Handshake(pending)) = self.conns.get_mut(id).map(|conn| &mut conn.state)
        else {
            return true;
        };
        if let Some(offload) = &mut self.offload {
            above.spend(OFFLOAD_COST);
            if let Err(work) = offload.give(id, pending.lend()) {
                pending.restore(work);
                self.offload_at = self.now + THREADS_RETRY;
                self.stats.handshake_threads_busy += 1;
                return false;
            }
            self.stats.handshake_steps_offloaded += 1;
            self.wait_in_queue(id);
            return true;
        }
        self.steps = self.steps.saturating_sub(1);
        above.spend(STEP_COST);
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let result = pending.work.step(&mut out);
        self.stepped(below, above, id, &out, result);
        self.scratch = out;
        true
    }

    /// Takes the steps that threads have made.
    pub(super) fn take_back<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        most: usize,
    ) -> usize {
        let mut taken = 0;
        while taken < most && (taken == 0 || !above.is_exhausted()) {
            let Some(made) = self.offload.as_mut().and_then(|offload| offload.take()) else {
                break;
            };
            // There is room for another one.
            self.offload_at = Time::ZERO;
            taken += 1;
            self.take_step(below, above, made);
        }
        taken
    }

    fn take_step<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, made: Made) {
        let Made {
            id,
            work,
            out,
            result,
        } = made;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let State::Handshake(pending) = &mut conn.state else {
            return;
        };
        // A connection that has failed meanwhile does not expect it.
        if pending.away.is_none() {
            return;
        }
        pending.restore(work);
        conn.clear(flag::QUEUED);
        self.stepped(below, above, id, &out, result);
    }

    /// Sends what a step answers, and continues or ends the handshake.
    fn stepped<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        out: &[u8],
        result: Result<Option<Box<Established>>, StepError>,
    ) {
        let sent = queue(below, id, out);
        match result {
            Ok(None) if sent => {
                if self.account(below, id) {
                    self.await_more(below, id);
                }
            }
            Ok(Some(established)) if sent => self.established(below, above, id, established),
            Ok(_) => self.handshake_failed(below, id, None),
            Err(error) => self.handshake_failed(below, id, Some(&error)),
        }
    }

    /// The handshake needs another record. One that arrived while a thread made the step is there already.
    fn await_more<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(conn) = self.conns.get(id) else {
            return;
        };
        let State::Handshake(pending) = &conn.state else {
            return;
        };
        if pending.work.is_ready() {
            self.wait_in_queue(id);
            self.queue.push_back(id);
        } else if conn.is(flag::FIN) {
            self.handshake_cut(below, id);
        }
    }
}
