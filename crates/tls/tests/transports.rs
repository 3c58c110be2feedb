//! The common suite of transports through TLS: on the fake, on sockets, and on flows of our own TCP. The peers are rustls.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod common;
#[path = "../../transport/tests/suite/mod.rs"]
#[allow(dead_code, unreachable_pub)]
mod suite;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Arc;

use hioload_tls::{Tls, TlsOptions};
use hioload_transport::layer::Layered;
use hioload_transport::{Peer, Transport};
use rustls::ClientConnection;
use suite::layers::Wrap;
use suite::over_frames::{self, BypassHarness};
use suite::over_script::FakeHarness;
use suite::over_sockets::{self, SocketHarness};
use suite::world::{Harness, Seen, Setup};

/// The layer under test.
struct ThroughTls;

impl Wrap for ThroughTls {
    type Io<T: Transport + 'static> = Layered<T, Tls>;
    fn wrap<T: Transport + 'static>(io: T) -> Self::Io<T> {
        let config = Arc::new(common::server(None));
        Layered::new(io, Tls::new(TlsOptions::default(), Box::new(config)))
    }
    fn below<T: Transport + 'static>(io: &mut Self::Io<T>) -> &mut T {
        io.below()
    }
}

/// The peers of `H`, each with a TLS client.
struct Peers<H> {
    below: H,
    config: rustls::ClientConfig,
}

/// One peer.
struct Wire<W> {
    below: W,
    tls: Box<ClientConnection>,
    /// Ciphertext that the network has not taken.
    out: VecDeque<u8>,
    /// Calls of `establish` since the handshake was complete here.
    since: usize,
}

impl<H: Harness> Peers<H> {
    fn push(&mut self, wire: &mut Wire<H::Wire>) {
        while wire.tls.wants_write() {
            wire.tls.write_tls(&mut wire.out).unwrap();
        }
        let n = self.below.send(&mut wire.below, wire.out.make_contiguous());
        wire.out.drain(..n);
    }

    fn pull(&mut self, wire: &mut Wire<H::Wire>, into: &mut Vec<u8>) -> Seen {
        let mut raw = Vec::new();
        let seen = self.below.recv(&mut wire.below, &mut raw);
        let mut raw = &raw[..];
        while !raw.is_empty() {
            wire.tls.read_tls(&mut raw).unwrap();
            wire.tls.process_new_packets().unwrap();
            let mut chunk = [0; 16 << 10];
            while let Ok(n @ 1..) = wire.tls.reader().read(&mut chunk) {
                into.extend_from_slice(&chunk[..n]);
            }
        }
        seen
    }
}

impl<H: Harness> Harness for Peers<H> {
    type Io = H::Io;
    type Wire = Wire<H::Wire>;
    const HAS_RESET: bool = H::HAS_RESET;
    const EXACT: bool = false;

    fn is_available() -> bool {
        H::is_available()
    }
    fn new(setup: Setup) -> Self {
        let mut config = common::client(None);
        if setup.tiny {
            // A whole record fits the window.
            config.max_fragment_size = Some(1024);
        }
        Self {
            below: H::new(setup),
            config,
        }
    }
    fn io(&mut self) -> &mut Self::Io {
        self.below.io()
    }
    fn dial(&mut self) -> Self::Wire {
        let mut wire = Wire {
            below: self.below.dial(),
            tls: Box::new(common::peer(self.config.clone())),
            out: VecDeque::new(),
            since: 0,
        };
        self.push(&mut wire);
        wire
    }
    fn establish(&mut self, wire: &mut Self::Wire) -> bool {
        let seen = self.pull(wire, &mut Vec::new());
        if seen != Seen::Open {
            return true;
        }
        self.push(wire);
        wire.since += usize::from(!wire.tls.is_handshaking() && wire.out.is_empty());
        wire.since > 3
    }
    fn send(&mut self, wire: &mut Self::Wire, bytes: &[u8]) -> usize {
        self.push(wire);
        if !wire.out.is_empty() {
            return 0;
        }
        let n = wire.tls.writer().write(&bytes[..bytes.len().min(4000)]);
        self.push(wire);
        n.unwrap()
    }
    fn recv(&mut self, wire: &mut Self::Wire, into: &mut Vec<u8>) -> Seen {
        self.pull(wire, into)
    }
    fn end(&mut self, wire: &mut Self::Wire) {
        wire.tls.send_close_notify();
        self.push(wire);
        assert!(wire.out.is_empty());
        self.below.end(&mut wire.below);
    }
    fn reset(&mut self, wire: Self::Wire) {
        self.below.reset(wire.below);
    }
    fn refuse(&mut self, wire: &mut Self::Wire) {
        self.below.refuse(&mut wire.below);
    }
    fn take(&mut self, wire: &mut Self::Wire) {
        self.below.take(&mut wire.below);
    }
    fn address(&self, wire: &Self::Wire) -> Peer {
        self.below.address(&wire.below)
    }
}

suite!(fake, Peers<FakeHarness<true, ThroughTls>>);
suite!(
    fake_until_would_block,
    Peers<FakeHarness<false, ThroughTls>>
);
suite!(
    ipv4,
    Peers<SocketHarness<{ over_sockets::IPV4 }, ThroughTls>>
);
#[cfg(unix)]
suite!(
    unix,
    Peers<SocketHarness<{ over_sockets::UNIX }, ThroughTls>>
);
suite!(
    bypass,
    Peers<BypassHarness<{ over_frames::IPV4 }, ThroughTls>>
);
