//! Connections of attacks: a client of TCP that knows the next byte in both directions and little else. Their number is fixed, each
//! takes its sources in turn, and nothing is allocated once they are made.

use hioload_device::Device;

use crate::control::{Count, Tally};
use crate::plan::{Attack, AttackKind};
use crate::reader::{Reader, Reply};
use crate::rng::Rng;
use crate::script::Script;
use crate::sources::Sources;
use crate::tx::TxQueue;
use crate::wire::{Header, Link, MOST_BEFORE_TCP, Segment, TCP_HEADER, flag};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;
/// Until something that was not acknowledged is sent again.
const RTO: u64 = 300 * MILLI;
/// Between two SYNs of one connection.
const SYN_RTO: u64 = SECOND;
/// Times something is sent again before a connection is given up.
const TRIES: u8 = 6;
/// Until a place is used again, after its connection was refused or reset.
const PAUSE: u64 = 50 * MILLI;
/// Of a half-open handshake that is not meant to be completed.
const HALF_OPEN: u64 = 5 * SECOND;
/// Of a connection on which the server was told something wrong, until it should have ended it.
const CLOSE_TIMEOUT: u64 = 5 * SECOND;
/// Of any connection.
const LIFE: u64 = 60 * SECOND;
/// Connections looked at in one turn.
const VISITS_PER_TURN: usize = 256;
/// Segments of one connection in one visit.
const SEGMENTS_PER_VISIT: usize = 16;
/// Messages of a connection that next_read its echoes.
const MESSAGES: u32 = 32;
/// Bytes under way: where each has a segment of its own, and else.
const FEW_UNDER_WAY: u32 = 256;
const MUCH_UNDER_WAY: u32 = 48 << 10;
/// Bytes sent out of order at once.
const CHUNK: u32 = 256;
/// Bytes that a slow reader next_read at a time. Into a smaller window Linux sends nothing but probes.
const READ_SIZE: u16 = 64;
/// MSS and nothing else: windows are not scaled, so a closed one is closed.
const OPTIONS: [u8; 4] = [2, 4, 5, 0xb4];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Idle,
    SynSent,
    Open,
    /// Our FIN was sent.
    Closing,
}

/// How a slow handshake is slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slowness {
    /// The SYN-ACK is not answered.
    HalfOpen,
    /// Nothing is said.
    Mute,
    /// The request comes byte by byte and never ends.
    Trickle,
}

/// One connection. Offsets count from the first byte that is said.
#[derive(Clone, Copy, Debug)]
struct Conn {
    phase: Phase,
    /// Where it comes from.
    source: u64,
    iss: u32,
    /// Reply next, said at most, and acknowledged.
    sent: u32,
    high: u32,
    acked: u32,
    /// The next number expected.
    expected: u32,
    their_window: u16,
    /// Of a slow reader: what it will read.
    credit: u16,
    tries: u8,
    /// Something came that has to be acknowledged.
    ack_due: bool,
    /// The server has finished, or has said that it will.
    fin_received: bool,
    answered: bool,
    reader: Reader,
    /// Nanoseconds: when it has something to do, when it began, when an acknowledgement was last new, and when who is slow next_read or
    /// says something again.
    due: u64,
    began: u64,
    progress: u64,
    next_read: u64,
    /// Of broken requests and frames: which.
    case: u32,
}

impl Conn {
    fn new(source: u64) -> Self {
        Self {
            phase: Phase::Idle,
            source,
            iss: 0,
            sent: 0,
            high: 0,
            acked: 0,
            expected: 0,
            their_window: 0,
            credit: 0,
            tries: 0,
            ack_due: false,
            fin_received: false,
            answered: false,
            reader: Reader::new(),
            due: 0,
            began: 0,
            progress: 0,
            next_read: 0,
            case: 0,
        }
    }

    fn under_way(&self) -> u32 {
        self.sent.wrapping_sub(self.acked)
    }
}

/// The connections of one attack on one lcore.
pub(crate) struct Conns {
    kind: AttackKind,
    script: Script,
    conns: Vec<Conn>,
    /// Times each place has another source.
    rounds: u64,
    /// Nanoseconds.
    interval: u64,
    rng: Rng,
    cursor: usize,
    /// Connections looked at since the attack was ended.
    ended: usize,
}

/// What a turn has for all connections.
struct Turn<'a> {
    link: &'a Link,
    sources: &'a Sources,
    now: u64,
    /// Payload of a segment.
    room: usize,
}

impl Conns {
    /// `connections` of them, and no more than there are sources.
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

    /// The attack begins at `now`.
    pub(crate) fn start(&mut self, now: u64) {
        self.ended = 0;
        for place in 0..self.conns.len() {
            self.renew(place, now, 0);
        }
    }

    /// Does what is due.
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
            let place = self.cursor;
            self.cursor = (place + 1) % self.conns.len();
            if self.conns[place].due <= now {
                self.visit(tx, &turn, place);
            }
        }
    }

    /// After the end of the attack: resets what is open. Whether that is all.
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
            let place = self.ended;
            if matches!(self.conns[place].phase, Phase::Open | Phase::Closing) {
                self.send_reset(tx, &turn, place);
                if tx.stuck {
                    break;
                }
            }
            self.conns[place].phase = Phase::Idle;
            self.conns[place].due = u64::MAX;
            self.ended += 1;
        }
        self.ended == self.conns.len()
    }

    fn slowness(place: usize) -> Slowness {
        [Slowness::HalfOpen, Slowness::Mute, Slowness::Trickle][place % 3]
    }

    fn is(&self, place: usize, slowness: Slowness) -> bool {
        self.kind == AttackKind::SlowHandshake && Self::slowness(place) == slowness
    }

    /// The window of a connection.
    fn window(&self, conn: &Conn) -> u16 {
        match self.kind {
            AttackKind::ZeroWindow if conn.reader.is_upgraded() => 0,
            AttackKind::SlowReader => conn.credit,
            _ => u16::MAX,
        }
    }

    /// Bytes that may be said by now.
    fn end(&self, place: usize) -> u32 {
        let conn = &self.conns[place];
        let upgraded = conn.reader.is_upgraded();
        let head = self.script.head.len() as u32;
        match self.kind {
            AttackKind::BadFrames => {
                let case = &self.script.cases[conn.case as usize % self.script.cases.len()];
                let tail = if upgraded { case.tail.len() } else { 0 };
                (case.head.len() + tail) as u32
            }
            AttackKind::SlowHandshake => match Self::slowness(place) {
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

    /// Sends a segment with `len` bytes from offset `at` on.
    fn send_segment<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        place: usize,
        flags: u8,
        at: u32,
        len: usize,
    ) {
        self.send_with(tx, turn, place, (flags, at, len), |script, case, bytes| {
            if script.cases.is_empty() {
                script.fill(at, bytes);
            } else {
                script.fill_case(case, at, bytes);
            }
        });
    }

    fn send_with<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        place: usize,
        (flags, at, len): (u8, u32, usize),
        write: impl FnOnce(&Script, usize, &mut [u8]),
    ) {
        let conn = &self.conns[place];
        let syn = flags & flag::SYN != 0;
        let header = Header {
            flags,
            seq: conn.iss.wrapping_add(at).wrapping_add(u32::from(!syn)),
            ack: if flags & flag::ACK == 0 {
                0
            } else {
                conn.expected
            },
            window: self.window(conn),
            options: if syn { &OPTIONS } else { &[] },
        };
        let from = turn.sources.get(conn.source);
        let most = MOST_BEFORE_TCP + TCP_HEADER + OPTIONS.len() + len;
        let script = &self.script;
        tx.send(most, |out| {
            turn.link.segment(out, from, &header, len, |bytes| {
                write(script, conn.case as usize, bytes);
            })
        });
    }

    /// The next connection of a place, from another source, after `pause`.
    fn renew(&mut self, place: usize, now: u64, pause: u64) {
        let places = self.conns.len() as u64;
        let conn = &mut self.conns[place];
        let round = (conn.source / places + 1) % self.rounds;
        *conn = Conn {
            due: now + pause,
            case: conn.case.wrapping_add(places as u32 | 1),
            ..Conn::new(round * places + place as u64)
        };
    }

    /// An RST at the next byte that the server expects: it believes no other (RFC 5961 §3.2). What was not acknowledged may have
    /// been lost.
    fn send_reset<D: Device>(&self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, place: usize) {
        let conn = &self.conns[place];
        let fin = u32::from(conn.phase == Phase::Closing);
        let (acked, all) = (conn.acked, conn.high + fin);
        self.send_segment(tx, turn, place, flag::RST, all, 0);
        if acked != all {
            self.send_segment(tx, turn, place, flag::RST, acked, 0);
        }
    }

    fn reset<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, place: usize) {
        self.send_reset(tx, turn, place);
        self.renew(place, turn.now, PAUSE);
    }

    fn visit<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, place: usize) {
        let now = turn.now;
        match self.conns[place].phase {
            Phase::Idle => {
                let iss = self.rng.next() as u32;
                let credit = if self.kind == AttackKind::SlowReader {
                    READ_SIZE
                } else {
                    0
                };
                let conn = &mut self.conns[place];
                (conn.phase, conn.iss, conn.credit) = (Phase::SynSent, iss, credit);
                (conn.began, conn.progress, conn.due) = (now, now, now + SYN_RTO);
                self.send_segment(tx, turn, place, flag::SYN, 0, 0);
            }
            Phase::SynSent => {
                let half_open = self.is(place, Slowness::HalfOpen);
                let conn = &mut self.conns[place];
                conn.tries += 1;
                conn.due = now + SYN_RTO;
                if half_open {
                    if now > conn.began + HALF_OPEN {
                        self.renew(place, now, 0);
                    }
                } else if conn.tries > TRIES {
                    tx.tally.bump(Count::Unanswered);
                    self.renew(place, now, PAUSE);
                } else {
                    tx.tally.bump(Count::Retransmits);
                    self.send_segment(tx, turn, place, flag::SYN, 0, 0);
                }
            }
            Phase::Open => self.visit_open(tx, turn, place),
            Phase::Closing => {
                let conn = &self.conns[place];
                if conn.fin_received {
                    self.send_segment(tx, turn, place, flag::ACK, conn.sent + 1, 0);
                    self.renew(place, now, 0);
                } else if now > conn.progress + SECOND {
                    self.reset(tx, turn, place);
                } else if conn.ack_due {
                    self.send_segment(tx, turn, place, flag::ACK, conn.sent + 1, 0);
                    self.conns[place].ack_due = false;
                    self.conns[place].due = now + SECOND;
                }
            }
        }
    }

    fn visit_open<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, place: usize) {
        let now = turn.now;
        let conn = &mut self.conns[place];
        if conn.fin_received {
            let at = conn.high;
            self.send_segment(tx, turn, place, flag::FIN | flag::ACK, at, 0);
            self.renew(place, now, 0);
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
            self.reset(tx, turn, place);
            return;
        }
        if conn.under_way() > 0 && now > conn.progress + RTO {
            conn.tries += 1;
            if conn.tries > TRIES && conn.their_window > 0 {
                tx.tally.bump(Count::Unanswered);
                self.reset(tx, turn, place);
                return;
            }
            tx.tally.bump(Count::Retransmits);
            (conn.sent, conn.progress) = (conn.acked, now);
        }
        if self.kind == AttackKind::SlowReader && now >= conn.next_read {
            (conn.credit, conn.next_read, conn.ack_due) = (READ_SIZE, now + self.interval, true);
        }
        let said = match self.kind {
            AttackKind::Overlap => self.overlap(tx, turn, place),
            _ => self.go_on(tx, turn, place),
        };
        let conn = &mut self.conns[place];
        if !said && conn.ack_due {
            let at = conn.sent;
            self.send_segment(tx, turn, place, flag::ACK, at, 0);
        }
        let done = self.end(place) == self.conns[place].acked
            && matches!(self.kind, AttackKind::TinySegments | AttackKind::Overlap)
            && self.conns[place].reader.is_upgraded();
        let trickles = self.is(place, Slowness::Trickle);
        let conn = &mut self.conns[place];
        conn.ack_due = false;
        if done {
            (conn.phase, conn.progress, conn.due) = (Phase::Closing, now, now + SECOND);
            let at = conn.sent;
            self.send_segment(tx, turn, place, flag::FIN | flag::ACK, at, 0);
        } else if !said {
            // Whatever comes makes it due at once.
            conn.due = now + RTO;
            if self.kind == AttackKind::SlowReader {
                conn.due = conn.due.min(conn.next_read);
            }
            if trickles {
                // Sooner if a byte is to be said again.
                conn.due = conn
                    .due
                    .max(now + MILLI)
                    .min(conn.next_read.max(now + MILLI));
            }
        }
    }

    /// Says what there is to send_segment, in order. Whether it said something.
    fn go_on<D: Device>(&mut self, tx: &mut TxQueue<'_, D>, turn: &Turn<'_>, place: usize) -> bool {
        let trickles = self.is(place, Slowness::Trickle);
        let tiny = trickles || self.kind == AttackKind::TinySegments;
        let (piece, most) = if tiny {
            (1, FEW_UNDER_WAY)
        } else {
            (turn.room as u32, MUCH_UNDER_WAY)
        };
        let end = self.end(place);
        let mut said = false;
        if trickles && turn.now < self.conns[place].next_read {
            return false;
        }
        for _ in 0..if trickles { 1 } else { SEGMENTS_PER_VISIT } {
            let conn = &mut self.conns[place];
            let window = most.min(conn.their_window.into());
            let room = window.saturating_sub(conn.under_way());
            let len = piece.min(room).min(end.saturating_sub(conn.sent));
            if len == 0 || !tx.is_open() {
                break;
            }
            let at = conn.sent;
            if conn.under_way() == 0 {
                conn.progress = turn.now;
            }
            conn.sent += len;
            conn.high = conn.high.max(conn.sent);
            self.send_segment(tx, turn, place, flag::ACK | flag::PSH, at, len as usize);
            said = true;
        }
        if trickles {
            let conn = &mut self.conns[place];
            conn.ack_due &= !said;
            if said {
                conn.next_read = turn.now + self.interval;
            }
            return false;
        }
        said
    }

    /// Says a part of what there is to send_segment in segments out of order that overlap. What was acknowledged before comes again with
    /// other bytes, and has to be ignored. On every fourth connection so do bytes that were not: there the receiver takes the ones
    /// or the others, and the stream may break.
    fn overlap<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        place: usize,
    ) -> bool {
        let end = self.end(place);
        let conn = &mut self.conns[place];
        if conn.under_way() > 0 {
            return false;
        }
        let start = conn.acked;
        let len = CHUNK
            .min(end.saturating_sub(start))
            .min(conn.their_window.into());
        if len == 0 {
            return false;
        }
        let conflicts = place % 4 == 3;
        let (quarter, half) = (len / 4, len / 2);
        let mut said = false;
        conn.progress = turn.now;
        // From the start of the chunk: where, how long, and whether with other bytes.
        let pieces = [
            (half, len - half, false),
            (quarter + half, len - quarter - half, conflicts),
            (quarter, half, conflicts),
            (half, quarter, false),
            (0, half, false),
            (0, len, false),
        ];
        for (from, length, garbled) in pieces {
            if length > 0 && tx.is_open() {
                self.piece(tx, turn, place, start + from, length, garbled);
                said = true;
            }
        }
        if start >= 32 {
            self.piece(tx, turn, place, start - 32, 32, true);
        }
        let conn = &mut self.conns[place];
        conn.sent = start + len;
        conn.high = conn.high.max(conn.sent);
        said
    }

    fn piece<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        place: usize,
        at: u32,
        len: u32,
        garbled: bool,
    ) {
        let what = (flag::ACK, at, len as usize);
        self.send_with(tx, turn, place, what, |script, _, bytes| {
            script.fill(at, bytes);
            if garbled {
                for byte in bytes {
                    *byte ^= 0x55;
                }
            }
        });
    }

    /// A segment from the server to source `number`.
    pub(crate) fn receive(
        &mut self,
        number: u64,
        segment: &Segment<'_>,
        now: u64,
        tally: &mut Tally,
    ) {
        let place = (number % self.conns.len() as u64) as usize;
        let window = self.window(&self.conns[place]);
        let half_open = self.is(place, Slowness::HalfOpen);
        let conn = &mut self.conns[place];
        if conn.source != number || conn.phase == Phase::Idle {
            return;
        }
        let said = segment.ack.wrapping_sub(conn.iss.wrapping_add(1));
        if segment.flags & flag::RST != 0 {
            if conn.phase != Phase::SynSent || said == 0 {
                self.renew(place, now, PAUSE);
            }
            return;
        }
        if segment.flags & flag::SYN != 0 {
            if conn.phase == Phase::SynSent && said == 0 && !half_open {
                conn.phase = Phase::Open;
                conn.expected = segment.seq.wrapping_add(1);
                conn.their_window = segment.window;
                (conn.progress, conn.tries) = (now, 0);
                conn.next_read = now + self.interval;
                tally.bump(Count::Opened);
            }
            if conn.phase != Phase::SynSent {
                (conn.ack_due, conn.due) = (true, now);
            }
            return;
        }
        if conn.phase == Phase::SynSent {
            return;
        }
        // One more, if our FIN is among what was said.
        let most = conn.high + u32::from(conn.phase == Phase::Closing);
        if said > conn.acked && said <= most {
            conn.acked = said.min(conn.high);
            conn.sent = conn.sent.max(conn.acked);
            (conn.progress, conn.tries, conn.due) = (now, 0, now);
        }
        if said <= most {
            let opened = conn.their_window == 0 && segment.window > 0;
            conn.their_window = segment.window;
            if opened {
                (conn.due, conn.progress) = (now, now);
            }
        }
        if segment.payload.is_empty() && segment.flags & flag::FIN == 0 {
            return;
        }
        (conn.ack_due, conn.due) = (true, now);
        if segment.seq != conn.expected {
            return;
        }
        let taken = segment.payload.len().min(window.into());
        conn.credit = conn.credit.saturating_sub(taken as u16);
        conn.expected = conn.expected.wrapping_add(taken as u32);
        let mut answered = false;
        let conflicts = self.kind == AttackKind::Overlap && place % 4 == 3;
        conn.reader
            .take(&segment.payload[..taken], &self.script.echo, |said| {
                answered |= count(tally, said, conflicts);
            });
        if answered {
            conn.answered = true;
            conn.progress = now;
        }
        if segment.flags & flag::FIN != 0 && taken == segment.payload.len() {
            conn.expected = conn.expected.wrapping_add(1);
            conn.fin_received = true;
            tally.bump(Count::Closed);
        }
    }
}

/// Counts what a server has said. Whether that was its last word.
fn count(tally: &mut Tally, said: Reply, conflicts: bool) -> bool {
    let (count, last) = match said {
        Reply::Status(101) => (Count::Upgraded, false),
        Reply::Status(400) => (Count::Http400, true),
        Reply::Status(408) => (Count::Http408, true),
        Reply::Status(426) => (Count::Http426, true),
        Reply::Status(431) => (Count::Http431, true),
        Reply::Status(503) => (Count::Http503, true),
        Reply::Status(_) => (Count::HttpOther, true),
        Reply::Echo => (Count::Echoes, false),
        // The other bytes came back.
        Reply::Wrong if conflicts => return true,
        Reply::Wrong => (Count::Wrong, true),
        Reply::Close(1002) => (Count::Close1002, true),
        Reply::Close(1007) => (Count::Close1007, true),
        Reply::Close(1009) => (Count::Close1009, true),
        Reply::Close(_) => (Count::CloseOther, true),
    };
    tally.bump(count);
    last
}
