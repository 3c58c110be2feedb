//! The echo server on kernel sockets and its client, on one thread. Only the server's turns are timed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hioload_engine::{Config, Lcore};
use hioload_lcore::Clock;
use hioload_testkit::Echo;
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{Endpoint, Transport};

use crate::client::Failure;
use crate::world::{Load, REQUEST, cpu_time};

pub struct OnSockets {
    lcore: Lcore<Sockets, Echo>,
    clock: Clock,
    spent: Duration,
    connections: Vec<TcpStream>,
    /// The number of bytes of the reply that each connection has received.
    got: Vec<usize>,
    buffer: Vec<u8>,
}

impl OnSockets {
    /// A server with this many WebSocket connections.
    pub fn new(connections: u32) -> Result<Self, Failure> {
        let said = |error: std::io::Error| format!("sockets: {error}");
        let to = Endpoint::Tcp(([127, 0, 0, 1], 0).into());
        let listener = BoundListener::bind(&to, false, 1024).map_err(said)?;
        let Endpoint::Tcp(address) = listener.local().map_err(said)? else {
            return Err("a listener without an address".into());
        };
        let io = Sockets::new(&SocketOptions::default(), vec![listener]).map_err(said)?;
        let mut config = Config::default();
        let limits = &mut config.tunables.limits;
        limits.ping_interval = Duration::ZERO;
        limits.idle_timeout = Duration::ZERO;
        let mut clock = Clock::new();
        let now = clock.tick();
        let mut lcore = Lcore::alone(io, Echo, config, now);
        lcore.measure(clock.clone());
        let mut world = Self {
            lcore,
            clock,
            spent: Duration::ZERO,
            connections: Vec::new(),
            got: vec![0; connections as usize],
            buffer: vec![0; 64 << 10],
        };
        for _ in 0..connections {
            let mut stream = TcpStream::connect(address).map_err(said)?;
            stream.set_nodelay(true).map_err(said)?;
            stream.set_nonblocking(true).map_err(said)?;
            stream.write_all(REQUEST).map_err(said)?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                world.turn()?;
                match stream.read(&mut world.buffer) {
                    Ok(0) => return Err("sockets: the server closed a connection".into()),
                    Ok(n) => answer.extend_from_slice(&world.buffer[..n]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => (),
                    Err(error) => return Err(said(error)),
                }
            }
            if !answer.starts_with(b"HTTP/1.1 101 ") {
                return Err("sockets: no upgrade".into());
            }
            world.connections.push(stream);
        }
        Ok(world)
    }

    fn turn(&mut self) -> Result<(), Failure> {
        let begin = cpu_time();
        let waited = self.lcore.transport().wait(Some(Duration::ZERO));
        self.lcore.turn(self.clock.tick());
        self.spent += cpu_time() - begin;
        waited.map_err(|error| format!("sockets: {error}"))
    }

    /// Echoes at least `messages` messages, on all connections at once. Returns the server's nanoseconds for each.
    pub fn round(&mut self, messages: usize, load: &Load) -> Result<f64, Failure> {
        let said = |error: std::io::Error| format!("sockets: {error}");
        let before = self.spent;
        let mut done = 0;
        while done < messages {
            for stream in &mut self.connections {
                stream.write_all(&load.sent).map_err(said)?;
            }
            self.got.fill(0);
            let mut open = self.connections.len();
            while open > 0 {
                self.turn()?;
                for (stream, got) in self.connections.iter_mut().zip(&mut self.got) {
                    if *got == load.answer.len() {
                        continue;
                    }
                    let n = match stream.read(&mut self.buffer) {
                        Ok(0) => return Err("sockets: the server closed a connection".into()),
                        Ok(n) => n,
                        Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                        Err(error) => return Err(said(error)),
                    };
                    if load.answer.get(*got..*got + n) != Some(&self.buffer[..n]) {
                        return Err("sockets: a wrong byte".into());
                    }
                    *got += n;
                    open -= usize::from(*got == load.answer.len());
                }
            }
            done += self.connections.len() * load.messages;
        }
        Ok((self.spent - before).as_nanos() as f64 / done as f64)
    }
}
