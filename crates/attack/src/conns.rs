//! Connections of attacks: a minimal TCP client, which knows the next byte in both directions and little else.
//!
//! The number of connections is fixed. Each uses one source after the other. Nothing is allocated once they are made.

mod conn;
mod receive;
mod send;

use hioload_device::Device;

use self::conn::{Conn, Phase, Slowness, Turn};
use crate::attack::Attack;
use crate::control::Count;
use crate::kind::AttackKind;
use crate::link::Link;
use crate::rng::Rng;
use crate::script::Script;
use crate::segment::flag;
use crate::sources::Sources;
use crate::tx::TxQueue;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// Time without an acknowledgement after which data is sent again.
const RTO: u64 = 300 * MILLI;
/// Time between two SYNs of one connection.
const SYN_RTO: u64 = SECOND;
/// Retransmissions before a connection is given up.
const TRIES: u8 = 6;
/// Pause before a slot is used again, after its connection was refused or reset.
const PAUSE: u64 = 50 * MILLI;
/// Lifetime of a half-open handshake that is not meant to complete.
const HALF_OPEN: u64 = 5 * SECOND;
/// Time in which the server has to end a connection that broke the protocol.
const CLOSE_TIMEOUT: u64 = 5 * SECOND;
/// Lifetime of any connection.
const LIFE: u64 = 60 * SECOND;
/// Connections visited in one turn.
const VISITS_PER_TURN: usize = 256;
/// Messages of a connection that reads its echoes.
const MESSAGES: u32 = 32;
/// Bytes that a slow reader reads at a time. Into a smaller window Linux sends only probes.
const READ_SIZE: u16 = 64;

/// The connections of one attack on one lcore.
pub(crate) struct Conns {
    kind: AttackKind,
    script: Script,
    conns: Vec<Conn>,
    /// Number of sources that each slot uses in turn.
    rounds: u64,
    /// Time between two reads or bytes of a slow client, ns.
    interval: u64,
    rng: Rng,
    cursor: usize,
    /// Connections ended since the attack was stopped.
    ended: usize,
}

impl Conns {
    /// Makes `connections` connections, or as many as there are sources.
    pub(crate) fn new(
        attack: &Attack,
        connections: u32,
        script: Script,
        sources: &Sources,
    ) -> Self {
        let count = u64::from(connections).clamp(1, sources.len());
        let conns: Vec<Conn> = (0..count)
            .map(|n| Conn {
                case: n as u32,
                ..Conn::new(n)
            })
            .collect();
        Self {
            kind: attack.kind,
            script,
            rounds: sources.len() / count,
            ended: conns.len(),
            conns,
            interval: attack.interval.as_nanos() as u64,
            rng: Rng::new(attack.seed),
            cursor: 0,
        }
    }

    /// Begins the attack at `now`.
    pub(crate) fn start(&mut self, now: u64) {
        self.ended = 0;
        for slot in 0..self.conns.len() {
            self.renew(slot, now, 0);
        }
    }

    /// Visits the connections that are due.
    pub(crate) fn send_due<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        link: &Link,
        sources: &Sources,
        (now, mtu): (u64, usize),
    ) {
        let turn = Turn {
            link,
            sources,
            now,
            room: link.room(mtu).min(1460),
        };
        for _ in 0..self.conns.len().min(VISITS_PER_TURN) {
            if !tx.is_open() {
                return;
            }
            let slot = self.cursor;
            self.cursor = (slot + 1) % self.conns.len();
            if self.conns[slot].due <= now {
                self.visit(tx, &turn, slot);
            }
        }
    }

    /// After the end of the attack: resets the open connections. Returns whether all are reset.
    pub(crate) fn finish<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        link: &Link,
        sources: &Sources,
    ) -> bool {
        let turn = Turn {
            link,
            sources,
            now: 0,
            room: 0,
        };
        while self.ended < self.conns.len() && tx.is_open() {
            let slot = self.ended;
            if matches!(self.conns[slot].phase, Phase::Open | Phase::Closing) {
                self.send_reset(tx, &turn, slot);
                if tx.stuck {
                    break;
                }
            }
            self.conns[slot].phase = Phase::Idle;
            self.conns[slot].due = u64::MAX;
            self.ended += 1;
        }
        self.ended == self.conns.len()
    }

    fn slowness(slot: usize) -> Slowness {
        [Slowness::HalfOpen, Slowness::Mute, Slowness::Trickle][slot % 3]
    }

    fn is(&self, slot: usize, slowness: Slowness) -> bool {
        self.kind == AttackKind::SlowHandshake && Self::slowness(slot) == slowness
    }

    /// The receive window that a connection advertises.
    fn window(&self, conn: &Conn) -> u16 {
        match self.kind {
            AttackKind::ZeroWindow if conn.reader.is_upgraded() => 0,
            AttackKind::SlowReader => conn.credit,
            _ => u16::MAX,
        }
    }

    /// The offset up to which a connection may send now.
    fn end(&self, slot: usize) -> u32 {
        let conn = &self.conns[slot];
        let upgraded = conn.reader.is_upgraded();
        let head = self.script.head.len() as u32;
        match self.kind {
            AttackKind::BadFrames => {
                let case = &self.script.cases[conn.case as usize % self.script.cases.len()];
                let tail = if upgraded { case.tail.len() } else { 0 };
                (case.head.len() + tail) as u32
            }
            AttackKind::SlowHandshake => match Self::slowness(slot) {
                Slowness::Trickle => conn.sent.saturating_add(1),
                Slowness::HalfOpen | Slowness::Mute => 0,
            },
            _ if !upgraded => head,
            AttackKind::TinySegments | AttackKind::Overlap => {
                head + MESSAGES * self.script.unit.len() as u32
            }
            // No sequence number is used twice.
            _ => 1 << 30,
        }
    }

    /// Replaces a connection by the next one of its slot, from another source, after `pause`.
    fn renew(&mut self, slot: usize, now: u64, pause: u64) {
        let slots = self.conns.len() as u64;
        let conn = &mut self.conns[slot];
        let round = (conn.source / slots + 1) % self.rounds;
        *conn = Conn {
            due: now + pause,
            case: conn.case.wrapping_add(slots as u32 | 1),
            ..Conn::new(round * slots + slot as u64)
        };
    }

    fn reset<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, slot: usize) {
        self.send_reset(tx, turn, slot);
        self.renew(slot, turn.now, PAUSE);
    }

    fn visit<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, slot: usize) {
        let now = turn.now;
        match self.conns[slot].phase {
            Phase::Idle => {
                let iss = self.rng.next() as u32;
                let credit = if self.kind == AttackKind::SlowReader {
                    READ_SIZE
                } else {
                    0
                };
                let conn = &mut self.conns[slot];
                (conn.phase, conn.iss, conn.credit) = (Phase::SynSent, iss, credit);
                (conn.began, conn.progress, conn.due) = (now, now, now + SYN_RTO);
                self.send_segment(tx, turn, slot, flag::SYN, 0, 0);
            }
            Phase::SynSent => {
                let half_open = self.is(slot, Slowness::HalfOpen);
                let conn = &mut self.conns[slot];
                conn.tries += 1;
                conn.due = now + SYN_RTO;
                if half_open {
                    if now > conn.began + HALF_OPEN {
                        self.renew(slot, now, 0);
                    }
                } else if conn.tries > TRIES {
                    tx.tally.bump(Count::Unanswered);
                    self.renew(slot, now, PAUSE);
                } else {
                    tx.tally.bump(Count::Retransmits);
                    self.send_segment(tx, turn, slot, flag::SYN, 0, 0);
                }
            }
            Phase::Open => self.visit_open(tx, turn, slot),
            Phase::Closing => {
                let conn = &self.conns[slot];
                if conn.fin_received {
                    self.send_segment(tx, turn, slot, flag::ACK, conn.sent + 1, 0);
                    self.renew(slot, now, 0);
                } else if now > conn.progress + SECOND {
                    self.reset(tx, turn, slot);
                } else if conn.ack_due {
                    self.send_segment(tx, turn, slot, flag::ACK, conn.sent + 1, 0);
                    self.conns[slot].ack_due = false;
                    self.conns[slot].due = now + SECOND;
                }
            }
        }
    }

    fn visit_open<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, slot: usize) {
        let now = turn.now;
        let conn = &mut self.conns[slot];
        if conn.fin_received {
            let at = conn.high;
            self.send_segment(tx, turn, slot, flag::FIN | flag::ACK, at, 0);
            self.renew(slot, now, 0);
            return;
        }
        let life = if self.kind == AttackKind::BadFrames {
            CLOSE_TIMEOUT
        } else {
            LIFE
        };
        if now > conn.began + life || (conn.answered && now > conn.progress + SECOND) {
            if self.kind == AttackKind::BadFrames && !conn.answered {
                tx.tally.bump(Count::Unanswered);
            }
            self.reset(tx, turn, slot);
            return;
        }
        if conn.in_flight() > 0 && now > conn.progress + RTO {
            conn.tries += 1;
            if conn.tries > TRIES && conn.their_window > 0 {
                tx.tally.bump(Count::Unanswered);
                self.reset(tx, turn, slot);
                return;
            }
            tx.tally.bump(Count::Retransmits);
            (conn.sent, conn.progress) = (conn.acked, now);
        }
        if self.kind == AttackKind::SlowReader && now >= conn.next_read {
            (conn.credit, conn.next_read, conn.ack_due) = (READ_SIZE, now + self.interval, true);
        }
        let sent = match self.kind {
            AttackKind::Overlap => self.send_overlapping(tx, turn, slot),
            _ => self.send_in_order(tx, turn, slot),
        };
        let conn = &mut self.conns[slot];
        if !sent && conn.ack_due {
            let at = conn.sent;
            self.send_segment(tx, turn, slot, flag::ACK, at, 0);
        }
        let done = self.end(slot) == self.conns[slot].acked
            && matches!(self.kind, AttackKind::TinySegments | AttackKind::Overlap)
            && self.conns[slot].reader.is_upgraded();
        let is_trickle = self.is(slot, Slowness::Trickle);
        let conn = &mut self.conns[slot];
        conn.ack_due = false;
        if done {
            (conn.phase, conn.progress, conn.due) = (Phase::Closing, now, now + SECOND);
            let at = conn.sent;
            self.send_segment(tx, turn, slot, flag::FIN | flag::ACK, at, 0);
        } else if !sent {
            // Any received segment makes it due at once.
            conn.due = now + RTO;
            if self.kind == AttackKind::SlowReader {
                conn.due = conn.due.min(conn.next_read);
            }
            if is_trickle {
                // Earlier if a byte has to be sent again.
                conn.due = conn
                    .due
                    .max(now + MILLI)
                    .min(conn.next_read.max(now + MILLI));
            }
        }
    }
}
