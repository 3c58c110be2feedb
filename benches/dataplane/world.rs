//! A server lcore and the client, joined by a pair of devices, on one thread. Only the server's turns are timed.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use hioload_device::Device;
use hioload_engine::{Config, Lcore};
use hioload_lcore::{Clock, Time};
use hioload_testkit::Echo;
use hioload_transport::Transport;
use hioload_transport::bypass::Bypass;
use hioload_ws_proto::{OpCode, encode};

use crate::client::{Client, Failure};
use crate::packet::{MSS, flag};

/// Flows whose segments are sent before the server has a turn: a full burst.
pub const BATCH: usize = 64;
/// A prime: its multiples visit every flow, unless their number is a multiple of it.
const STRIDE: u64 = 611_953;
const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];

pub const REQUEST: &[u8] =
    b"GET /echo HTTP/1.1\r\nHost: 10.77.0.2:9001\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub struct World<D: Device, T: Transport = Bypass<D>> {
    lcore: Lcore<T, Echo>,
    clock: Clock,
    /// Added to the clock: time that passes for the server without a wait.
    skipped: Duration,
    /// Time the server has spent in its turns.
    pub spent: Duration,
    pub client: Client<D>,
    /// Flows served so far.
    cursor: u64,
}

/// How the client acknowledges replies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ack {
    /// With its next message, which follows at once.
    WithNext,
    /// In a segment of its own, which the server has to process as well: the next message of the flow is seconds away.
    Alone,
}

/// The order in which flows are served.
#[derive(Clone, Copy)]
pub enum Order {
    /// As they were opened: the server's state of consecutive flows is adjacent in memory.
    Opened,
    /// Consecutive flows are far apart in memory.
    Scattered,
}

/// Messages as the client sends them, and as the server returns them.
pub struct Load {
    pub sent: Vec<u8>,
    pub answer: Vec<u8>,
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

impl<D: Device, T: Transport> World<D, T> {
    pub fn new(io: T, client: Client<D>, config: Config, clock: Clock, now: Time) -> Self {
        let mut lcore = Lcore::alone(io, Echo, config, now);
        // As on a thread of a server.
        lcore.measure(clock.clone());
        Self {
            lcore,
            clock,
            skipped: Duration::ZERO,
            spent: Duration::ZERO,
            client,
            cursor: 0,
        }
    }

    pub fn server(&mut self) -> &mut Lcore<T, Echo> {
        &mut self.lcore
    }

    /// One turn of the server, which is timed.
    pub fn turn(&mut self) -> Result<(), Failure> {
        self.turns(1, |_| true)
    }

    /// Turns of the server until it has nothing more to do, and at most `most`. They are timed together: reading the clock of CPU time
    /// is a system call, which costs as much as an idle turn.
    pub fn turns(&mut self, most: usize, has_more: impl Fn(&mut T) -> bool) -> Result<(), Failure> {
        let begin = cpu_time();
        let mut result = Ok(());
        for turn in 0..most {
            let io = self.lcore.transport();
            if turn > 0 && !has_more(io) {
                break;
            }
            result = result.and(io.wait(Some(Duration::ZERO)));
            let now = self.clock.tick() + self.skipped;
            self.lcore.turn(now);
        }
        self.spent += cpu_time() - begin;
        result.map_err(|e| format!("the device failed: {e}"))
    }

    /// Lets `time` pass for the server, in steps of 1 ms with a turn each: an lcore reclaims a part of its empty rings in each
    /// turn, and does not sleep before it has reclaimed all.
    pub fn idle(&mut self, time: Duration) -> Result<(), Failure> {
        let step = Duration::from_millis(1);
        for _ in 0..time.as_millis() / step.as_millis() {
            self.skipped += step;
            self.turn()?;
            self.client.receive(|_, _| Ok(()))?;
        }
        Ok(())
    }

    /// Runs turns of the server until every flow of the batch has received `bytes`. Replies of several segments are
    /// acknowledged.
    fn until_received(
        &mut self,
        bytes: usize,
        mut check: impl FnMut(usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut barren = 0;
        loop {
            self.turn()?;
            let frames = self.client.receive(&mut check)?;
            let lacking: Vec<u32> = self.client.lacking(bytes).collect();
            if lacking.is_empty() {
                return Ok(());
            }
            barren = if frames == 0 { barren + 1 } else { 0 };
            if barren > 64 {
                return Err(format!("{} flows received no reply", lacking.len()));
            }
            if frames > 0 && bytes > MSS {
                for index in lacking {
                    self.client.send(index, flag::ACK, &[])?;
                }
                self.client.push()?;
            }
        }
    }

    /// Opens WebSocket connections on flows `0..n`; returns the server's time.
    pub fn open(&mut self, n: u32) -> Result<Duration, Failure> {
        let before = self.spent;
        for batch in batches(n) {
            self.client.begin(&batch);
            for &index in &batch {
                self.client.send(index, flag::SYN, &[])?;
            }
            self.client.push()?;
            self.turn()?;
            let answers = self.client.receive(|_, _| Ok(()))?;
            if answers != batch.len() {
                return Err(format!("{answers} replies to {} SYNs", batch.len()));
            }
            for &index in &batch {
                self.client.send(index, flag::ACK, &[])?;
                self.client.send(index, flag::ACK | flag::PSH, REQUEST)?;
            }
            self.client.push()?;
            self.until_received(129, |at, bytes| {
                // The acknowledgement comes first if the request is served in a later turn.
                let good = at > 0 || bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 101 ");
                if good {
                    Ok(())
                } else {
                    Err("the server refused the upgrade".into())
                }
            })?;
            self.acknowledge(&batch)?;
        }
        Ok(self.spent - before)
    }

    /// One echo of `load` on each flow of the batch; returns the server's time.
    pub fn echo(&mut self, batch: &[u32], load: &Load) -> Result<Duration, Failure> {
        let before = self.spent;
        self.client.begin(batch);
        for &index in batch {
            for (n, segment) in load.sent.chunks(MSS).enumerate() {
                let last = n + 1 == load.segments();
                self.client
                    .send(index, flag::ACK | if last { flag::PSH } else { 0 }, segment)?;
            }
        }
        self.client.push()?;
        self.until_received(load.answer.len(), |at, bytes| {
            match load.answer.get(at..at + bytes.len()) {
                Some(wanted) if wanted == bytes => Ok(()),
                _ => Err("a reply has a wrong byte".into()),
            }
        })?;
        Ok(self.spent - before)
    }

    /// A round of at least `messages` echoes over `flows` flows; returns nanoseconds of server time for each message. It continues
    /// with the flow after the last one of the round before.
    pub fn round(
        &mut self,
        flows: u32,
        messages: usize,
        load: &Load,
        (order, ack): (Order, Ack),
    ) -> Result<f64, Failure> {
        let size = (BATCH / load.segments()).clamp(1, flows as usize);
        let (mut done, mut spent) = (0, Duration::ZERO);
        let mut batch = Vec::with_capacity(size);
        while done < messages {
            batch.clear();
            for _ in 0..size {
                let step = match order {
                    Order::Opened => 1,
                    Order::Scattered => STRIDE,
                };
                batch.push((self.cursor * step % u64::from(flows)) as u32);
                self.cursor += 1;
            }
            spent += self.echo(&batch, load)?;
            if ack == Ack::Alone {
                spent += self.acknowledge(&batch)?;
            }
            done += size * load.messages;
        }
        Ok(spent.as_nanos() as f64 / done as f64)
    }

    /// Acknowledges the bytes that flows have received; returns the server's time.
    pub fn acknowledge(&mut self, batch: &[u32]) -> Result<Duration, Failure> {
        let before = self.spent;
        for &index in batch {
            self.client.send(index, flag::ACK, &[])?;
        }
        self.client.push()?;
        self.turn()?;
        Ok(self.spent - before)
    }

    /// Closes flows `0..n`, each with a closing handshake and both FINs; returns the server's time.
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
        for batch in batches(n) {
            self.client.begin(&batch);
            self.client.closed = 0;
            for &index in &batch {
                self.client.send(index, flag::ACK | flag::PSH, &frame)?;
            }
            self.client.push()?;
            self.until_received(4, |_, _| Ok(()))?;
            for _ in 0..8 {
                if self.client.closed == batch.len() {
                    break;
                }
                self.turn()?;
                self.client.receive(|_, _| Ok(()))?;
            }
            if self.client.closed != batch.len() {
                let closed = self.client.closed;
                return Err(format!("{closed} of {} connections ended", batch.len()));
            }
            for &index in &batch {
                self.client.send(index, flag::ACK | flag::FIN, &[])?;
            }
            self.client.push()?;
            self.turn()?;
            self.client.receive(|_, _| Ok(()))?;
        }
        Ok(self.spent - before)
    }
}

/// CPU time of this thread, so that other processes do not count.
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Flows `0..n` in batches.
fn batches(n: u32) -> impl Iterator<Item = Vec<u32>> {
    let firsts = (0..n).step_by(BATCH);
    firsts.map(move |first| (first..n.min(first + BATCH as u32)).collect())
}
