//! Fan-out: one publisher keeps a window of messages in flight to all subscribers; deliveries are counted.

use std::error::Error;
use std::io;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::conn::{self, Conn};
use crate::events::{Events, Ready};
use crate::hist::Histogram;
use crate::window::{Phase, Window};
use crate::wire::{Batch, Reply, Shape, masked_frame};

/// The protocol of a server's fan-out.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Dialect {
    /// A binary message to `/publish` reaches every client of `/subscribe`. The server greets each of these with a message.
    Plain,
    /// The topics of hioload: JSON text on `/topics`.
    Topics,
}

/// The options of a fan-out run.
pub(crate) struct FanoutOptions {
    pub(crate) server: SocketAddrV4,
    pub(crate) dialect: Dialect,
    pub(crate) subscribers: usize,
    /// Messages published whose deliveries are not complete.
    pub(crate) window: usize,
    /// Bytes of a delivered payload.
    pub(crate) size: usize,
}

/// Messages whose publishing times are kept. A subscriber that is further behind gets a wrong latency, and nothing else.
const REMEMBERED: usize = 4096;

struct Fanout {
    publisher: Conn,
    subscribers: Vec<Conn>,
    batch: Batch,
    reply: Reply,
    published_at: Vec<u64>,
    window: usize,
    received: Vec<u8>,
    pongs: Vec<u8>,
    epoch: Instant,
    deliveries: u64,
    latency: Histogram,
}

/// Runs the fan-out for its window and returns the figures; they count a delivery as a message.
pub(crate) fn run(
    options: &FanoutOptions,
    server: Option<u32>,
    [warmup, length]: [Duration; 2],
) -> Result<Value, Box<dyn Error>> {
    let mut fanout = Fanout::new(options)?;
    let mut events = Events::new()?;
    for (i, conn) in fanout.subscribers.iter().enumerate() {
        events.add(conn, i)?;
    }
    let publisher = fanout.subscribers.len();
    events.add(&fanout.publisher, publisher)?;
    let mut window = Window::new(server, warmup, length);
    loop {
        fanout.publish()?;
        for ready in events.poll()? {
            if ready.index == publisher {
                fanout.serve_publisher(*ready)?;
            } else {
                fanout.serve(*ready)?;
            }
        }
        match window.turn(Instant::now(), fanout.deliveries, events.idle_nanos())? {
            Phase::Running => {}
            Phase::Opened => fanout.latency.clear(),
            Phase::Over => break,
        }
    }
    Ok(window.report(fanout.deliveries, events.idle_nanos(), &fanout.latency)?)
}

impl Fanout {
    fn new(options: &FanoutOptions) -> Result<Self, Box<dyn Error>> {
        let plain = Shape {
            text: false,
            size: options.size,
            sent_prefix: "",
            reply_prefix: "",
            suffix: "",
        };
        let topics = Shape {
            text: true,
            sent_prefix: r#"{"pub":"bench","data":""#,
            reply_prefix: r#"{"msg":"bench","data":""#,
            suffix: r#""}"#,
            ..plain
        };
        let (shape, listen, publish) = match options.dialect {
            Dialect::Plain => (plain, "/subscribe", "/publish"),
            Dialect::Topics => (topics, "/topics", "/topics"),
        };
        if options.size < shape.smallest() {
            return Err(format!("a message needs at least {} bytes", shape.smallest()).into());
        }
        let mut subscribers = conn::open(options.server, listen, options.subscribers)?;
        subscribe(&mut subscribers, options.dialect)?;
        let mut publisher = conn::open(options.server, publish, 1)?;
        Ok(Self {
            publisher: publisher.pop().ok_or("no publisher")?,
            subscribers,
            batch: Batch::new(&shape, options.window),
            reply: Reply::new(&shape),
            published_at: vec![0; REMEMBERED],
            window: options.window,
            received: vec![0; 256 * 1024],
            pongs: Vec::new(),
            epoch: Instant::now(),
            deliveries: 0,
            latency: Histogram::new(),
        })
    }

    /// Publishes messages until the window is full.
    fn publish(&mut self) -> io::Result<()> {
        let complete = self.deliveries / self.subscribers.len() as u64;
        let under_way = u64::from(self.publisher.sent) - complete;
        let room = self.window.saturating_sub(under_way as usize);
        if room == 0 {
            return Ok(());
        }
        let now = self.epoch.elapsed().as_nanos() as u64;
        let first = self.publisher.sent;
        for counter in first..first + room as u32 {
            self.published_at[counter as usize % REMEMBERED] = now;
        }
        self.publisher.sent += room as u32;
        let frames = self.batch.numbered(first, room);
        self.publisher.send(frames)
    }

    /// Reads the deliveries of one subscriber.
    fn serve(&mut self, ready: Ready) -> Result<(), Box<dyn Error>> {
        let conn = &mut self.subscribers[ready.index];
        if ready.writable {
            conn.flush()?;
        }
        if !ready.readable {
            return Ok(());
        }
        loop {
            let n = conn.receive(&mut self.received)?;
            let first = conn.position.next;
            let whole = self
                .reply
                .check(&mut conn.position, &self.received[..n], &mut self.pongs)
                .map_err(|e| format!("subscriber {}: {e}", ready.index))?;
            let now = self.epoch.elapsed().as_nanos() as u64;
            for counter in first..first + whole as u32 {
                let since = self.published_at[counter as usize % REMEMBERED];
                self.latency.record(now.saturating_sub(since));
            }
            self.deliveries += whole as u64;
            if !self.pongs.is_empty() {
                conn.send(&std::mem::take(&mut self.pongs))?;
            }
            if n < self.received.len() {
                return Ok(());
            }
        }
    }

    /// Serves the publisher: it receives pings only, and its messages may have to wait.
    fn serve_publisher(&mut self, ready: Ready) -> Result<(), Box<dyn Error>> {
        if ready.writable {
            self.publisher.flush()?;
        }
        if ready.readable {
            let n = self.publisher.receive(&mut self.received)?;
            self.reply
                .check(
                    &mut self.publisher.position,
                    &self.received[..n],
                    &mut self.pongs,
                )
                .map_err(|e| format!("publisher: {e}"))?;
            self.publisher.send(&std::mem::take(&mut self.pongs))?;
        }
        Ok(())
    }
}

/// Waits until the server has subscribed every connection. In the plain dialect the greeting says so; in the other one the
/// pong to a ping that follows the request does, because the server answers in order.
fn subscribe(subscribers: &mut [Conn], dialect: Dialect) -> Result<(), Box<dyn Error>> {
    if dialect == Dialect::Topics {
        for conn in &mut *subscribers {
            let mut request = masked_frame(1, br#"{"sub":"bench"}"#);
            request.extend(masked_frame(9, b"there?"));
            conn.send(&request)?;
        }
    }
    for conn in subscribers {
        let mut greeting = std::mem::take(&mut conn.early);
        // One short unmasked frame: two bytes of header, then as many as the second one says.
        while greeting.len() < 2 || greeting.len() < 2 + usize::from(greeting[1]) {
            let mut piece = [0; 256];
            let n = conn.receive_waiting(&mut piece, Duration::from_secs(10))?;
            if n == 0 {
                return Err("the server closed a subscriber".into());
            }
            greeting.extend_from_slice(&piece[..n]);
        }
        let expected = if dialect == Dialect::Topics {
            0x8a
        } else {
            0x82
        };
        if greeting[0] != expected || greeting.len() != 2 + usize::from(greeting[1]) {
            return Err(format!("unexpected answer to a subscription: {greeting:02x?}").into());
        }
    }
    Ok(())
}
