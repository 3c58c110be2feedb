//! The end of a run: the peers leave, and the final checks.

use std::time::Duration;

use hioload_transport::fake::FakeEnd;
use hioload_transport::{ConnId, Peer};
use hioload_ws_proto::deflate::Window;
use hioload_ws_proto::{Assembler, AssemblerOptions, Decoder, Inflation, Role};

use super::super::events::{Seen, decode};
use super::super::wire::{By, read};
use super::Outcome;
use super::peers::{CLOSE, REQUEST, frame};
use super::world::{Hostile, STRIDE, World};

/// The silence after which every peer has been closed, or reset if it does not answer.
const SILENCE: Duration = Duration::from_millis(4500);

impl World {
    /// Ends all peers, and checks that no state of them is left.
    pub(super) fn end(mut self) -> Outcome {
        if !self.options.silent {
            self.hang_up();
        }
        self.settle();
        self.pass(SILENCE);
        let (mut peers, mut seen_by) = (Vec::new(), Vec::new());
        for peer in 0..self.peers.len() {
            self.collect(peer);
            let Hostile {
                id,
                engine,
                ref sent,
                refused,
            } = self.peers[peer];
            let end = self.lcore.transport().closed(id);
            assert!(end.is_some() || refused, "peer {peer} is still connected");
            seen_by.push(if engine == By::Server {
                seen(sent)
            } else {
                Vec::new()
            });
            let mut sent = read(engine, sent, end == Some(FakeEnd::Reset));
            // The key is random.
            sent.head
                .retain(|line| !line.starts_with("Sec-WebSocket-Key"));
            peers.push((engine, sent));
        }
        assert_eq!(self.lcore.connections(), 1, "only the bystander is open");
        assert_eq!(
            self.live.get(),
            1,
            "the application's state of the others is dropped"
        );
        let pool = self.io().pool();
        assert_eq!(pool.available(), pool.capacity(), "send memory is lost");
        self.last_words();
        let skipped = [
            "turns",
            "sleeps",
            "reads",
            "writes",
            "writes_blocked",
            "bytes_in",
            "transport_sleeps",
        ];
        let counters = self
            .lcore
            .totals()
            .iter()
            .map(|(meta, value)| (meta.name, value))
            .filter(|(name, _)| !skipped.contains(name))
            .collect();
        Outcome {
            peers,
            seen: seen_by,
            counters,
        }
    }

    /// The peers read all their bytes, and end.
    fn hang_up(&mut self) {
        let connected = self.peers.iter().filter(|peer| !peer.refused);
        let ids: Vec<_> = connected.map(|peer| peer.id).collect();
        for &id in &ids {
            self.io().set_window(id, usize::MAX);
        }
        self.pass(Duration::from_secs(1));
        for id in ids {
            let fake = self.io();
            let left = if fake.is_open(id) { fake.unread(id) } else { 0 };
            assert_eq!(
                left, 0,
                "the bytes of a peer are not read although it reads again"
            );
            fake.end(id);
        }
    }

    /// New peers take the slots of those that have left.
    fn newcomers(&mut self) -> Vec<ConnId> {
        let mut ids = Vec::new();
        for port in 0..self.peers.len() as u16 {
            // Each has another address: connections per address may be limited.
            let source = ([10, 0, 1, port as u8], port);
            let id = self.io().accept(Peer::Ip(source.into()));
            self.io().deliver(id, REQUEST.as_bytes());
            ids.push(id);
        }
        for _ in 0..10 {
            if self.lcore.connections() <= ids.len() {
                self.pass(STRIDE);
            }
        }
        assert_eq!(
            self.lcore.connections(),
            1 + ids.len(),
            "newcomers are served"
        );
        ids
    }

    /// Checks through the bystander that the new peers have no subscriptions. The bystander leaves last.
    fn last_words(&mut self) {
        let newcomers = self.newcomers();
        let id = self.bystander;
        let patterns = self.patterns.take();
        for topic in patterns
            .iter()
            .map(|pattern| pattern.replace(['*', '>'], "x"))
        {
            self.now += STRIDE;
            let publish = frame(By::Server, 0x81, format!("p{topic}").as_bytes());
            self.io().deliver(id, &publish);
            self.settle();
            assert_eq!(
                self.io().sent(id),
                b"\x81\x05Ok(0)",
                "a subscription outlived its connection"
            );
        }
        for id in newcomers {
            self.io().reset(id);
        }
        self.settle();
        self.io().deliver(id, &frame(By::Server, 0x88, &CLOSE));
        self.settle();
        assert_eq!(self.io().sent(id), b"\x88\x02\x03\xe8");
        self.io().end(id);
        self.settle();
        assert_eq!(self.io().closed(id), Some(FakeEnd::Closed));
        let totals = self.lcore.totals();
        assert_eq!((self.lcore.connections(), self.live.get()), (0, 0));
        assert_eq!(
            totals.opened, totals.closed,
            "every connection that opened has closed"
        );
        assert_eq!(totals.handler_panics, 0, "a panic was caught");
    }
}

/// The frames that a client was sent. It must be able to parse and, if that was agreed, inflate them.
fn seen(sent: &[u8]) -> Vec<Seen> {
    let Some(end) = sent.windows(4).position(|w| w == b"\r\n\r\n") else {
        return Vec::new();
    };
    let (head, frames) = sent.split_at(end + 4);
    let head = String::from_utf8_lossy(head);
    if !head.starts_with("HTTP/1.1 101 ") {
        return Vec::new();
    }
    let inflation = match head.contains("permessage-deflate") {
        true => Inflation::Context(Box::new(Window::new(15))),
        false => Inflation::None,
    };
    let mut asm = Assembler::new(AssemblerOptions::default());
    let seen = decode(
        Decoder::with_deflate(Role::Client, inflation),
        &mut asm,
        &[frames],
    );
    assert!(
        !matches!(seen.last(), Some(Seen::Error(_))),
        "{:?}",
        seen.last()
    );
    seen
}
