//! Closed-loop echo: the client answers each reply with the next message, so that the number in flight is constant.

use std::collections::VecDeque;
use std::error::Error;
use std::net::SocketAddrV4;
use std::time::Instant;

use serde_json::Value;

use crate::conn::{self, Conn};
use crate::events::{Events, Ready};
use crate::hist::Histogram;
use crate::window::{Phase, Window};
use crate::wire::{Batch, Reply, Shape};

/// The options of a closed loop.
pub(crate) struct EchoOptions<'a> {
    pub(crate) server: SocketAddrV4,
    pub(crate) path: &'a str,
    pub(crate) connections: usize,
    /// Messages in flight on each connection.
    pub(crate) in_flight: usize,
    /// If set: messages in flight on all connections together, at most one on each. After a reply, the connection that has
    /// waited longest sends next.
    pub(crate) rotating: Option<usize>,
    /// Further connections that are open and send nothing.
    pub(crate) silent: usize,
    pub(crate) text: bool,
    pub(crate) size: usize,
}

struct Echo {
    conns: Vec<Conn>,
    batch: Batch,
    reply: Reply,
    /// When each message in flight was sent, in nanoseconds since `epoch`; a ring for each connection.
    sent_at: Vec<u64>,
    in_flight: usize,
    /// Connections that wait to send.
    waiting: Option<VecDeque<usize>>,
    received: Vec<u8>,
    pongs: Vec<u8>,
    epoch: Instant,
    replies: u64,
    latency: Histogram,
}

/// Runs the loop for its window and returns the figures.
pub(crate) fn run(
    options: &EchoOptions<'_>,
    server: Option<u32>,
    [warmup, length]: [std::time::Duration; 2],
) -> Result<Value, Box<dyn Error>> {
    let mut conns = conn::open(
        options.server,
        options.path,
        options.connections + options.silent,
    )?;
    // Active connections are spread evenly among silent ones, because a server keeps connections in the order of arrival.
    let talking = spread(options.connections, conns.len());
    let (conns, _silent) = split(&mut conns, &talking);
    let mut echo = Echo::new(options, conns)?;
    let mut events = Events::new()?;
    for (i, conn) in echo.conns.iter().enumerate() {
        events.add(conn, i)?;
    }
    let mut window = Window::new(server, warmup, length);
    echo.start(options.rotating)?;
    loop {
        for ready in events.poll()? {
            echo.serve(*ready)?;
        }
        match window.turn(Instant::now(), echo.replies, events.idle_nanos())? {
            Phase::Running => {}
            Phase::Opened => echo.latency.clear(),
            Phase::Over => break,
        }
    }
    Ok(window.report(echo.replies, events.idle_nanos(), &echo.latency)?)
}

/// Chooses `n` active connections of `of`, evenly spaced.
fn spread(n: usize, of: usize) -> Vec<bool> {
    let mut chosen = vec![false; of];
    (0..n).for_each(|i| chosen[i * of / n.max(1)] = true);
    chosen
}

/// Separates the chosen connections from the others.
fn split(conns: &mut Vec<Conn>, chosen: &[bool]) -> (Vec<Conn>, Vec<Conn>) {
    let (talking, silent): (Vec<_>, Vec<_>) = conns
        .drain(..)
        .zip(chosen)
        .partition(|(_, chosen)| **chosen);
    let conns = |pairs: Vec<(Conn, &bool)>| pairs.into_iter().map(|(conn, _)| conn).collect();
    (conns(talking), conns(silent))
}

impl Echo {
    fn new(options: &EchoOptions<'_>, conns: Vec<Conn>) -> Result<Self, Box<dyn Error>> {
        let shape = Shape {
            text: options.text,
            size: options.size,
            sent_prefix: "",
            reply_prefix: "",
            suffix: "",
        };
        if options.size < shape.smallest() {
            return Err(format!("a message needs at least {} bytes", shape.smallest()).into());
        }
        if options.rotating.is_some_and(|all| all > conns.len()) || options.in_flight == 0 {
            return Err("more messages in flight than connections to carry them".into());
        }
        let in_flight = if options.rotating.is_some() {
            1
        } else {
            options.in_flight
        };
        Ok(Self {
            batch: Batch::new(&shape, in_flight),
            reply: Reply::new(&shape),
            sent_at: vec![0; conns.len() * in_flight],
            in_flight,
            waiting: options.rotating.map(|_| (0..conns.len()).collect()),
            received: vec![0; 256 * 1024],
            pongs: Vec::new(),
            epoch: Instant::now(),
            replies: 0,
            latency: Histogram::new(),
            conns,
        })
    }

    fn start(&mut self, rotating: Option<usize>) -> std::io::Result<()> {
        match rotating {
            Some(all) => (0..all).try_for_each(|_| self.send_next_waiting(0)),
            None => (0..self.conns.len()).try_for_each(|i| self.send(i, self.in_flight, 0)),
        }
    }

    /// Reads one connection and sends one message for each reply.
    fn serve(&mut self, ready: Ready) -> Result<(), Box<dyn Error>> {
        let i = ready.index;
        if ready.writable {
            self.conns[i].flush()?;
        }
        if !ready.readable {
            return Ok(());
        }
        loop {
            let n = self.conns[i].receive(&mut self.received)?;
            let now = self.epoch.elapsed().as_nanos() as u64;
            let whole = self.take(i, n, now)?;
            if self.waiting.is_some() {
                for _ in 0..whole {
                    self.waiting
                        .as_mut()
                        .into_iter()
                        .for_each(|queue| queue.push_back(i));
                    self.send_next_waiting(now)?;
                }
            } else if whole > 0 {
                self.send(i, whole, now)?;
            }
            if n < self.received.len() {
                return Ok(());
            }
        }
    }

    /// Checks the `n` bytes received on connection `i`; returns the replies they complete.
    fn take(&mut self, i: usize, n: usize, now: u64) -> Result<usize, Box<dyn Error>> {
        let conn = &mut self.conns[i];
        let first = conn.position.next;
        let whole = self
            .reply
            .check(&mut conn.position, &self.received[..n], &mut self.pongs)
            .map_err(|e| format!("connection {i}: {e}"))?;
        if conn.sent.wrapping_sub(conn.position.next) as usize > self.in_flight {
            return Err(format!("connection {i}: a reply to a message that was not sent").into());
        }
        let ring = &self.sent_at[i * self.in_flight..(i + 1) * self.in_flight];
        for counter in first..first + whole as u32 {
            self.latency
                .record(now.saturating_sub(ring[counter as usize % self.in_flight]));
        }
        self.replies += whole as u64;
        if !self.pongs.is_empty() {
            let pongs = std::mem::take(&mut self.pongs);
            conn.send(&pongs)?;
        }
        Ok(whole)
    }

    fn send(&mut self, i: usize, count: usize, now: u64) -> std::io::Result<()> {
        let conn = &mut self.conns[i];
        let ring = &mut self.sent_at[i * self.in_flight..(i + 1) * self.in_flight];
        for counter in conn.sent..conn.sent + count as u32 {
            ring[counter as usize % self.in_flight] = now;
        }
        let frames = self.batch.numbered(conn.sent, count);
        conn.sent += count as u32;
        conn.send(frames)
    }

    fn send_next_waiting(&mut self, now: u64) -> std::io::Result<()> {
        match self.waiting.as_mut().and_then(VecDeque::pop_front) {
            Some(next) => self.send(next, 1, now),
            None => Ok(()),
        }
    }
}
