//! A layer that changes every byte and their number, as TLS does: the hooks of [`Layer`] have to suffice for it.
//!
//! A record is a length (2 bytes), a masked payload and a sum (1 byte). The mask depends on the number of the record in its
//! direction, as a nonce would. An empty record is the end mark, as a `close_notify` is.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use hioload_lcore::Time;
use hioload_mem::LocalShared;
use hioload_transport::layer::{BySlot, Layer, Layered, View};
use hioload_transport::{
    Activity, Budget, Closed, ConnId, Connections, Driver, Peer, Rest, SendError, Taken, Transport,
};
use suite::layers::Wrap;
use suite::over_script::FakeHarness;
use suite::receiving::{echo_all, pattern};
use suite::world::{Note, Setup, World, all, write};

const HEADER: usize = 2;
const OVERHEAD: usize = HEADER + 1;

fn mask(payload: &mut [u8], number: u8) {
    for byte in payload {
        *byte ^= 0xa5 ^ number;
    }
}

fn sum(payload: &[u8]) -> u8 {
    payload.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[derive(Default)]
struct Conn {
    received: u8,
    sent: u8,
    /// Plaintext that the driver left.
    left: Vec<u8>,
    /// It is to be presented in the next turn.
    later: bool,
    listed: bool,
    paused: bool,
    /// The end mark has been received.
    ended: bool,
    /// `on_end` waits for what is left.
    end_pending: bool,
    /// The `want` of the last call of `send_space`.
    want: usize,
}

#[derive(Default)]
struct Records {
    conns: BySlot<Conn>,
    ready: Vec<ConnId>,
}

impl Records {
    fn list(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id)
            && !std::mem::replace(&mut conn.listed, true)
        {
            self.ready.push(id);
        }
    }

    /// Lends the driver what is left and `more`, contiguous; keeps what it leaves.
    fn present<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        more: &mut [u8],
    ) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        conn.later = false;
        let mut left = std::mem::take(&mut conn.left);
        let rest = if left.is_empty() {
            let taken = above.on_data(&mut View::new(self, below), id, more);
            left.extend_from_slice(&more[taken.bytes..]);
            taken.rest
        } else {
            left.extend_from_slice(more);
            let taken = above.on_data(&mut View::new(self, below), id, &mut left);
            left.drain(..taken.bytes);
            taken.rest
        };
        if let Some(conn) = self.conns.get_mut(id) {
            conn.later = rest == Rest::Later && !left.is_empty();
            conn.left = left;
            if conn.later && !conn.paused {
                self.list(id);
            }
        }
    }

    fn end_mark<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Ok(space) = below.send_space(id, OVERHEAD) {
            space[..OVERHEAD].fill(0);
            below.commit(id, OVERHEAD);
        }
    }
}

impl Layer for Records {
    fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    fn dispatch<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        budget: Budget,
        _: Time,
        activity: &mut Activity,
    ) {
        let n = self.ready.len().min(budget.events);
        for visited in 0..n {
            if visited > 0 && above.is_exhausted() {
                break;
            }
            let id = self.ready.remove(0);
            let Some(conn) = self.conns.get_mut(id) else {
                continue;
            };
            conn.listed = false;
            if conn.later && !conn.paused {
                activity.events += 1;
                self.present(below, above, id, &mut []);
            }
            if let Some(conn) = self.conns.get_mut(id)
                && conn.end_pending
                && !conn.later
            {
                conn.end_pending = false;
                activity.events += 1;
                above.on_end(&mut View::new(self, below), id);
            }
        }
    }

    fn on_accept<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        peer: Peer,
    ) -> bool {
        self.conns.insert(id, Conn::default());
        let accepted = above.on_accept(&mut View::new(self, below), id, peer);
        if !accepted {
            self.conns.remove(id);
        }
        accepted
    }

    fn on_data<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let mut used = 0;
        loop {
            let taken = |rest| Taken { bytes: used, rest };
            let record = &mut data[used..];
            let [high, low, body @ ..] = record else {
                return taken(Rest::NeedsMore);
            };
            let n = usize::from(u16::from_be_bytes([*high, *low]));
            if body.len() < n + 1 {
                return taken(Rest::NeedsMore);
            }
            let Some(conn) = self.conns.get_mut(id) else {
                return taken(Rest::NeedsMore);
            };
            if conn.later || conn.paused {
                // The next record is not touched before this one has been consumed.
                return taken(Rest::Later);
            }
            let (payload, rest) = body.split_at_mut(n);
            mask(payload, conn.received);
            if sum(payload) != rest[0] {
                below.abort(id);
                return taken(Rest::NeedsMore);
            }
            conn.received = conn.received.wrapping_add(1);
            conn.ended |= n == 0;
            if n > 0 {
                self.present(below, above, id, payload);
            }
            used += n + OVERHEAD;
        }
    }

    fn on_end<C: Connections, D: Driver>(&mut self, below: &mut C, above: &mut D, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if !conn.ended {
            below.abort(id);
        } else if conn.later {
            conn.end_pending = true;
        } else {
            above.on_end(&mut View::new(self, below), id);
        }
    }

    fn on_closed<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        why: Closed,
    ) {
        above.on_closed(&mut View::new(self, below), id, why);
        self.conns.remove(id);
    }

    fn send_space<'a, C: Connections>(
        &'a mut self,
        below: &'a mut C,
        id: ConnId,
        want: usize,
    ) -> Result<&'a mut [u8], SendError> {
        let space = below.send_space(id, want + OVERHEAD)?;
        if space.len() <= OVERHEAD {
            return Err(SendError::Full);
        }
        if let Some(conn) = self.conns.get_mut(id) {
            conn.want = want;
        }
        let end = (space.len() - 1).min(HEADER + usize::from(u16::MAX));
        Ok(&mut space[HEADER..end])
    }

    fn commit<C: Connections>(&mut self, below: &mut C, id: ConnId, n: usize) {
        let Some(conn) = self.conns.get_mut(id).filter(|_| n > 0) else {
            return;
        };
        // The same memory again, with the plaintext in it, which is sealed in place.
        let Ok(space) = below.send_space(id, conn.want + OVERHEAD) else {
            return;
        };
        space[..HEADER].copy_from_slice(&(n as u16).to_be_bytes());
        let (payload, rest) = space[HEADER..].split_at_mut(n);
        rest[0] = sum(payload);
        mask(payload, conn.sent);
        conn.sent = conn.sent.wrapping_add(1);
        below.commit(id, n + OVERHEAD);
    }

    fn send_room<C: Connections>(&self, below: &C, id: ConnId) -> usize {
        let room = below.send_room(id);
        // A record for each piece of space, and the shortest piece of this transport has 256 bytes.
        room.saturating_sub(OVERHEAD * (room / 256 + 2))
    }

    fn send_shared<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        payload: LocalShared,
        _: bool,
    ) -> Result<(), SendError> {
        if self.send_room(below, id) < payload.len() {
            return Err(SendError::Full);
        }
        let mut rest = &payload[..];
        while !rest.is_empty() {
            let space = self.send_space(below, id, rest.len())?;
            let n = space.len().min(rest.len());
            space[..n].copy_from_slice(&rest[..n]);
            self.commit(below, id, n);
            rest = &rest[n..];
        }
        Ok(())
    }

    fn drop_oldest<C: Connections>(&mut self, _: &mut C, _: ConnId) -> Option<usize> {
        // Sealed already.
        None
    }

    fn pause<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.paused = true;
        }
        below.pause(id);
    }

    fn resume<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.paused = false;
            if conn.later {
                self.list(id);
            }
        }
        below.resume(id);
    }

    fn finish<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.end_mark(below, id);
        below.finish(id);
    }

    fn close<C: Connections>(&mut self, below: &mut C, id: ConnId) {
        self.end_mark(below, id);
        below.close(id);
    }
}

struct InRecords;

impl Wrap for InRecords {
    type Io<T: Transport + 'static> = Layered<T, Records>;
    fn wrap<T: Transport + 'static>(io: T) -> Self::Io<T> {
        Layered::new(io, Records::default())
    }
    fn below<T: Transport + 'static>(io: &mut Self::Io<T>) -> &mut T {
        io.below()
    }
}

type Recorded = World<FakeHarness<true, InRecords>>;

/// One end's records, as its peer writes and reads them.
#[derive(Default)]
struct Peers {
    sent: u8,
    received: u8,
    partial: Vec<u8>,
}

impl Peers {
    fn record(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut record = (payload.len() as u16).to_be_bytes().to_vec();
        record.extend_from_slice(payload);
        mask(&mut record[HEADER..], self.sent);
        record.push(sum(payload));
        self.sent = self.sent.wrapping_add(1);
        record
    }

    /// The payloads of all whole records, and whether the last one was the end mark.
    fn read(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        self.partial.extend_from_slice(bytes);
        let (mut plain, mut ended) = (Vec::new(), false);
        while self.partial.len() >= OVERHEAD {
            let n = usize::from(u16::from_be_bytes([self.partial[0], self.partial[1]]));
            if self.partial.len() < n + OVERHEAD {
                break;
            }
            let mut record: Vec<u8> = self.partial.drain(..n + OVERHEAD).collect();
            mask(&mut record[HEADER..HEADER + n], self.received);
            assert_eq!(sum(&record[HEADER..HEADER + n]), record[n + HEADER]);
            self.received = self.received.wrapping_add(1);
            plain.extend_from_slice(&record[HEADER..HEADER + n]);
            ended = n == 0;
        }
        (plain, ended)
    }
}

#[test]
fn an_echo_goes_through_a_layer_that_changes_every_byte_however_it_is_cut() {
    for piece in [1, 7, 1000, usize::MAX] {
        let mut world = Recorded::new(Setup::default());
        world.script.on_data = Box::new(echo_all);
        let (wire, id) = world.dial();
        let mut peer = Peers::default();
        for size in [1, 100, 5000, 20_000] {
            let message = pattern(size);
            let record = peer.record(&message);
            for part in record.chunks(piece.min(record.len())) {
                world.io().below().deliver(wire.0, part);
                if record.len() < 10_000 || piece > 100 {
                    world.turn();
                }
            }
            let mut back = Vec::new();
            world.until("the echo", |world| {
                let sent = world.io().below().sent(wire.0);
                back.extend(peer.read(&sent).0);
                back.len() >= size
            });
            assert!(back == message, "{size} bytes in pieces of {piece}");
        }
        assert_eq!(world.io().queued(id), 0);
    }
}

#[test]
fn plaintext_left_for_later_is_presented_in_each_turn_and_before_the_end() {
    let mut world = Recorded::new(Setup::default());
    world.script.on_data = Box::new(|_, _, _| Taken {
        bytes: 1,
        rest: Rest::Later,
    });
    let (wire, id) = world.dial();
    let mut peer = Peers::default();
    let bytes = [peer.record(b"abc"), peer.record(b"de"), peer.record(b"")].concat();
    world.io().below().deliver(wire.0, &bytes);
    world.io().below().end(wire.0);
    world.until("the end", |world| world.has(&Note::End(id)));
    let consumed: Vec<u8> = world.data(id).iter().map(|data| data[0]).collect();
    assert_eq!(consumed, b"abcde");
    assert_eq!(world.script.log.last(), Some(&Note::End(id)));
    assert!(!world.turn().more, "nothing is left");
}

#[test]
fn plaintext_left_as_needing_more_comes_with_the_next_record() {
    let mut world = Recorded::new(Setup::default());
    world.script.on_data = Box::new(|_, _, data| Taken {
        bytes: data.len() / 4 * 4,
        rest: Rest::NeedsMore,
    });
    let (wire, id) = world.dial();
    let mut peer = Peers::default();
    for part in [&b"abcdef"[..], b"g", b"hij"] {
        let record = peer.record(part);
        world.io().below().deliver(wire.0, &record);
        world.turns(2);
    }
    let seen: Vec<Vec<u8>> = ["abcdef", "efg", "efghij"].map(Vec::from).into();
    assert_eq!(world.data(id), seen);
}

#[test]
fn a_paused_connection_is_presented_what_it_left_after_it_resumes() {
    let mut world = Recorded::new(Setup::default());
    world.script.on_data = Box::new(|io, id, _| {
        io.pause(id);
        Taken {
            bytes: 2,
            rest: Rest::Later,
        }
    });
    let (wire, id) = world.dial();
    let mut peer = Peers::default();
    let bytes = [peer.record(b"abcd"), peer.record(b"ef")].concat();
    world.io().below().deliver(wire.0, &bytes);
    world.turns(5);
    assert_eq!(world.data(id), [b"abcd"]);
    world.io().resume(id);
    world.turns(5);
    assert_eq!(world.data(id)[1..], [b"cd"]);
    world.script.on_data = Box::new(|_, _, data| all(data));
    world.io().resume(id);
    world.turns(5);
    assert_eq!(world.data(id)[2..], [b"ef"]);
}

#[test]
fn a_stream_that_ends_without_an_end_mark_is_aborted() {
    let mut world = Recorded::new(Setup::default());
    let (wire, id) = world.dial();
    let record = Peers::default().record(b"truncated");
    world.io().below().deliver(wire.0, &record);
    world.io().below().end(wire.0);
    world.turns(3);
    assert!(world.has(&Note::Closed(id, Closed::Aborted)));
    assert!(!world.has(&Note::End(id)));
}

#[test]
fn a_record_with_a_wrong_sum_is_not_presented() {
    let mut world = Recorded::new(Setup::default());
    let (wire, id) = world.dial();
    let mut record = Peers::default().record(b"forged");
    record[3] ^= 1;
    world.io().below().deliver(wire.0, &record);
    world.turns(3);
    assert!(world.data(id).is_empty());
    assert!(world.has(&Note::Closed(id, Closed::Aborted)));
}

#[test]
fn a_close_sends_the_end_mark_after_what_was_written() {
    let mut world = Recorded::new(Setup::default());
    let (wire, id) = world.dial();
    write(world.io(), id, b"last words");
    world.io().close(id);
    world.turns(2);
    let sent = world.io().below().sent(wire.0);
    assert_eq!(Peers::default().read(&sent), (b"last words".to_vec(), true));
    assert!(world.has(&Note::Closed(id, Closed::Flushed)));
}
