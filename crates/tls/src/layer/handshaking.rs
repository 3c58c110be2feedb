//! Handshakes: their bytes, their turn, their time, and what is not TLS.

use std::io::ErrorKind;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver, Rest, Taken};

use super::conn::{Conn, Pending, State, flag};
use super::receive::Stop;
use super::state::Tls;
use super::threads::Made;
use super::work::StepError;
use crate::handshake::Established;
use crate::record::{Alert, content};

/// Tickets that a client stores for one connection.
const MAX_TICKETS: u8 = 8;
/// Estimates of the time of one step, in nanoseconds: on the lcore, and with a thread that makes it.
const STEP_COST: u32 = 150_000;
const OFFLOAD_COST: u32 = 2000;
/// The time after which the threads are asked again.
const THREADS_RETRY: Duration = Duration::from_millis(1);

/// The answer to a plain HTTP request on a TLS port.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 58\r\n\
    Connection: close\r\n\
    \r\n\
    this port speaks TLS: use https:// or wss:// for this URL\n";

/// What the first bytes of a connection are.
enum First {
    Tls,
    Http,
    Other,
    Unknown,
}

fn first(bytes: &[u8]) -> First {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"PRI * HTTP/2",
    ];
    match bytes {
        [] => First::Unknown,
        [content::HANDSHAKE, 3, ..] | [content::HANDSHAKE] => First::Tls,
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => First::Http,
        _ if METHODS.iter().any(|method| method.starts_with(bytes)) => First::Unknown,
        _ => First::Other,
    }
}

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

    fn refuse_plain<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.stats.plain_http += 1;
        queue(below, id, PLAIN_HTTP);
        self.end_with(below, id, None, ErrorKind::InvalidData);
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

    /// The handshake is complete.
    fn established<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        mut established: Box<Established>,
    ) {
        // A copy: what is moved out of the box would leave its secrets there, and the box overwrites them when it is dropped.
        let session = established.session.clone();
        let (resumed, excess) = (established.resumed, established.excess);
        let (certificate, chain) = (established.certificate.take(), established.chain.take());
        let tickets = established.tickets.take();
        drop(established);
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let State::Handshake(pending) = std::mem::replace(&mut conn.state, State::Open(session))
        else {
            return;
        };
        self.stats.handshakes += 1;
        self.stats.handshakes_open -= 1;
        self.stats.resumed += u64::from(resumed);
        let Pending {
            work,
            early,
            early_len,
            charged,
            ..
        } = *pending;
        let input = work.input;
        self.handshake_bytes -= charged;
        if excess {
            // RFC 8446 §5.1: "Handshake messages MUST NOT span key changes."
            self.stats.unexpected_messages += 1;
            let alert = Some(Alert::UnexpectedMessage);
            return self.end_with(below, id, alert, ErrorKind::InvalidData);
        }
        if let Some(chain) = chain {
            above.spend(STEP_COST);
            if let Err(error) = self.configs.verify_resumed(&chain) {
                return self.resumption_refused(below, id, &error);
            }
        }
        let mut connecting = false;
        if let Some(conn) = self.conns.get_mut(id) {
            connecting = conn.is(flag::CONNECTING);
            conn.clear(flag::CONNECTING);
            if resumed {
                conn.set(flag::RESUMED);
            }
        }
        let tickets = tickets.filter(|_| self.configs.keeps_sessions());
        if tickets.is_some() || certificate.is_some() || !input.is_empty() {
            self.gathering += usize::from(!input.is_empty());
            if let Some(extra) = self.extra(id) {
                extra.tickets = tickets.map(|kernel| (Box::new(kernel), MAX_TICKETS));
                extra.certificate = certificate;
                extra.gather = input;
            }
        }
        if self.conns.get(id).is_some_and(|conn| conn.is(flag::PAUSED)) {
            below.pause(id);
        }
        self.write(below, id, &early[..early_len]);
        if connecting {
            above.on_connect(&mut View::new(self, below), id, Ok(()));
        }
        above.begin_visit();
        if self.open_gathered(below, above, id) == Stop::Later {
            self.list(id);
        }
        above.end_visit();
        self.judge_fin(below, above, id);
        self.end_sending(below, id);
    }

    /// A connection of a client is established below: its handshake begins.
    pub(super) fn begin_client<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        let Some(Conn {
            state: State::Handshake(pending),
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let begun = match &mut pending.work.handshake {
            Some(handshake) => handshake.begin(&mut out).is_ok(),
            None => false,
        };
        let begun = begun && queue(below, id, &out);
        self.scratch = out;
        if !begun {
            self.handshake_failed(below, id, None);
        }
    }
}

/// Queues bytes as they are; `false` if there is no room for all of them.
pub(super) fn queue<C: Connections>(below: &mut C, id: ConnId, mut bytes: &[u8]) -> bool {
    if bytes.len() > below.send_room(id) {
        return bytes.is_empty();
    }
    while !bytes.is_empty() {
        let Ok(space) = below.send_space(id, bytes.len()) else {
            return false;
        };
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        below.commit(id, n);
        bytes = &bytes[n..];
    }
    true
}
