//! The peer's side of the protocol: bytes from the lcore in, events out.

use std::fmt;

use hioload_ws_proto::deflate::{DeflateConfig, negotiate};
use hioload_ws_proto::handshake::HandshakeLimits;
use hioload_ws_proto::handshake::client::{Response, parse_response};
use hioload_ws_proto::{
    Assembler, AssemblerOptions, CloseCode, CloseFrame, Compressor, Decoder, Deflation, Event,
    Inflation, Kind, Limits, OpCode, Role, encode,
};

use crate::received::Received;
use crate::upgrade::{HttpResponse, KEY, Upgrade};

/// RFC 6455 §5.3 requires an unpredictable key for each frame. A test needs the same bytes in every run.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Bytes of a response head.
const MAX_HEAD: usize = 64 << 10;
/// Events that a failure message shows.
const SHOWN: usize = 16;

/// The protocol state of one client, or of the server of a connection that a handler opens.
pub(crate) struct Protocol {
    state: State,
    /// A client masks its frames.
    mask: Option<[u8; 4]>,
    assembler: Assembler,
    compressor: Compressor,
    deflation: Deflation,
    response: Option<HttpResponse>,
    received: Vec<Received>,
    /// The events of `received` that the test has taken.
    taken: Vec<bool>,
    /// Whether a Close was sent, after which no other follows.
    close_sent: bool,
}

enum State {
    /// The response to this request has not arrived; a request that the test wrote itself is compared with the default.
    Head {
        upgrade: Upgrade,
        arrived: Vec<u8>,
    },
    Open(Decoder),
    /// The response was not 101: its body follows.
    Body,
    /// A server keeps the request that arrives.
    Request(Vec<u8>),
}

impl Protocol {
    pub(crate) fn new() -> Self {
        let limits = Limits::new(usize::MAX, usize::MAX, u32::MAX);
        let options = AssemblerOptions::new(limits).budget(usize::MAX);
        let mut protocol = Self {
            state: State::Body,
            mask: Some(MASK),
            assembler: Assembler::new(options),
            compressor: Compressor::new(&DeflateConfig::default(), 1 << 20),
            deflation: Deflation::None,
            response: None,
            received: Vec::new(),
            taken: Vec::new(),
            close_sent: false,
        };
        protocol.await_response(Upgrade::new("/"));
        protocol
    }

    /// The protocol state of a server, which awaits a request.
    pub(crate) fn of_server() -> Self {
        Self {
            state: State::Request(Vec::new()),
            mask: None,
            ..Self::new()
        }
    }

    /// The request that a server has received so far.
    pub(crate) fn request(&self) -> &[u8] {
        match &self.state {
            State::Request(arrived) => arrived,
            _ => &[],
        }
    }

    /// A server accepts the upgrade: frames follow.
    pub(crate) fn serve(&mut self) {
        self.state = State::Open(Decoder::new(Role::Server));
        self.response = Some(HttpResponse {
            status: 101,
            headers: Vec::new(),
            body: Vec::new(),
        });
    }

    /// Whether this is a server whose closing handshake is complete: it ends TCP first (RFC 6455 §7.1.1).
    pub(crate) fn ends_tcp(&self) -> bool {
        self.mask.is_none() && self.close_sent && self.close().is_some()
    }

    /// A request was sent, or will be.
    pub(crate) fn await_response(&mut self, upgrade: Upgrade) {
        let arrived = Vec::new();
        self.state = State::Head { upgrade, arrived };
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    pub(crate) fn response(&self) -> Option<&HttpResponse> {
        self.response.as_ref()
    }

    /// Takes bytes of the server. Returns the frames with which a client answers them: a Pong for each Ping, a Close for a Close.
    ///
    /// # Panics
    /// If the bytes are not those of a correct server.
    pub(crate) fn receive(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        if let State::Head { arrived, .. } = &mut self.state {
            arrived.append(&mut bytes);
            bytes = self.read_head();
        }
        match &mut self.state {
            State::Head { .. } => Vec::new(),
            State::Body => {
                let response = self.response.as_mut().expect("a body follows a head");
                response.body.append(&mut bytes);
                Vec::new()
            }
            State::Request(arrived) => {
                arrived.append(&mut bytes);
                Vec::new()
            }
            State::Open(_) => self.read_frames(&mut bytes),
        }
    }

    /// Returns the bytes behind the head if it is complete.
    fn read_head(&mut self) -> Vec<u8> {
        let State::Head { upgrade, arrived } = &mut self.state else {
            return Vec::new();
        };
        let limits = HandshakeLimits::new(MAX_HEAD);
        let parsed = upgrade.with_request(|request| {
            let parsed = parse_response(arrived, KEY, request, &limits);
            let parsed = parsed.unwrap_or_else(|e| panic!("{e}: {}", arrived.escape_ascii()));
            parsed.map(|(response, end)| (copy(&response), agree(upgrade, &response), end))
        });
        let Some((response, deflate, end)) = parsed else {
            return Vec::new();
        };
        let rest = arrived.split_off(end);
        let mut inflation = Inflation::None;
        if let Some((agreed, config)) = deflate {
            inflation = Inflation::agreed(&agreed, Role::Client);
            self.deflation = Deflation::agreed(&agreed, Role::Client, &config);
            self.compressor = Compressor::new(&config, 1 << 20);
        }
        self.state = if response.status == 101 {
            State::Open(Decoder::with_deflate(Role::Client, inflation))
        } else {
            State::Body
        };
        self.response = Some(response);
        rest
    }

    fn read_frames(&mut self, mut bytes: &mut [u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        let State::Open(decoder) = &mut self.state else {
            return answers;
        };
        while !bytes.is_empty() {
            let (used, event) = match decoder.decode(&mut self.assembler, bytes) {
                Ok(decoded) => decoded,
                Err(e) => panic!("the lcore broke the protocol: {e}"),
            };
            if let Some(event) = event {
                self.received.push(copy_event(&event));
                match event {
                    // RFC 6455 §5.5.2 and §5.5.1: a Pong answers a Ping, and a Close the first Close.
                    Event::Ping(payload) => {
                        encode::frame_into(&mut answers, OpCode::Pong, payload, self.mask);
                    }
                    Event::Close(frame) if !self.close_sent => {
                        let frame = frame.map(|frame| CloseFrame {
                            reason: "",
                            ..frame
                        });
                        encode::close_into(&mut answers, frame, self.mask);
                        self.close_sent = true;
                    }
                    _ => {}
                }
                self.taken.push(false);
            }
            bytes = &mut bytes[used..];
        }
        answers
    }

    /// The frame of a message, compressed if that was agreed and the message is long enough.
    pub(crate) fn message(&mut self, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match self.compressor.compress(&mut self.deflation, payload) {
            Some(shorter) => {
                encode::fragment_into(&mut out, true, true, kind.into(), shorter, self.mask);
            }
            None => encode::frame_into(&mut out, kind.into(), payload, self.mask),
        }
        out
    }

    /// A frame of any sort, uncompressed.
    pub(crate) fn frame(&self, fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode::fragment_into(&mut out, fin, false, opcode, payload, self.mask);
        out
    }

    /// A Close frame.
    pub(crate) fn close_frame(&mut self, code: CloseCode, reason: &str) -> Vec<u8> {
        self.close_sent = true;
        let mut out = Vec::new();
        encode::close_into(&mut out, Some(CloseFrame { code, reason }), self.mask);
        out
    }

    /// The first event that the test has not taken and that `wanted` converts.
    pub(crate) fn take<T>(&mut self, wanted: impl Fn(&Received) -> Option<T>) -> Option<T> {
        let events = self.received.iter().zip(&mut self.taken);
        let (event, taken) = events
            .filter(|(_, taken)| !**taken)
            .find_map(|(event, taken)| Some((wanted(event)?, taken)))?;
        *taken = true;
        Some(event)
    }

    /// The code and reason of the server's Close.
    pub(crate) fn close(&self) -> Option<(CloseCode, &str)> {
        self.received.iter().find_map(|event| match event {
            Received::Close(code, reason) => Some((*code, reason.as_str())),
            _ => None,
        })
    }
}

fn copy(response: &Response<'_>) -> HttpResponse {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = response.headers.iter();
    HttpResponse {
        status: response.status,
        headers: headers.map(|(n, v)| (n.to_owned(), text(v))).collect(),
        body: Vec::new(),
    }
}

fn agree(upgrade: &Upgrade, response: &Response<'_>) -> Option<(negotiate::Agreed, DeflateConfig)> {
    let config = upgrade.deflate.clone().filter(|_| response.switched())?;
    let agreed = negotiate::client_accept(&config, response.extensions());
    let agreed = agreed.unwrap_or_else(|e| panic!("the server's extensions: {e}"));
    Some((agreed?, config))
}

fn copy_event(event: &Event<'_>) -> Received {
    match *event {
        Event::Message(message) => match message.as_text() {
            Some(text) => Received::Text(text.to_owned()),
            None => Received::Binary(message.as_bytes().to_vec()),
        },
        Event::Ping(payload) => Received::Ping(payload.to_vec()),
        Event::Pong(payload) => Received::Pong(payload.to_vec()),
        Event::Close(frame) => {
            let (code, reason) = frame.map_or((CloseCode::NO_STATUS, ""), |f| (f.code, f.reason));
            Received::Close(code, reason.to_owned())
        }
    }
}

impl fmt::Display for Protocol {
    /// The received events, for a failure message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.response {
            None => return f.write_str("it has received no response to its request"),
            Some(response) if response.status != 101 => {
                return write!(f, "it has received {response}");
            }
            Some(_) => {}
        }
        if self.received.is_empty() {
            return f.write_str("it is open and has received nothing");
        }
        f.write_str("it has received")?;
        let skipped = self.received.len().saturating_sub(SHOWN);
        if skipped > 0 {
            write!(f, " {skipped} events, then")?;
        }
        let events = self.received.iter().zip(&self.taken).skip(skipped);
        for (n, (event, taken)) in events.enumerate() {
            f.write_str(if n == 0 { " " } else { ", " })?;
            write!(f, "{event}")?;
            if *taken {
                f.write_str(" (taken)")?;
            }
        }
        Ok(())
    }
}
