//! In steady state the layer allocates nothing for a record, in either direction, whole or gathered, written or shared.
#![allow(clippy::unwrap_used, missing_docs)]

#[allow(dead_code, unreachable_pub)]
mod common;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_mem::{LocalShared, Shared};
use hioload_testkit::counting::{Counting, allocations, held};
use hioload_tls::{Tls, TlsOptions};
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::layer::Layered;
use hioload_transport::{
    Budget, Closed, ConnId, Connections, Driver, Peer, Rest, Taken, Transport,
};
use rustls::ClientConnection;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WARM_UP: usize = 100;
const ROUNDS: usize = 1000;

/// Echoes what it is lent, or sends a payload by reference for it.
struct Echo {
    shared: Option<LocalShared>,
    events: usize,
}

impl Driver for Echo {
    fn on_accept<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Peer) -> bool {
        true
    }
    fn on_connect<C: Connections>(&mut self, _: &mut C, _: ConnId, _: std::io::Result<()>) {}
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        self.events += 1;
        if let Some(payload) = &self.shared {
            io.send_shared(id, payload.clone(), true).unwrap();
        } else {
            let mut rest = &data[..];
            while !rest.is_empty() {
                let space = io.send_space(id, rest.len()).unwrap();
                let n = space.len().min(rest.len());
                space[..n].copy_from_slice(&rest[..n]);
                io.commit(id, n);
                rest = &rest[n..];
            }
        }
        Taken {
            bytes: data.len(),
            rest: Rest::NeedsMore,
        }
    }
    fn on_end<C: Connections>(&mut self, _: &mut C, _: ConnId) {}
    fn on_writable<C: Connections>(&mut self, _: &mut C, _: ConnId) {}
    fn on_closed<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Closed) {}
}

struct Lab {
    io: Layered<Fake, Tls>,
    driver: Echo,
    now: Time,
    counted: u64,
    peers: Vec<(ConnId, ClientConnection)>,
}

impl Lab {
    fn new(connections: u16, options: TlsOptions) -> Self {
        let config = Arc::new(common::server(None));
        let fake = Fake::new(&FakeOptions::default()).unwrap();
        let mut lab = Self {
            io: Layered::new(fake, Tls::new(options, Box::new(config))),
            driver: Echo {
                shared: None,
                events: 0,
            },
            now: Time::from_millis(1),
            counted: 0,
            peers: Vec::new(),
        };
        for port in 0..connections {
            let id = lab
                .io
                .below()
                .accept(Peer::Ip(([10, 0, 0, 1], port).into()));
            let mut peer = common::peer(common::client(None));
            for _ in 0..8 {
                let mut out = Vec::new();
                while peer.wants_write() {
                    peer.write_tls(&mut out).unwrap();
                }
                lab.io.below().deliver(id, &out);
                lab.turn();
                let sent = lab.io.below().sent(id);
                peer.read_tls(&mut &sent[..]).unwrap();
                peer.process_new_packets().unwrap();
            }
            assert!(!peer.is_handshaking());
            lab.peers.push((id, peer));
        }
        lab
    }

    fn turn(&mut self) {
        self.now += Duration::from_micros(100);
        let budget = Budget {
            events: 64,
            accepts: 64,
        };
        let before = allocations();
        self.io.wait(Some(Duration::ZERO)).unwrap();
        self.io.dispatch(&mut self.driver, budget, self.now);
        self.io.flush(&mut self.driver);
        self.counted += allocations() - before;
    }

    /// A record from each peer, in pieces of at most `piece` bytes; returns the allocations of all turns after the first ones.
    fn exchange(&mut self, size: usize, piece: usize) -> u64 {
        let content = vec![7; size];
        for round in 0..WARM_UP + ROUNDS {
            if round == WARM_UP {
                self.counted = 0;
            }
            for at in 0..self.peers.len() {
                let (id, peer) = &mut self.peers[at];
                let id = *id;
                peer.writer().write_all(&content).unwrap();
                let mut bytes = Vec::new();
                peer.write_tls(&mut bytes).unwrap();
                for part in bytes.chunks(piece) {
                    self.io.below().deliver(id, part);
                    self.turn();
                }
                let (_, peer) = &mut self.peers[at];
                let mut sent = self.io.below().peek_sent(id);
                while !sent.is_empty() {
                    peer.read_tls(&mut sent).unwrap();
                    peer.process_new_packets().unwrap();
                    let mut back = [0; 4096];
                    while peer.reader().read(&mut back).is_ok_and(|n| n > 0) {}
                }
                self.io.below().clear_sent(id);
            }
        }
        self.counted
    }
}

#[test]
fn a_record_allocates_nothing() {
    for size in [64, 1024, 5000] {
        let mut lab = Lab::new(4, TlsOptions::default());
        let counted = lab.exchange(size, usize::MAX);
        assert_eq!(counted, 0, "{size} bytes");
        assert!(lab.driver.events >= ROUNDS);
        assert!(lab.io.layer().stats().records_in_place >= ROUNDS as u64);
    }
}

#[test]
fn a_gathered_record_allocates_nothing() {
    let mut lab = Lab::new(4, TlsOptions::default());
    let counted = lab.exchange(1024, 600);
    assert_eq!(counted, 0);
    assert!(lab.io.layer().stats().records_gathered >= ROUNDS as u64);
}

#[test]
fn a_shared_payload_allocates_nothing() {
    let mut lab = Lab::new(4, TlsOptions::default());
    lab.driver.shared = Some(Shared::from(vec![1; 700]).local());
    let counted = lab.exchange(64, usize::MAX);
    assert_eq!(counted, 0);
}

#[test]
fn keys_that_do_not_fit_the_cache_are_made_again() {
    let mut lab = Lab::new(4, TlsOptions::default().key_cache(2));
    let counted = lab.exchange(64, usize::MAX);
    assert_eq!(counted, 0);
    let expanded = lab.io.layer().stats().keys_expanded;
    assert!(expanded >= 8 * ROUNDS as u64, "{expanded}");
}

/// Clients that send a ClientHello and nothing after it, by thousands.
#[test]
fn half_done_handshakes_are_bounded_in_number_and_memory() {
    const OPEN: u64 = 64;
    const CLIENTS: u16 = 3000;
    const SOME: isize = 64 << 10;
    let options = TlsOptions::default().handshakes(OPEN as usize);
    let mut lab = Lab::new(1, options.handshakes_per_turn(64));
    let mut hello = Vec::new();
    common::peer(common::client(None))
        .write_tls(&mut hello)
        .unwrap();
    let before = held();
    let mut most = 0;
    for port in 0..CLIENTS {
        let id = lab
            .io
            .below()
            .accept(Peer::Ip(([10, 0, 0, 2], port).into()));
        lab.io.below().deliver(id, &hello);
        lab.turn();
        most = most.max(held() - before);
    }
    let seen = lab.io.layer().stats();
    assert_eq!(seen.handshakes_open, OPEN);
    assert_eq!(seen.handshakes_refused, u64::from(CLIENTS) - OPEN);
    assert!(most < OPEN as isize * (16 << 10) + SOME, "{most} bytes");
    lab.now += options.handshake_timeout;
    (0..3).for_each(|_| lab.turn());
    let seen = lab.io.layer().stats();
    assert_eq!((seen.handshakes_open, seen.handshake_timeouts), (0, OPEN));
    let left = held() - before;
    assert!(left < SOME, "{left} bytes are left");
}
