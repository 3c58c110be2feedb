//! The scripted fake.

use hioload_transport::ConnId;
use hioload_transport::Peer;
use hioload_transport::fake::{Fake, FakeEnd, FakeOptions};

use super::layers::{Bare, Wrap};
use super::world::{Harness, Seen, Setup};

/// The fake; `DRAINED` is whether a short read proves that nothing is left.
pub struct FakeHarness<const DRAINED: bool, W: Wrap = Bare> {
    io: W::Io<Fake>,
    dialled: u16,
}

impl<const DRAINED: bool, W: Wrap> Harness for FakeHarness<DRAINED, W> {
    type Io = W::Io<Fake>;
    type Wire = (ConnId, Peer);
    const HAS_RESET: bool = true;

    fn new(setup: Setup) -> Self {
        let options = FakeOptions::default()
            .max_connections(setup.max_connections)
            .rx_buffer(setup.rx_buffer)
            .send_queue(setup.send_queue)
            .tx_chunk(if setup.tiny { 256 } else { 16 << 10 })
            .tx_chunks(setup.tx_chunks)
            .window(if setup.tiny { 999 } else { usize::MAX })
            .can_block(true)
            .short_means_drained(DRAINED);
        Self {
            io: W::wrap(Fake::new(&options).unwrap()),
            dialled: 0,
        }
    }
    fn io(&mut self) -> &mut Self::Io {
        &mut self.io
    }
    fn dial(&mut self) -> (ConnId, Peer) {
        self.dialled += 1;
        let peer = Peer::Ip(([10, 0, 0, 1], self.dialled).into());
        (W::below(&mut self.io).accept(peer), peer)
    }
    fn send(&mut self, wire: &mut (ConnId, Peer), bytes: &[u8]) -> usize {
        let room = 5000usize.saturating_sub(W::below(&mut self.io).unread(wire.0));
        let n = bytes.len().min(room);
        W::below(&mut self.io).deliver(wire.0, &bytes[..n]);
        n
    }
    fn recv(&mut self, wire: &mut (ConnId, Peer), into: &mut Vec<u8>) -> Seen {
        into.extend(W::below(&mut self.io).sent(wire.0));
        match W::below(&mut self.io).closed(wire.0) {
            Some(FakeEnd::Reset) => Seen::Reset,
            _ if W::below(&mut self.io).finished(wire.0) => Seen::End,
            _ => Seen::Open,
        }
    }
    fn end(&mut self, wire: &mut (ConnId, Peer)) {
        W::below(&mut self.io).end(wire.0);
    }
    fn reset(&mut self, wire: (ConnId, Peer)) {
        W::below(&mut self.io).reset(wire.0);
    }
    fn refuse(&mut self, wire: &mut (ConnId, Peer)) {
        W::below(&mut self.io).set_window(wire.0, 0);
    }
    fn take(&mut self, wire: &mut (ConnId, Peer)) {
        W::below(&mut self.io).set_window(wire.0, 10_000);
    }
    fn address(&self, wire: &(ConnId, Peer)) -> Peer {
        wire.1
    }
}
