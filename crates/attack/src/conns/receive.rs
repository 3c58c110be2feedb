//! The segments that connections of an attack receive.

use super::conn::{Phase, Slowness};
use super::{Conns, PAUSE};
use crate::control::{Count, Tally};
use crate::kind::AttackKind;
use crate::reader::Reply;
use crate::segment::{Segment, flag};

impl Conns {
    /// Processes a segment from the server to source `number`.
    pub(crate) fn receive(
        &mut self,
        number: u64,
        segment: &Segment<'_>,
        now: u64,
        tally: &mut Tally,
    ) {
        let slot = (number % self.conns.len() as u64) as usize;
        let window = self.window(&self.conns[slot]);
        let half_open = self.is(slot, Slowness::HalfOpen);
        let conn = &mut self.conns[slot];
        if conn.source != number || conn.phase == Phase::Idle {
            return;
        }
        let acked = segment.ack.wrapping_sub(conn.iss.wrapping_add(1));
        if segment.flags & flag::RST != 0 {
            if conn.phase != Phase::SynSent || acked == 0 {
                self.renew(slot, now, PAUSE);
            }
            return;
        }
        if segment.flags & flag::SYN != 0 {
            if conn.phase == Phase::SynSent && acked == 0 && !half_open {
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
        // One more if the FIN was sent.
        let most = conn.high + u32::from(conn.phase == Phase::Closing);
        if acked > conn.acked && acked <= most {
            conn.acked = acked.min(conn.high);
            conn.sent = conn.sent.max(conn.acked);
            (conn.progress, conn.tries, conn.due) = (now, 0, now);
        }
        if acked <= most {
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
        let conflicts = self.kind == AttackKind::Overlap && slot % 4 == 3;
        conn.reader
            .take(&segment.payload[..taken], &self.script.echo, |reply| {
                answered |= count(tally, reply, conflicts);
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

/// Counts a reply of the server. Returns whether the server is expected to close the connection after it.
fn count(tally: &mut Tally, reply: Reply, conflicts: bool) -> bool {
    let (count, last) = match reply {
        Reply::Status(101) => (Count::Upgraded, false),
        Reply::Status(400) => (Count::Http400, true),
        Reply::Status(408) => (Count::Http408, true),
        Reply::Status(426) => (Count::Http426, true),
        Reply::Status(431) => (Count::Http431, true),
        Reply::Status(503) => (Count::Http503, true),
        Reply::Status(_) => (Count::HttpOther, true),
        Reply::Echo => (Count::Echoes, false),
        // The server took the conflicting bytes.
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
