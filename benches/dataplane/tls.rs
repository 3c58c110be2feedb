//! The echo through TLS beside the echo without: the same engine, stack and devices, and a client that seals and opens records.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hioload_device::memory::MemoryDevice;
use hioload_tls::record::{KeyCache, KeyOwner, Opened, Session, record_len};
use hioload_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use hioload_tls::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use hioload_tls::{Handshake, Step, Tls, TlsOptions, TlsStats, prepare_client};
use hioload_transport::bypass::Bypass;
use hioload_transport::layer::Layered;

use crate::client::Failure;
use crate::packet::{MSS, flag};
use crate::report::{Row, median};
use crate::world::{Ack, Load, Order, REQUEST, World};
use crate::{FEW, RING_IDLE, few, set_up};

pub type Secured = World<MemoryDevice, Layered<Bypass<MemoryDevice>, Tls>>;

/// Rounds of each cell, in a pair with one without TLS.
const PAIRS: usize = 5;

/// Measures the echo of 64 bytes and of 1 KiB, one and sixteen messages in flight.
pub fn measure(rounds: usize, messages: usize) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (size, batch) in [(64, 1), (64, 16), (1024, 1), (1024, 16)] {
        cell(size, batch, (rounds, messages / 4), &mut rows)?;
    }
    Ok(rows)
}

fn cell(
    size: usize,
    batch: usize,
    (rounds, messages): (usize, usize),
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let load = Load::new(size, batch);
    let how = (Order::Opened, Ack::WithNext);
    let mut bare = few()?;
    let (mut secured, _) = Clients::open(FEW, FEW)?;
    bare.round(FEW, messages, &load, how)?;
    secured.round(messages, &load)?;
    let before = secured.stats();
    let (mut times, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..rounds * PAIRS {
        let (without, with) = if round % 2 == 0 {
            let without = bare.round(FEW, messages, &load, how)?;
            (without, secured.round(messages, &load)?)
        } else {
            let with = secured.round(messages, &load)?;
            (bare.round(FEW, messages, &load, how)?, with)
        };
        times.push(with);
        ratios.push(with / without);
    }
    let after = secured.stats();
    let name = format!("echo {size} B through TLS, {batch} in flight");
    rows.push(Row::nanos(name, median(&times), None));
    let ratio = median(&ratios);
    rows.push(Row::at_least("  ratio to no TLS", ratio, "x", 0.0));
    let in_place = (after.records_in_place - before.records_in_place) as f64;
    let gathered = (after.records_gathered - before.records_gathered) as f64;
    let share = 100.0 * in_place / (in_place + gathered);
    let least = if batch == 1 { 99.0 } else { 0.0 };
    rows.push(Row::at_least(
        "  records opened in the frame",
        share,
        "%",
        least,
    ));
    Ok(())
}

/// A connection of the client.
struct Conn {
    session: Session,
    received: Vec<u8>,
    plain: usize,
}

/// The world, and the client's side of TLS. Its work is not timed.
pub struct Clients {
    pub world: Secured,
    conns: HashMap<u32, Conn>,
    keys: KeyCache,
    cursor: u32,
}

/// Configurations of both sides, with a certificate made for this run and keys for session tickets.
pub fn configs() -> Result<(Arc<ServerConfig>, ClientConfig), Failure> {
    let text = |error: &dyn std::fmt::Display| format!("no configuration of TLS: {error}");
    let pair =
        rcgen::generate_simple_self_signed(["localhost", "*.server.example"].map(str::to_owned))
            .map_err(|error| text(&error))?;
    let certificate: CertificateDer<'static> = pair.cert.der().clone();
    let key =
        PrivateKeyDer::try_from(pair.signing_key.serialize_der()).map_err(|error| text(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .map_err(|error| text(&error))?;
    server.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| text(&error))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(|error| text(&error))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((Arc::new(server), client))
}

fn owner(index: u32) -> KeyOwner {
    KeyOwner {
        index,
        generation: 0,
    }
}

impl Clients {
    /// A world with room for `flows` flows, of which `open` are open; and the configuration of its clients.
    pub fn open(open: u32, flows: u32) -> Result<(Self, Arc<ClientConfig>), Failure> {
        let (server, client) = configs()?;
        let client = Arc::new(prepare_client(&client));
        let tls = Tls::new(TlsOptions::default(), Box::new(server));
        let mut clients = Self {
            world: set_up::through(flows, RING_IDLE, tls)?,
            conns: HashMap::new(),
            keys: KeyCache::new(2 * open as usize),
            cursor: 0,
        };
        for index in 0..open {
            clients.open_one(index, &client)?;
        }
        Ok((clients, client))
    }

    pub fn stats(&mut self) -> TlsStats {
        self.world.server().transport().layer().stats()
    }

    fn send(&mut self, index: u32, bytes: &[u8]) -> Result<(), Failure> {
        for segment in bytes.chunks(MSS) {
            self.world
                .client
                .send(index, flag::ACK | flag::PSH, segment)?;
        }
        Ok(())
    }

    /// Turns of the server; returns what flow `index` receives in them.
    fn receive(&mut self, index: u32) -> Result<Vec<u8>, Failure> {
        let mut received = Vec::new();
        self.world.client.push()?;
        for _ in 0..4 {
            self.world.turn()?;
            self.world.client.receive_of(|flow, _, bytes| {
                if flow == index {
                    received.extend_from_slice(bytes);
                }
                Ok(())
            })?;
            self.world.client.send(index, flag::ACK, &[])?;
            self.world.client.push()?;
        }
        Ok(received)
    }

    fn open_one(&mut self, index: u32, config: &Arc<ClientConfig>) -> Result<(), Failure> {
        let failed = |error: rustls::Error| format!("flow {index}: {error}");
        self.world.client.begin(&[index]);
        self.world.client.send(index, flag::SYN, &[])?;
        self.receive(index)?;
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let mut handshake = Handshake::client(Arc::clone(config), name).map_err(failed)?;
        let mut out = Vec::new();
        handshake.begin(&mut out).map_err(failed)?;
        let mut received = Vec::new();
        let session = loop {
            self.send(index, &out)?;
            out.clear();
            let more = self.receive(index)?;
            if more.is_empty() {
                return Err(format!("flow {index}: the handshake stops"));
            }
            received.extend(more);
            let mut done = false;
            while let Some(record) = front(&received).filter(|_| !done) {
                let step = handshake.receive(&received[..record], &mut out);
                received.drain(..record);
                done = matches!(step.map_err(failed)?, Step::Done);
            }
            if done {
                break handshake.finish().map_err(failed)?.session;
            }
        };
        let conn = Conn {
            session,
            received,
            plain: 0,
        };
        self.conns.insert(index, conn);
        let request = self.sealed(index, &[REQUEST])?;
        out.extend(request);
        self.send(index, &out)?;
        let answer = self.receive(index)?;
        self.opened(index, &answer, |_, content| {
            if content.starts_with(b"HTTP/1.1 101 ") {
                Ok(())
            } else {
                Err("the server refused the upgrade".into())
            }
        })
    }

    /// Sends one message on flow `index`.
    pub fn say(&mut self, index: u32, load: &Load) -> Result<(), Failure> {
        let sealed = self.sealed(index, &[&load.sent])?;
        if let Some(conn) = self.conns.get_mut(&index) {
            conn.plain = 0;
        }
        self.send(index, &sealed)
    }

    /// Takes what flow `index` received; returns whether the reply is complete.
    pub fn hears(&mut self, index: u32, bytes: &[u8], load: &Load) -> Result<bool, Failure> {
        self.opened(index, bytes, |at, content| {
            match load.answer.get(at..at + content.len()) {
                Some(wanted) if wanted == content => Ok(()),
                _ => Err("a reply has a wrong byte".into()),
            }
        })?;
        let conn = self.conns.get(&index).ok_or("no such flow")?;
        Ok(conn.plain == load.answer.len())
    }

    /// A record for each of `messages`.
    fn sealed(&mut self, index: u32, messages: &[&[u8]]) -> Result<Vec<u8>, Failure> {
        let conn = self.conns.get_mut(&index).ok_or("no such flow")?;
        let mut out = Vec::new();
        for message in messages {
            let at = out.len();
            out.resize(at + message.len() + conn.session.overhead(), 0);
            conn.session
                .seal(&mut self.keys, owner(index), message, &mut out[at..])
                .map_err(|error| format!("{error:?}"))?;
        }
        Ok(out)
    }

    /// Opens what flow `index` received. `check` gets content and the number of content bytes before it.
    fn opened(
        &mut self,
        index: u32,
        bytes: &[u8],
        mut check: impl FnMut(usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let conn = self.conns.get_mut(&index).ok_or("no such flow")?;
        conn.received.extend_from_slice(bytes);
        while let Some(n) = front(&conn.received) {
            let record = &mut conn.received[..n];
            let opened = conn
                .session
                .open(&mut self.keys, owner(index), record, &mut |_| {});
            match opened {
                Ok(Opened::Data(content)) => {
                    check(conn.plain, content)?;
                    conn.plain += content.len();
                }
                Ok(Opened::Control) => {}
                other => return Err(format!("flow {index}: {other:?}")),
            }
            conn.received.drain(..n);
        }
        Ok(())
    }

    /// A round of at least `messages` echoes; returns nanoseconds of server time for each.
    fn round(&mut self, messages: usize, load: &Load) -> Result<f64, Failure> {
        const BATCH: u32 = 32;
        let each = load.sent.len() / load.messages;
        let size = BATCH.min(1 + 64 * MSS as u32 / (2 * load.sent.len() as u32 + MSS as u32));
        let parts: Vec<&[u8]> = load.sent.chunks(each).collect();
        let (mut done, begin) = (0, self.world.spent);
        while done < messages {
            let batch: Vec<u32> = (0..size).map(|n| (self.cursor + n) % FEW).collect();
            self.cursor = (self.cursor + size) % FEW;
            self.echo(&batch, &parts, load)?;
            done += batch.len() * load.messages;
        }
        let spent: Duration = self.world.spent - begin;
        Ok(spent.as_nanos() as f64 / done as f64)
    }

    fn echo(&mut self, batch: &[u32], parts: &[&[u8]], load: &Load) -> Result<(), Failure> {
        self.world.client.begin(batch);
        for &index in batch {
            let sealed = self.sealed(index, parts)?;
            if let Some(conn) = self.conns.get_mut(&index) {
                conn.plain = 0;
            }
            self.send(index, &sealed)?;
        }
        self.world.client.push()?;
        let mut arrived: Vec<(u32, Vec<u8>)> = Vec::new();
        for _ in 0..64 {
            self.world.turn()?;
            self.world.client.receive_of(|flow, _, bytes| {
                arrived.push((flow, bytes.to_vec()));
                Ok(())
            })?;
            for (flow, bytes) in arrived.drain(..) {
                self.hears(flow, &bytes, load)?;
            }
            let lacks = |index: &&u32| {
                self.conns
                    .get(index)
                    .is_none_or(|conn| conn.plain < load.answer.len())
            };
            let lacking: Vec<u32> = batch.iter().filter(lacks).copied().collect();
            if lacking.is_empty() {
                return Ok(());
            }
            for index in lacking {
                self.world.client.send(index, flag::ACK, &[])?;
            }
            self.world.client.push()?;
        }
        Err("a flow received no reply".into())
    }
}

/// Bytes of the whole record at the front.
fn front(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low] = bytes.first_chunk::<5>()?;
    let len = 5 + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= len).then_some(len)
}

/// The same for a protected record.
#[allow(dead_code)]
pub fn whole(session: &Session, bytes: &[u8]) -> Option<usize> {
    record_len(session.version(), bytes)
        .ok()
        .flatten()
        .filter(|&n| n <= bytes.len())
}
