//! Opening connections through TLS: how many a core opens, beside the handshakes of rustls alone, and what an open one keeps.

use std::io::{Read, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hioload_tls::rustls::pki_types::ServerName;
use hioload_tls::rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection,
};
use hioload_tls::{Tls, TlsOptions};
use hioload_transport::layer::Layer;

use crate::client::Failure;
use crate::packet::{MSS, flag};
use crate::report::{Row, median, resident};
use crate::tls::{Secured, configs};
use crate::world::{REQUEST, cpu_time};
use crate::{RING_IDLE, set_up};

/// Connections that are opened at the same time.
const BATCH: u32 = 32;
/// Rounds for each that was asked for.
const ROUNDS: usize = 3;
/// Turns without progress until a run has failed.
const BARREN: usize = 1000;
/// Of an idle connection, everything included: its flow, its session of the engine, its traffic secrets.
const IDLE_BYTES: f64 = 1024.0;

/// Handshakes that the server completes in a second of its time, full and resumed, beside those of rustls' own connections in memory,
/// and connections that it opens without TLS.
pub fn handshakes(rounds: usize, messages: usize) -> Result<Vec<Row>, Failure> {
    // Handshakes of a round.
    let each = BATCH * (messages / 4000).clamp(1, 16) as u32;
    let (server, client) = configs()?;
    let (mut full, mut resumed) = (Kind::default(), Kind::default());
    for _ in 0..rounds * ROUNDS {
        let opened_plain = plain(each)?;
        let mut world = secured(each * 2 + BATCH, &server)?;
        let without = without_sessions(&client);
        full.add(&Times {
            ours: opened(&mut world, 0..each, &without, HandshakeKind::Full)?,
            rustls: alone(&server, &without, HandshakeKind::Full, each)?,
            plain: opened_plain,
        });
        // Each place of a batch gets its first session.
        let with = with_sessions(&client);
        open(&mut world, each..each + BATCH, &with)?;
        let rest = each + BATCH..each * 2 + BATCH;
        let sessions = with_sessions(&client);
        resumed.add(&Times {
            ours: opened(&mut world, rest, &with, HandshakeKind::Resumed)?,
            rustls: alone(&server, &sessions, HandshakeKind::Resumed, each)?,
            plain: opened_plain,
        });
    }
    let mut rows = vec![Row::at_least(
        "connections opened without TLS: TCP, upgrade",
        rate(&full.plain),
        "/s",
        0.0,
    )];
    rows.extend(full.rows("full"));
    rows.extend(resumed.rows("resumed"));
    Ok(rows)
}

/// Seconds of the server's time for each connection of a round.
struct Times {
    ours: f64,
    rustls: f64,
    plain: f64,
}

/// One kind of handshake: seconds by round, and their ratios.
#[derive(Default)]
struct Kind {
    ours: Vec<f64>,
    rustls: Vec<f64>,
    plain: Vec<f64>,
    whole: Vec<f64>,
    handshake: Vec<f64>,
}

impl Kind {
    fn add(&mut self, times: &Times) {
        let Times {
            ours,
            rustls,
            plain,
        } = times;
        self.ours.push(*ours);
        self.rustls.push(*rustls);
        self.plain.push(*plain);
        self.whole.push(rustls / ours);
        self.handshake.push(rustls / (ours - plain));
    }

    fn rows(&self, name: &str) -> Vec<Row> {
        let of_rustls = format!("{name} handshakes of rustls alone, in memory");
        let of_ours = format!("connections opened: TCP, {name} handshake, upgrade");
        vec![
            Row::at_least(of_rustls, rate(&self.rustls), "/s", 0.0),
            Row::at_least(of_ours, rate(&self.ours), "/s", 0.0),
            Row::at_least("  ratio to rustls alone", median(&self.whole), "x", 0.0),
            Row::at_least(
                "  the same without the time of a connection without TLS",
                median(&self.handshake),
                "x",
                0.9,
            ),
        ]
    }
}

/// The median rate, from the seconds for each.
fn rate(seconds: &[f64]) -> f64 {
    1.0 / median(seconds)
}

/// Opens connections without TLS; returns seconds of the server's time for each.
fn plain(count: u32) -> Result<f64, Failure> {
    let mut world = set_up::world(count, RING_IDLE)?;
    let spent = world.open(count)?;
    Ok(spent.as_secs_f64() / f64::from(count))
}

/// Resident memory of connections that have been silent for a while.
pub fn idle(flows: u32) -> Result<Vec<Row>, Failure> {
    let (server, client) = configs()?;
    let client = without_sessions(&client);
    let mut world = secured(flows, &server)?;
    // The bounded memory of the lcore is in use before the first connection is counted: expanded keys, handshakes, rings.
    let first = flows / 5;
    open(&mut world, 0..first, &client)?;
    world.idle(Duration::from_secs(20))?;
    let before = resident()?;
    open(&mut world, first..flows, &client)?;
    world.idle(Duration::from_secs(20))?;
    let after = resident()?;
    let connections = world.server().connections();
    if connections != flows as usize {
        return Err(format!("{connections} of {flows} connections are open"));
    }
    let each = (after as f64 - before as f64) / f64::from(flows - first);
    let name = format!("{flows} idle connections through TLS: RSS of each");
    Ok(vec![Row::at_most(name, each, "B", IDLE_BYTES)])
}

fn secured(flows: u32, config: &Arc<ServerConfig>) -> Result<Secured, Failure> {
    let tls = Tls::new(TlsOptions::default(), Box::new(Arc::clone(config)));
    set_up::through(flows, RING_IDLE, tls)
}

fn without_sessions(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = hioload_tls::rustls::client::Resumption::disabled();
    Arc::new(config)
}

/// A store of sessions of its own.
fn with_sessions(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = hioload_tls::rustls::client::Resumption::in_memory_sessions(1024);
    Arc::new(config)
}

/// Each place of a batch asks for a name of its own, and so has sessions of its own.
fn name(place: u32) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(format!("n{}.server.example", place % BATCH))
        .map_err(|error| error.to_string())
}

/// Opens connections; returns seconds of the server's time for each.
fn opened(
    world: &mut Secured,
    flows: Range<u32>,
    client: &Arc<ClientConfig>,
    kind: HandshakeKind,
) -> Result<f64, Failure> {
    let count = flows.len();
    let before = world.spent;
    let kinds = open(world, flows, client)?;
    if let Some(other) = kinds.iter().find(|other| **other != kind) {
        return Err(format!("a handshake was {other:?}, not {kind:?}"));
    }
    Ok((world.spent - before).as_secs_f64() / count as f64)
}

/// Opens WebSocket connections; returns the kind of each handshake.
fn open(
    world: &mut Secured,
    flows: Range<u32>,
    client: &Arc<ClientConfig>,
) -> Result<Vec<HandshakeKind>, Failure> {
    let mut kinds = Vec::with_capacity(flows.len());
    let mut next = flows.start;
    while next < flows.end {
        let batch: Vec<u32> = (next..flows.end.min(next + BATCH)).collect();
        next += batch.len() as u32;
        world.client.begin(&batch);
        for &flow in &batch {
            world.client.send(flow, flag::SYN, &[])?;
        }
        world.client.push()?;
        world.turn()?;
        world.client.receive(|_, _| Ok(()))?;
        let made = batch.iter().map(|&flow| Opening::new(flow, client));
        let mut openings = made.collect::<Result<Vec<_>, _>>()?;
        for opening in &mut openings {
            opening.send(world)?;
        }
        world.client.push()?;
        until_open(world, &mut openings)?;
        for opening in &openings {
            kinds.push(opening.tls.handshake_kind().ok_or("no handshake")?);
        }
    }
    Ok(kinds)
}

/// Runs turns of the server until each of the connections has its upgrade.
fn until_open(world: &mut Secured, openings: &mut [Opening]) -> Result<(), Failure> {
    let first = openings.first().ok_or("no connection")?.flow;
    let mut barren = 0;
    while openings.iter().any(|opening| !opening.granted) {
        // Each handshake has at most one step to make.
        world.turns(openings.len(), |io| io.layer().has_work())?;
        let mut arrived: Vec<(u32, Vec<u8>)> = Vec::new();
        world.client.receive_of(|flow, _, bytes| {
            if !bytes.is_empty() {
                arrived.push((flow, bytes.to_vec()));
            }
            Ok(())
        })?;
        barren = if arrived.is_empty() { barren + 1 } else { 0 };
        if barren > BARREN {
            return Err("the server does not answer".into());
        }
        for (flow, bytes) in arrived {
            let opening = &mut openings[(flow - first) as usize];
            opening.receive(&bytes)?;
            opening.send(world)?;
        }
        world.client.push()?;
    }
    Ok(())
}

/// A connection that is being opened, with rustls at the client.
struct Opening {
    flow: u32,
    tls: ClientConnection,
    has_asked: bool,
    granted: bool,
}

impl Opening {
    fn new(flow: u32, config: &Arc<ClientConfig>) -> Result<Self, Failure> {
        let tls = ClientConnection::new(Arc::clone(config), name(flow)?);
        Ok(Self {
            flow,
            tls: tls.map_err(|error| error.to_string())?,
            has_asked: false,
            granted: false,
        })
    }

    /// Sends what TLS has to send, or acknowledges alone.
    fn send(&mut self, world: &mut Secured) -> Result<(), Failure> {
        if !self.tls.is_handshaking() && !self.has_asked {
            let asked = self.tls.writer().write_all(REQUEST);
            asked.map_err(|error| error.to_string())?;
            self.has_asked = true;
        }
        let records = taken(|out| self.tls.write_tls(out))?;
        if records.is_empty() {
            return world.client.send(self.flow, flag::ACK, &[]);
        }
        for segment in records.chunks(MSS) {
            world
                .client
                .send(self.flow, flag::ACK | flag::PSH, segment)?;
        }
        Ok(())
    }

    fn receive(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| format!("flow {}: {error}", self.flow);
        while !bytes.is_empty() {
            self.tls
                .read_tls(&mut bytes)
                .map_err(|error| failed(&error))?;
            self.tls
                .process_new_packets()
                .map_err(|error| failed(&error))?;
        }
        let mut answer = [0; 512];
        if let Ok(len @ 1..) = self.tls.reader().read(&mut answer) {
            if !answer[..len].starts_with(b"HTTP/1.1 101 ") {
                return Err("the server refused the upgrade".into());
            }
            self.granted = true;
        }
        Ok(())
    }
}

/// Everything that a connection wants to write.
fn taken(
    mut write: impl FnMut(&mut Vec<u8>) -> std::io::Result<usize>,
) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    while write(&mut out).map_err(|error| error.to_string())? > 0 {}
    Ok(out)
}

/// Handshakes between two connections of rustls in memory; returns seconds of the server's time for each.
fn alone(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    kind: HandshakeKind,
    each: u32,
) -> Result<f64, Failure> {
    let (mut spent, mut count) = (Duration::ZERO, 0);
    if kind == HandshakeKind::Resumed {
        one_alone(server, client)?;
    }
    while count < each {
        let (time, was) = one_alone(server, client)?;
        if was != kind {
            return Err(format!("a handshake of rustls was {was:?}, not {kind:?}"));
        }
        spent += time;
        count += 1;
    }
    Ok(spent.as_secs_f64() / f64::from(each))
}

fn one_alone(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> Result<(Duration, HandshakeKind), Failure> {
    let failed = |error: hioload_tls::rustls::Error| error.to_string();
    let mut client = ClientConnection::new(Arc::clone(client), name(0)?).map_err(failed)?;
    let begin = cpu_time();
    let mut server = ServerConnection::new(Arc::clone(server)).map_err(failed)?;
    let mut spent = cpu_time() - begin;
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let hello = taken(|out| client.write_tls(out))?;
        let begin = cpu_time();
        let mut bytes = &hello[..];
        while !bytes.is_empty() {
            server
                .read_tls(&mut bytes)
                .map_err(|error| error.to_string())?;
            server.process_new_packets().map_err(failed)?;
        }
        let answer = taken(|out| server.write_tls(out))?;
        spent += cpu_time() - begin;
        let mut bytes = &answer[..];
        while !bytes.is_empty() {
            client
                .read_tls(&mut bytes)
                .map_err(|error| error.to_string())?;
            client.process_new_packets().map_err(failed)?;
        }
        if hello.is_empty() && answer.is_empty() {
            return Err("a handshake of rustls stops".into());
        }
    }
    let kind = client.handshake_kind().ok_or("no handshake")?;
    Ok((spent, kind))
}
