//! Handshakes: their bytes, their turn, their time, and what is not TLS.

use std::io::{self, ErrorKind};

use hioload_transport::layer::View;
use hioload_transport::{ConnId, Connections, Driver, Rest, Taken};

use super::receive::Stop;
use super::state::{Conn, Pending, Setup, State, Tls, flag};
use crate::handshake::{Established, Handshake, Step};
use crate::record::{HEADER, content};

/// Received bytes that may wait for a handshake's turn: two records of full size.
const MAX_INPUT: usize = 36 << 10;
/// The longest record that a handshake accepts: that of TLS 1.2 (RFC 5246 §6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
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

/// The whole record at the front of `bytes`; `None` if it is not complete.
fn whole_record(bytes: &[u8]) -> Result<Option<&[u8]>, rustls::Error> {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_RECORD {
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
        if queued {
            return taken;
        }
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
        if matches!(whole_record(&pending.input), Ok(None)) {
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
        let result = process(pending, &mut out);
        if let Err(error) = &result {
            if is_unknown_name(error) {
                self.stats.unknown_names += 1;
                replace_alert(&mut out, ACCESS_DENIED, UNRECOGNIZED_NAME);
            } else if is_old {
                replace_alert(&mut out, HANDSHAKE_FAILURE, PROTOCOL_VERSION);
            }
        }
        let sent = queue(below, id, &out);
        self.scratch = out;
        match result {
            Ok(None) if sent => {}
            Ok(Some(established)) if sent => self.established(below, above, id, established),
            Ok(_) => self.handshake_failed(below, id, None),
            Err(error) => self.handshake_failed(below, id, Some(&error)),
        }
    }

    #[cold]
    fn handshake_failed<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        error: Option<&rustls::Error>,
    ) {
        self.stats.handshake_failures += 1;
        match error {
            Some(rustls::Error::PeerIncompatible(_)) => self.stats.incompatible += 1,
            Some(rustls::Error::AlertReceived(_)) => self.stats.alerts_received += 1,
            _ => {}
        }
        if let Some(error) = error
            && self
                .conns
                .get(id)
                .is_some_and(|conn| conn.is(flag::CONNECTING))
        {
            self.failures.push((id, error.clone()));
        }
        self.end_with(below, id, None, ErrorKind::InvalidData);
    }

    /// The handshake is complete.
    fn established<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        established: Box<Established>,
    ) {
        let Established {
            session,
            resumed,
            certificate,
            tickets,
        } = *established;
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        let State::Handshake(pending) = std::mem::replace(&mut conn.state, State::Open(session))
        else {
            return;
        };
        let connecting = conn.is(flag::CONNECTING);
        conn.clear(flag::CONNECTING);
        self.stats.handshakes += 1;
        self.stats.handshakes_open -= 1;
        self.stats.resumed += u64::from(resumed);
        let Pending {
            input,
            early,
            early_len,
            ..
        } = *pending;
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
        if self.open_gathered(below, above, id) == Stop::Later {
            self.list(id);
        }
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

    /// Ends the handshakes whose time is over.
    pub(super) fn expire<C: Connections>(&mut self, below: &mut C) {
        while let Some(&(deadline, id)) = self.deadlines.front() {
            let is_open = self.conns.get(id).is_some_and(|conn| {
                matches!(conn.state, State::Handshake(_)) && !conn.is(flag::FAILED)
            });
            if is_open && deadline > self.now {
                return;
            }
            self.deadlines.pop_front();
            if is_open {
                self.stats.handshake_timeouts += 1;
                self.end_with(below, id, None, ErrorKind::TimedOut);
            }
        }
    }
}

/// Whether the configuration has no certificate for the name that a client asked for. rustls has no error of its own for it.
fn is_unknown_name(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::General(text) if text == "no server certificate chain resolved")
}

/// Whether the first bytes of a connection are a ClientHello of TLS 1.1 or older. rustls misses the signature algorithms, which such a
/// message need not have, before it looks at the version.
fn is_old_hello(bytes: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    matches!(
        bytes,
        [
            content::HANDSHAKE,
            _,
            _,
            _,
            _,
            CLIENT_HELLO,
            _,
            _,
            _,
            3,
            0..=2,
            ..
        ]
    )
}

const HANDSHAKE_FAILURE: u8 = 40;
const ACCESS_DENIED: u8 = 49;
/// RFC 8446 §6.2
const PROTOCOL_VERSION: u8 = 70;
/// RFC 6066 §3
const UNRECOGNIZED_NAME: u8 = 112;

/// Replaces the alert that rustls has chosen by the one that says what is wrong. Nothing is encrypted before a certificate is chosen.
fn replace_alert(out: &mut [u8], wrong: u8, right: u8) {
    const FATAL: u8 = 2;
    if let [.., content::ALERT, 3, _, 0, 2, FATAL, alert] = out
        && *alert == wrong
    {
        *alert = right;
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
    while let Some(handshake) = &mut pending.handshake
        && let Some(record) = whole_record(&pending.input[at..])?
    {
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

/// The result of a connection that failed before it was complete.
pub(super) fn failed(kind: ErrorKind, error: Option<rustls::Error>) -> io::Error {
    match error {
        Some(error) => io::Error::new(kind, error),
        None => kind.into(),
    }
}
