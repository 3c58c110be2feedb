//! A server lcore and the client, joined by a memory pair, on one thread. Only the server's turns are timed.

use std::time::{Duration, Instant};

use hioload_device::memory::MemoryDevice;
use hioload_engine::{Accept, Config, Context, Handler, Lcore, LcoreContext, Response};
use hioload_lcore::{Clock, Time};
use hioload_transport::bypass::Bypass;
use hioload_transport::{Peer, Transport};
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{Message, OpCode, encode};

use crate::client::{Client, Failure};
use crate::packet::{MSS, flag};

/// Flows whose segments are sent before the server has a turn: a full burst.
pub const BATCH: usize = 64;
const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

const REQUEST: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: 10.77.0.2:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub struct Echo;

impl Handler for Echo {
    type Conn = ();
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        Ok(Accept::new(()))
    }

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        // A reply that finds no room would be missed by the client.
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}

pub struct World {
    lcore: Lcore<Bypass<MemoryDevice>, Echo>,
    clock: Clock,
    /// Added to the clock: time that the idle are given without waiting for it.
    skipped: Duration,
    /// Time the server has spent in its turns.
    pub spent: Duration,
    pub client: Client,
}

/// How the client acknowledges answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// With its next message: it comes at once.
    WithNext,
    /// In a segment of its own, which the server has to take as well: the next message is seconds away.
    Alone,
}

/// Messages as they are sent, and as they come back.
pub struct Load {
    sent: Vec<u8>,
    answer: Vec<u8>,
    pub messages: usize,
}

impl Load {
    /// `messages` binary messages of `size` bytes.
    pub fn new(size: usize, messages: usize) -> Self {
        let payload: Vec<u8> = (0..size).map(|n| (n * 31 + n / 251) as u8).collect();
        let (mut sent, mut answer) = (Vec::new(), Vec::new());
        for _ in 0..messages {
            encode::fragment_into(&mut sent, true, false, OpCode::Binary, &payload, Some(MASK));
            encode::fragment_into(&mut answer, true, false, OpCode::Binary, &payload, None);
        }
        Self {
            sent,
            answer,
            messages,
        }
    }

    fn segments(&self) -> usize {
        self.sent.len().div_ceil(MSS)
    }
}

impl World {
    pub fn new(
        io: Bypass<MemoryDevice>,
        client: Client,
        config: Config,
        clock: Clock,
        now: Time,
    ) -> Self {
        Self {
            lcore: Lcore::alone(io, Echo, config, now),
            clock,
            skipped: Duration::ZERO,
            spent: Duration::ZERO,
            client,
        }
    }

    pub fn server(&mut self) -> &mut Lcore<Bypass<MemoryDevice>, Echo> {
        &mut self.lcore
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        let waited = self.lcore.transport().wait(Some(Duration::ZERO));
        let now = self.clock.tick() + self.skipped;
        self.lcore.turn(now);
        self.spent += begin.elapsed();
        waited.map_err(|e| format!("the device failed: {e}"))
    }

    /// Lets `time` pass for the server, in steps of 10 ms with a turn each.
    pub fn idle(&mut self, time: Duration) -> Result<(), Failure> {
        let step = Duration::from_millis(10);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.skipped += step;
            self.turn()?;
            self.client.receive(0, 0, |_, _, _| Ok(()))?;
        }
        Ok(())
    }

    /// Turns of the server until every flow of the batch has received `bytes`; what comes in pieces is acknowledged.
    fn until_received(
        &mut self,
        first: u32,
        count: usize,
        bytes: usize,
        mut check: impl FnMut(usize, usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut barren = 0;
        loop {
            self.turn()?;
            let frames = self.client.receive(first, count, &mut check)?;
            let missing = (0..count)
                .filter(|&place| self.client.received(place) < bytes)
                .count();
            if missing == 0 {
                return Ok(());
            }
            barren = if frames == 0 { barren + 1 } else { 0 };
            if barren > 64 {
                return Err(format!("{missing} of {count} flows got no answer"));
            }
            if frames > 0 && bytes > MSS {
                for place in 0..count {
                    if self.client.received(place) < bytes {
                        self.client.send(first + place as u32, flag::ACK, &[])?;
                    }
                }
                self.client.push()?;
            }
        }
    }

    /// Opens WebSocket connections on flows `0..n`; gives the server's time for it.
    pub fn open(&mut self, n: u32) -> Result<Duration, Failure> {
        let before = self.spent;
        let mut first = 0;
        while first < n {
            let count = BATCH.min((n - first) as usize);
            self.client.forget(count);
            for index in first..first + count as u32 {
                self.client.send(index, flag::SYN, &[])?;
            }
            self.client.push()?;
            self.turn()?;
            let answers = self.client.receive(first, count, |_, _, _| Ok(()))?;
            if answers != count {
                return Err(format!("{answers} answers to {count} SYNs"));
            }
            for index in first..first + count as u32 {
                self.client.send(index, flag::ACK, &[])?;
                self.client.send(index, flag::ACK | flag::PSH, REQUEST)?;
            }
            self.client.push()?;
            self.until_received(first, count, 129, |place, at, bytes| {
                let good = at > 0 || bytes.starts_with(b"HTTP/1.1 101 ");
                if good {
                    Ok(())
                } else {
                    Err(format!("no upgrade at {place}"))
                }
            })?;
            self.acknowledge(first, count)?;
            first += count as u32;
        }
        Ok(self.spent - before)
    }

    /// One echo of `load` on each of `count` flows; gives the server's time for it.
    pub fn echo(&mut self, first: u32, count: usize, load: &Load) -> Result<Duration, Failure> {
        let before = self.spent;
        self.client.forget(count);
        for index in first..first + count as u32 {
            for (n, segment) in load.sent.chunks(MSS).enumerate() {
                let last = n + 1 == load.segments();
                self.client
                    .send(index, flag::ACK | if last { flag::PSH } else { 0 }, segment)?;
            }
        }
        self.client.push()?;
        self.until_received(first, count, load.answer.len(), |_, at, bytes| {
            match load.answer.get(at..at + bytes.len()) {
                Some(wanted) if wanted == bytes => Ok(()),
                _ => Err("a wrong byte".into()),
            }
        })?;
        Ok(self.spent - before)
    }

    /// A round of echoes over all flows in turn, at least `messages` of them; gives nanoseconds for each message.
    pub fn round(
        &mut self,
        flows: u32,
        messages: usize,
        load: &Load,
        ack: Ack,
    ) -> Result<f64, Failure> {
        let batch = (BATCH / load.segments()).clamp(1, flows as usize);
        let (mut done, mut spent, mut first) = (0, Duration::ZERO, 0);
        while done < messages {
            let count = batch.min((flows - first) as usize);
            spent += self.echo(first, count, load)?;
            if ack == Ack::Alone {
                spent += self.acknowledge(first, count)?;
            }
            done += count * load.messages;
            first = (first + count as u32) % flows;
        }
        Ok(spent.as_nanos() as f64 / done as f64)
    }

    /// Acknowledges what flows of a batch have received; gives the server's time for it.
    pub fn acknowledge(&mut self, first: u32, count: usize) -> Result<Duration, Failure> {
        let before = self.spent;
        for index in first..first + count as u32 {
            self.client.send(index, flag::ACK, &[])?;
        }
        self.client.push()?;
        self.turn()?;
        Ok(self.spent - before)
    }

    /// Closes flows `0..n`, each with a closing handshake and both FINs; gives the server's time for it.
    pub fn close(&mut self, n: u32) -> Result<Duration, Failure> {
        let before = self.spent;
        let mut frame = Vec::new();
        encode::fragment_into(
            &mut frame,
            true,
            false,
            OpCode::Close,
            &1000u16.to_be_bytes(),
            Some(MASK),
        );
        let mut first = 0;
        while first < n {
            let count = BATCH.min((n - first) as usize);
            self.client.forget(count);
            self.client.closed = 0;
            for index in first..first + count as u32 {
                self.client.send(index, flag::ACK | flag::PSH, &frame)?;
            }
            self.client.push()?;
            self.until_received(first, count, 4, |_, _, _| Ok(()))?;
            for _ in 0..8 {
                if self.client.closed == count {
                    break;
                }
                self.turn()?;
                self.client.receive(first, count, |_, _, _| Ok(()))?;
            }
            if self.client.closed != count {
                return Err(format!(
                    "{} of {count} connections ended",
                    self.client.closed
                ));
            }
            for index in first..first + count as u32 {
                self.client.send(index, flag::ACK | flag::FIN, &[])?;
            }
            self.client.push()?;
            self.turn()?;
            self.client.receive(first, 0, |_, _, _| Ok(()))?;
            first += count as u32;
        }
        Ok(self.spent - before)
    }
}
