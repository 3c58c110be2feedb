//! Handshakes: their bytes, their turn, their time, and what is not TLS.

use std::io::ErrorKind;

use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver, Rest, Taken};

use super::failing::{
    ACCESS_DENIED, HANDSHAKE_FAILURE, PROTOCOL_VERSION, UNRECOGNIZED_NAME, is_old_hello,
    replace_alert,
};
use super::receive::Stop;
use super::state::{Conn, Pending, Setup, State, Tls, flag};
use crate::configs::take_unresolved;
use crate::handshake::{Established, Handshake, Step, alert_in_clear};
use crate::record::{Alert, HEADER, MAX_CONTENT, content};

/// Received bytes that may wait for a handshake's turn: a record of full size. The others wait with the transport below.
const MAX_INPUT: usize = HEADER + MAX_RECORD;
/// The longest encrypted record that a handshake accepts: that of TLS 1.2 (RFC 5246 §6.2.3).
const MAX_RECORD: usize = MAX_CONTENT + 2048;
/// Tickets that a client stores for one connection.
const MAX_TICKETS: u8 = 8;
/// An estimate of the time of one step, in nanoseconds.
const STEP_COST: u32 = 150_000;

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

/// The whole record at the front of `bytes`; `None` if it is not complete. `clear`: records are not encrypted yet, and RFC 8446 §5.1
/// allows them 2^14 bytes.
fn whole_record(bytes: &[u8], clear: bool) -> Result<Option<&[u8]>, rustls::Error> {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > if clear { MAX_CONTENT } else { MAX_RECORD } {
        return Err(rustls::Error::PeerSentOversizedRecord);
    }
    Ok(bytes.get(..HEADER + len))
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
        let Some(conn) = self.conns.get_mut(id).filter(|conn| !conn.is(flag::FAILED)) else {
            return all;
        };
        let queued = conn.is(flag::QUEUED);
        let State::Handshake(pending) = &mut conn.state else {
            return all;
        };
        let n = data.len().min(MAX_INPUT - pending.input.len());
        pending.input.extend_from_slice(&data[..n]);
        let taken = Taken {
            bytes: n,
            rest: Rest::Later,
        };
        let clear = pending.is_clear();
        let waits = matches!(whole_record(&pending.input, clear), Ok(None));
        if !self.account(below, id) {
            return all;
        }
        if queued {
            return taken;
        }
        let Some(conn) = self.conns.get_mut(id) else {
            return all;
        };
        let State::Handshake(pending) = &mut conn.state else {
            return all;
        };
        let is_new = pending.handshake.is_none();
        match first(&pending.input) {
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
        if waits {
            return taken;
        }
        if self.steps == 0 || !self.queue.is_empty() {
            conn.set(flag::QUEUED);
            self.queue.push_back(id);
            self.stats.handshakes_delayed += 1;
            return taken;
        }
        self.step(below, above, id);
        taken
    }

    fn refuse_plain<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.stats.plain_http += 1;
        queue(below, id, PLAIN_HTTP);
        self.end_with(below, id, None, ErrorKind::InvalidData);
    }

    /// Makes a step of the handshakes that wait, as far as the turn's budget reaches.
    pub(super) fn step_queued<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
    ) -> usize {
        let mut steps = 0;
        while self.steps > 0 && (steps == 0 || !above.is_exhausted()) {
            let Some(id) = self.queue.pop_front() else {
                break;
            };
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.clear(flag::QUEUED);
            if !conn.is(flag::FAILED) {
                self.step(below, above, id);
                steps += 1;
            }
        }
        steps
    }

    /// Processes the whole records that a handshake has received.
    fn step<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        let Some(Conn {
            state: State::Handshake(pending),
            ..
        }) = self.conns.get_mut(id)
        else {
            return;
        };
        self.steps = self.steps.saturating_sub(1);
        above.spend(STEP_COST);
        let mut out = std::mem::take(&mut self.scratch);
        out.clear();
        let is_old = is_old_hello(&pending.input);
        take_unresolved();
        let result = process(pending, &mut out);
        if result.is_err() {
            if take_unresolved() {
                self.stats.unknown_names += 1;
                replace_alert(&mut out, ACCESS_DENIED, UNRECOGNIZED_NAME);
            } else if is_old {
                replace_alert(&mut out, HANDSHAKE_FAILURE, PROTOCOL_VERSION);
            }
        }
        let sent = queue(below, id, &out);
        self.scratch = out;
        match result {
            Ok(None) if sent => {
                if self.account(below, id)
                    && self.conns.get(id).is_some_and(|conn| conn.is(flag::FIN))
                {
                    self.handshake_cut(below, id);
                }
            }
            Ok(Some(established)) if sent => self.established(below, above, id, established),
            Ok(_) => self.handshake_failed(below, id, None),
            Err(error) => self.handshake_failed(below, id, Some(&error)),
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
            input,
            early,
            early_len,
            charged,
            ..
        } = *pending;
        self.handshake_bytes -= charged;
        if excess {
            // RFC 8446 §5.1: "Handshake messages MUST NOT span key changes."
            self.stats.unexpected_messages += 1;
            let alert = Some(Alert::UnexpectedMessage);
            return self.end_with(below, id, alert, ErrorKind::InvalidData);
        }
        if let Some(chain) = chain
            && let Err(error) = self.configs.verify_resumed(&chain)
        {
            return self.resumption_refused(below, id, &error);
        }
        let mut connecting = false;
        if let Some(conn) = self.conns.get_mut(id) {
            connecting = conn.is(flag::CONNECTING);
            conn.clear(flag::CONNECTING);
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
        let begun = match &mut pending.handshake {
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

/// Feeds the whole records of `input` to the handshake, until it is complete.
fn process(
    pending: &mut Pending,
    out: &mut Vec<u8>,
) -> Result<Option<Box<Established>>, rustls::Error> {
    if let Setup::Server(config) = std::mem::replace(&mut pending.setup, Setup::Begun) {
        pending.handshake = Some(Handshake::server(config)?);
    }
    let mut at = 0;
    while let Some(handshake) = &mut pending.handshake {
        let clear = handshake.is_clear();
        let record = match whole_record(&pending.input[at..], clear) {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => {
                if clear {
                    out.extend_from_slice(&alert_in_clear(Alert::RecordOverflow));
                }
                return Err(error);
            }
        };
        at += record.len();
        if let Step::Done = handshake.receive(record, out)? {
            pending.input.drain(..at);
            let done = pending
                .handshake
                .take()
                .map(Handshake::finish)
                .transpose()?;
            return Ok(done.map(Box::new));
        }
    }
    pending.input.drain(..at);
    if pending.input.is_empty() {
        pending.input = Vec::new();
    }
    Ok(None)
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
