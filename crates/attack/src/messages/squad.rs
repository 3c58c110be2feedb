//! The connections of one attack.

use mio::{Registry, Token};

use super::options::MessageOptions;
use super::peer::{Dial, End, Event, Peer, request};
use super::script::{Progress, Script};
use crate::attack::Attack;
use crate::control::{Count, Tally};
use crate::kind::AttackKind;
use crate::pace::Pace;

const MILLISECOND: u64 = 1_000_000;
/// Pause before a connection that ended is opened again, ns.
const AGAIN: u64 = 200 * MILLISECOND;
/// Connections begun in one turn.
const DIALS: usize = 32;
/// Time between two reads of a connection that trickles, ns.
const SIP_EVERY: u64 = 100 * MILLISECOND;
/// Receive buffer of a connection that trickles: the kernel's minimum is about this.
const SMALL_BUFFER: usize = 4096;

/// A place for a connection.
#[derive(Debug, Default)]
struct Slot {
    peer: Option<Peer>,
    progress: Progress,
    /// Time from which it may be opened again, ns.
    again: u64,
    /// Bytes may be there to read.
    readable: bool,
}

/// The connections of one attack.
#[derive(Debug)]
pub(crate) struct Squad {
    attack: Attack,
    script: Script,
    tally: Tally,
    pace: Pace,
    request: Vec<u8>,
    slots: Vec<Slot>,
    /// The connection whose turn it is.
    cursor: usize,
    /// The place to open next.
    dialled: usize,
    /// Time of the next read of connections that trickle.
    sip: u64,
    /// Connections with unread bytes.
    unread: Vec<usize>,
}

impl Squad {
    pub(crate) fn new(attack: &Attack, options: &MessageOptions, tally: Tally) -> Self {
        let topics = attack.kind.needs_topics();
        let (path, protocol) = match topics {
            true => (&options.topics_path, options.topics_protocol.as_str()),
            false => (&options.path, ""),
        };
        let deflate = attack.kind == AttackKind::Deflate;
        let origin = options.origin.as_deref();
        Self {
            script: Script::new(attack, &options.texts),
            tally,
            pace: Pace::new(attack.rate),
            request: request(path, &options.host, origin, protocol, deflate),
            slots: (0..attack.connections).map(|_| Slot::default()).collect(),
            cursor: 0,
            dialled: 0,
            sip: 0,
            unread: Vec::new(),
            attack: attack.clone(),
        }
    }

    /// Begins at `now`.
    pub(crate) fn start(&mut self, now: u64) {
        self.pace.start(now);
    }

    /// Opens connections that are missing. `token` gives the token of each place.
    pub(crate) fn open(
        &mut self,
        options: &MessageOptions,
        registry: &Registry,
        token: impl Fn(usize) -> Token,
        now: u64,
    ) {
        let trickles = self.attack.kind == AttackKind::Trickle;
        let dial = Dial {
            target: options.target,
            request: &self.request,
            receive_buffer: if trickles { SMALL_BUFFER } else { 0 },
        };
        let mut dials = 0;
        for _ in 0..self.slots.len() {
            let n = self.dialled;
            self.dialled = (n + 1) % self.slots.len();
            let slot = &mut self.slots[n];
            if slot.peer.is_some() || now < slot.again {
                continue;
            }
            slot.progress = Progress::default();
            slot.readable = false;
            slot.again = now + AGAIN;
            match Peer::dial(&dial, registry, token(n)) {
                Ok(peer) => slot.peer = Some(peer),
                Err(_) => self.tally.bump(Count::Unconnected),
            }
            dials += 1;
            if dials == DIALS {
                return;
            }
        }
    }

    /// The socket of place `n` is ready.
    pub(crate) fn ready(&mut self, n: usize, scratch: &mut [u8], now: u64) {
        if !self.slots[n].readable {
            self.slots[n].readable = true;
            self.unread.push(n);
        }
        self.flush(n, now);
        self.receive(n, scratch, now);
    }

    /// Reads on where bytes were left, and lets connections that trickle read a little.
    pub(crate) fn read_on(&mut self, scratch: &mut [u8], now: u64) {
        if self.attack.kind == AttackKind::Trickle {
            if now < self.sip {
                return;
            }
            self.sip = now + SIP_EVERY;
        }
        for n in std::mem::take(&mut self.unread) {
            if self.slots[n].readable {
                self.unread.push(n);
                self.receive(n, scratch, now);
            }
        }
        let slots = &self.slots;
        self.unread.retain(|n| slots[*n].readable);
    }

    /// Writes the messages that are due.
    pub(crate) fn send(&mut self, now: u64) {
        let due = self.pace.due(now);
        let mut touched = Vec::new();
        let mut left = due;
        let mut idle = 0;
        while left > 0 && idle < self.slots.len() {
            let n = self.cursor;
            self.cursor = (n + 1) % self.slots.len();
            let slot = &mut self.slots[n];
            let Some(peer) = slot.peer.as_mut().filter(|peer| peer.has_room()) else {
                idle += 1;
                continue;
            };
            slot.progress.takes_over = peer.takes_over();
            let out = peer.out();
            let before = out.len();
            let written = self.script.next(n, &mut slot.progress, now, out);
            if written == 0 {
                idle += 1;
                continue;
            }
            self.tally
                .add(Count::SentBytes, (out.len() - before) as u64);
            self.tally.add(Count::Sent, written);
            (left, idle) = (left - 1, 0);
            touched.push(n);
        }
        // A slow attack has nothing due most of the time.
        if !matches!(
            self.attack.kind,
            AttackKind::Unfinished | AttackKind::Trickle
        ) {
            self.tally.add(Count::NoRoom, left);
        }
        self.pace.spend(due);
        touched.sort_unstable();
        touched.dedup();
        for n in touched {
            self.flush(n, now);
        }
    }

    /// Ends all connections.
    pub(crate) fn stop(&mut self) {
        for slot in &mut self.slots {
            *slot = Slot::default();
        }
        self.unread.clear();
        self.tally.publish();
    }

    /// Makes the counters visible to other threads.
    pub(crate) fn publish(&mut self) {
        self.tally.publish();
    }

    fn flush(&mut self, n: usize, now: u64) {
        let Some(peer) = &mut self.slots[n].peer else {
            return;
        };
        let tally = &mut self.tally;
        let Err(end) = peer.flush(&mut |event| count(tally, &event)) else {
            return;
        };
        // The reason may have arrived before the reset.
        let mut scratch = [0; 4096];
        let last = peer.receive(&mut scratch, usize::MAX, &mut |event| count(tally, &event));
        self.end(n, last.err().unwrap_or(end), now);
    }

    fn receive(&mut self, n: usize, scratch: &mut [u8], now: u64) {
        let slot = &mut self.slots[n];
        let Some(peer) = &mut slot.peer else {
            slot.readable = false;
            return;
        };
        let trickles = self.attack.kind == AttackKind::Trickle && peer.is_open();
        if trickles && now + SIP_EVERY != self.sip {
            return;
        }
        let limit = match trickles {
            true => (self.attack.read * SIP_EVERY / 1_000_000_000).max(1) as usize,
            false => usize::MAX,
        };
        let tally = &mut self.tally;
        match peer.receive(scratch, limit, &mut |event| count(tally, &event)) {
            Ok(more) => slot.readable = more,
            Err(end) => self.end(n, end, now),
        }
        // A Ping that was read has an answer.
        self.flush(n, now);
    }

    fn end(&mut self, n: usize, end: End, now: u64) {
        let slot = &mut self.slots[n];
        slot.peer = None;
        slot.readable = false;
        slot.again = now + AGAIN;
        match end {
            End::Unconnected => self.tally.bump(Count::Unconnected),
            End::Told => {}
            End::Closed => self.tally.bump(Count::Closed),
            End::Reset => self.tally.bump(Count::Rst),
        }
    }
}

fn count(tally: &mut Tally, event: &Event<'_>) {
    match event {
        Event::Connected => tally.bump(Count::Opened),
        Event::Status(status) => tally.bump(match status {
            101 => Count::Upgraded,
            400 => Count::Http400,
            408 => Count::Http408,
            426 => Count::Http426,
            431 => Count::Http431,
            503 => Count::Http503,
            _ => Count::HttpOther,
        }),
        Event::Bytes(n) => tally.add(Count::ReceivedBytes, *n),
        Event::Message(head) => {
            tally.bump(Count::Received);
            if head.starts_with(b"{\"error\"") {
                tally.bump(Count::Errors);
            }
        }
        Event::Close(code) => tally.bump(match code {
            Some(1002) => Count::Close1002,
            Some(1007) => Count::Close1007,
            Some(1008) => Count::Close1008,
            Some(1009) => Count::Close1009,
            Some(1013) => Count::Close1013,
            _ => Count::CloseOther,
        }),
    }
}
