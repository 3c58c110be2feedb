//! The segments that connections of an attack send.

use hioload_device::Device;

use super::Conns;
use super::conn::{Phase, Slowness, Turn};
use crate::kind::AttackKind;
use crate::link::{Header, MOST_BEFORE_TCP};
use crate::script::Script;
use crate::segment::{TCP_HEADER, flag};
use crate::tx::TxQueue;

/// Segments of one connection in one visit.
const SEGMENTS_PER_VISIT: usize = 16;
/// Bytes in flight of a connection that sends one byte in a segment.
const TINY_WINDOW: u32 = 256;
/// Bytes in flight of other connections.
const WINDOW: u32 = 48 << 10;
/// Bytes sent out of order at once.
const CHUNK: u32 = 256;
/// MSS and no other option: windows are not scaled, so that a closed window is closed.
const OPTIONS: [u8; 4] = [2, 4, 5, 0xb4];

impl Conns {
    /// Sends a segment with `len` bytes from offset `at` on.
    pub(super) fn send_segment<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
        flags: u8,
        at: u32,
        len: usize,
    ) {
        self.send_with(tx, turn, slot, (flags, at, len), |script, case, bytes| {
            if script.cases.is_empty() {
                script.fill(at, bytes);
            } else {
                script.fill_case(case, at, bytes);
            }
        });
    }

    pub(super) fn send_with<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
        (flags, at, len): (u8, u32, usize),
        write: impl FnOnce(&Script, usize, &mut [u8]),
    ) {
        let conn = &self.conns[slot];
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

    /// Sends an RST at the next byte that the server expects, since it accepts no other (RFC 5961 §3.2). If bytes are not acknowledged
    /// yet, that is one of two positions.
    pub(super) fn send_reset<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
    ) {
        let conn = &self.conns[slot];
        let fin = u32::from(conn.phase == Phase::Closing);
        let (acked, all) = (conn.acked, conn.high + fin);
        self.send_segment(tx, turn, slot, flag::RST, all, 0);
        if acked != all {
            self.send_segment(tx, turn, slot, flag::RST, acked, 0);
        }
    }

    /// Sends data in order. Returns whether it sent something.
    pub(super) fn send_in_order<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
    ) -> bool {
        let is_trickle = self.is(slot, Slowness::Trickle);
        let tiny = is_trickle || self.kind == AttackKind::TinySegments;
        let (piece, most) = if tiny {
            (1, TINY_WINDOW)
        } else {
            (turn.room as u32, WINDOW)
        };
        let end = self.end(slot);
        let mut sent = false;
        if is_trickle && turn.now < self.conns[slot].next_read {
            return false;
        }
        for _ in 0..if is_trickle { 1 } else { SEGMENTS_PER_VISIT } {
            let conn = &mut self.conns[slot];
            let window = most.min(conn.their_window.into());
            let room = window.saturating_sub(conn.in_flight());
            let len = piece.min(room).min(end.saturating_sub(conn.sent));
            if len == 0 || !tx.is_open() {
                break;
            }
            let at = conn.sent;
            if conn.in_flight() == 0 {
                conn.progress = turn.now;
            }
            conn.sent += len;
            conn.high = conn.high.max(conn.sent);
            self.send_segment(tx, turn, slot, flag::ACK | flag::PSH, at, len as usize);
            sent = true;
        }
        if is_trickle {
            let conn = &mut self.conns[slot];
            conn.ack_due &= !sent;
            if sent {
                conn.next_read = turn.now + self.interval;
            }
            return false;
        }
        sent
    }

    /// Sends a chunk of data in overlapping segments out of order. Bytes acknowledged before are sent again with other content, which
    /// the receiver has to ignore. On every fourth connection this also happens to bytes that are not acknowledged. There the receiver
    /// takes either content, and the stream may break.
    pub(super) fn send_overlapping<D: Device>(
        &mut self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
    ) -> bool {
        let end = self.end(slot);
        let conn = &mut self.conns[slot];
        if conn.in_flight() > 0 {
            return false;
        }
        let start = conn.acked;
        let len = CHUNK
            .min(end.saturating_sub(start))
            .min(conn.their_window.into());
        if len == 0 {
            return false;
        }
        let conflicts = slot % 4 == 3;
        let (quarter, half) = (len / 4, len / 2);
        let mut sent = false;
        conn.progress = turn.now;
        // Offset in the chunk, length, and whether the content is garbled.
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
                self.send_piece(tx, turn, slot, start + from, length, garbled);
                sent = true;
            }
        }
        if start >= 32 {
            self.send_piece(tx, turn, slot, start - 32, 32, true);
        }
        let conn = &mut self.conns[slot];
        conn.sent = start + len;
        conn.high = conn.high.max(conn.sent);
        sent
    }

    pub(super) fn send_piece<D: Device>(
        &self,
        tx: &mut TxQueue<'_, D>,
        turn: &Turn<'_>,
        slot: usize,
        at: u32,
        len: u32,
        garbled: bool,
    ) {
        let what = (flag::ACK, at, len as usize);
        self.send_with(tx, turn, slot, what, |script, _, bytes| {
            script.fill(at, bytes);
            if garbled {
                for byte in bytes {
                    *byte ^= 0x55;
                }
            }
        });
    }
}
