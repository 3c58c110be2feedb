//! Open connections while others begin handshakes as fast as the server answers them.
//!
//! The latency of a message is the server's time from its arrival at the device to the end of the turn that sent the reply. The
//! attacker sends the same ClientHello again and again, on one connection after the other, and answers nothing: it works less than
//! the server, as attackers do.

use std::sync::Arc;
use std::time::Duration;

use hioload_tls::Handshake;
use hioload_tls::rustls::pki_types::ServerName;

use crate::client::Failure;
use crate::packet::flag;
use crate::report::{Row, median};
use crate::tls::Clients;
use crate::world::Load;

/// Connections that wait for the answer to a ClientHello.
const PENDING: u32 = 64;
/// The most that the p99 may rise.
const BOUND: f64 = 3.0;

/// Measures it for as many open connections as the comparison with other servers has, and for few, of which the lcore has hardly
/// any work.
pub fn measure(rounds: usize, messages: usize) -> Result<Vec<Row>, Failure> {
    let turns = (messages / 500).clamp(20, 400);
    let mut rows = Vec::new();
    for (open, most) in [(512, Some(BOUND)), (16, None)] {
        let mut world = Storm::new(open)?;
        world.turns(turns / 10, false)?;
        let (mut quiet, mut stormy, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut answered = 0;
        for _ in 0..rounds {
            quiet.push(p99(world.turns(turns, false)?));
            let before = world.answered;
            stormy.push(p99(world.turns(turns, true)?));
            answered += world.answered - before;
        }
        if answered < rounds * turns / 2 || world.delayed() == 0 {
            return Err(format!("{answered} handshakes are not a storm"));
        }
        for (quiet, stormy) in quiet.iter().zip(&stormy) {
            ratios.push(stormy / quiet);
        }
        let name = format!("p99 of an echo of 64 B, 1 in flight on each of {open} connections");
        rows.push(Row::nanos(name, median(&quiet), None));
        let name = format!("  with {PENDING} more that wait for a handshake at any time");
        rows.push(Row::nanos(name, median(&stormy), None));
        let ratio = median(&ratios);
        rows.push(match most {
            Some(most) => Row::at_most("    ratio", ratio, "x", most),
            None => Row::at_least("    ratio", ratio, "x", 0.0),
        });
    }
    Ok(rows)
}

fn p99(mut latencies: Vec<Duration>) -> f64 {
    latencies.sort_unstable();
    let at = latencies.len() * 99 / 100;
    latencies
        .get(at)
        .map_or(f64::NAN, |time| time.as_nanos() as f64)
}

/// A connection of the attacker.
#[derive(Clone, Copy, PartialEq)]
enum Attacker {
    Closed,
    Connecting,
    Waiting,
}

struct Storm {
    clients: Clients,
    open: u32,
    load: Load,
    /// The server's time when the message of each connection was sent; `None` if none is in flight.
    sent: Vec<Option<Duration>>,
    attackers: Vec<Attacker>,
    hello: Vec<u8>,
    answered: usize,
}

impl Storm {
    fn new(open: u32) -> Result<Self, Failure> {
        let (clients, config) = Clients::open(open, open + PENDING)?;
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let failed = |error: hioload_tls::rustls::Error| error.to_string();
        let mut handshake = Handshake::client(Arc::clone(&config), name).map_err(failed)?;
        let mut hello = Vec::new();
        handshake.begin(&mut hello).map_err(failed)?;
        Ok(Self {
            clients,
            open,
            load: Load::new(64, 1),
            sent: vec![None; open as usize],
            attackers: vec![Attacker::Closed; PENDING as usize],
            hello,
            answered: 0,
        })
    }

    fn delayed(&mut self) -> u64 {
        self.clients.stats().handshakes_delayed
    }

    /// Turns of the server; returns the latencies of the messages that were answered. In the end nothing is in flight.
    fn turns(&mut self, turns: usize, storm: bool) -> Result<Vec<Duration>, Failure> {
        let all: Vec<u32> = (0..self.open + PENDING).collect();
        self.clients.world.client.begin(&all);
        let mut latencies = Vec::with_capacity(turns * self.open as usize);
        for turn in 0.. {
            let is_over = turn >= turns;
            if is_over && self.sent.iter().all(Option::is_none) {
                break;
            }
            if turn > 2 * turns + 1000 {
                return Err("messages are not answered".into());
            }
            if !is_over {
                self.speak(storm)?;
            }
            self.clients.world.client.push()?;
            self.clients.world.turn()?;
            self.listen(&mut latencies)?;
        }
        self.leave()?;
        Ok(latencies)
    }

    /// A message on each connection that has none in flight, and a new connection for each that the attacker has closed.
    fn speak(&mut self, storm: bool) -> Result<(), Failure> {
        let now = self.clients.world.spent;
        for flow in 0..self.open {
            if self.sent[flow as usize].is_none() {
                self.clients.say(flow, &self.load)?;
                self.sent[flow as usize] = Some(now);
            }
        }
        if storm {
            for (flow, attacker) in (self.open..).zip(&mut self.attackers) {
                if *attacker == Attacker::Closed {
                    self.clients.world.client.send(flow, flag::SYN, &[])?;
                    *attacker = Attacker::Connecting;
                }
            }
        }
        Ok(())
    }

    fn listen(&mut self, latencies: &mut Vec<Duration>) -> Result<(), Failure> {
        let mut arrived: Vec<(u32, Vec<u8>)> = Vec::new();
        self.clients.world.client.receive_of(|flow, _, bytes| {
            arrived.push((flow, bytes.to_vec()));
            Ok(())
        })?;
        let now = self.clients.world.spent;
        for (flow, bytes) in arrived {
            if flow >= self.open {
                self.attack(flow, !bytes.is_empty())?;
            } else if self.clients.hears(flow, &bytes, &self.load)?
                && let Some(sent) = self.sent[flow as usize].take()
            {
                latencies.push(now - sent);
            }
        }
        Ok(())
    }

    /// The next step of an attacker's connection, for which something has arrived.
    fn attack(&mut self, flow: u32, has_content: bool) -> Result<(), Failure> {
        let client = &mut self.clients.world.client;
        let attacker = &mut self.attackers[(flow - self.open) as usize];
        match attacker {
            Attacker::Connecting => {
                client.send(flow, flag::ACK | flag::PSH, &self.hello)?;
                *attacker = Attacker::Waiting;
            }
            Attacker::Waiting if has_content => {
                client.send(flow, flag::ACK | flag::RST, &[])?;
                *attacker = Attacker::Closed;
                self.answered += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// Resets what the attacker has open.
    fn leave(&mut self) -> Result<(), Failure> {
        for (flow, attacker) in (self.open..).zip(&mut self.attackers) {
            if *attacker != Attacker::Closed {
                let client = &mut self.clients.world.client;
                client.send(flow, flag::ACK | flag::RST, &[])?;
                *attacker = Attacker::Closed;
            }
        }
        self.clients.world.client.push()?;
        self.clients.world.turn()?;
        self.clients.world.client.receive(|_, _| Ok(()))?;
        Ok(())
    }
}
