//! Workarounds for defects of smoltcp 0.14: some segments are changed, split or added before smoltcp gets them.
//!
//! - A FIN after payload that does not fit into the window: smoltcp truncates the payload and accepts the FIN, so the stream would
//!   lose its last bytes. A FIN after payload that was received before: smoltcp drops both. So the FIN is removed, and injected
//!   on its own after the payload. Then smoltcp checks that all bytes before it have been received.
//! - Acknowledgements while only our FIN is outstanding: the third equal one begins a fast retransmission, which has no data to
//!   send and stops the timer, so the FIN is never retransmitted. Each gets another window, so that smoltcp does not count them
//!   as duplicates. There is nothing left to send that the window could limit.
//! - The acknowledgement in a segment that was received before: smoltcp drops the segment (RFC 9293 §3.10.7.4). After a timeout,
//!   smoltcp sets SND.NXT back, and sends even empty acknowledgements with that sequence number. If both ends did so, neither
//!   would accept a segment of the other any more. So the acknowledgement is injected on its own with RCV.NXT.
//! - The acknowledgement in a segment that finds our window zero: smoltcp drops it, although RFC 9293 §3.10.7.4 makes an allowance
//!   for it. If both windows are zero, neither end would learn that the other's has opened. The segment of a correct peer may
//!   even lie a few bytes beyond the window: a scaled window is rounded down, each time at another place, so its right edge
//!   moves back by less than its unit. So this acknowledgement is injected on its own, too.
//!
//! smoltcp loses two timers. If the retransmission timer fires while the window is zero, no other is set. When a zero window
//! opens, the probe timer stops, and the bytes in flight have no timer. Such a flow would wait for ever, and its keep-alive
//! would put a zero byte into the stream in place of the last byte in flight. So an acknowledgement is injected that repeats
//! the zero window, or three that begin a fast retransmission.
//!
//! A FIN of ours after the peer's, with data before it: while both are outstanding, smoltcp answers duplicate acknowledgements with
//! a challenge and ignores their window, so a zero window would never open. Such a FIN is delayed until all bytes before it are
//! acknowledged.

use hioload_device::{Device, Frame};
use smoltcp::socket::tcp::State;

use crate::flow_flags::FlowFlags;
use crate::info::{Stuck, has_no_timer};
use crate::parse::{Segment, flags};
use crate::port::Lent;
use crate::raw_segment::RawSegment;
use crate::stack::{Stack, instant};
use crate::tuple::Tuple;

/// The unit of the scaled windows of the largest rings, in bytes.
const ROUNDED: usize = 16;

/// An IP packet that consists of headers.
pub(crate) struct Headers {
    bytes: [u8; 256],
    len: usize,
    tcp: usize,
}

impl Headers {
    /// The headers of a segment; `None` if they are longer than 256 bytes.
    pub(crate) fn of(frame: &[u8], segment: &Segment) -> Option<Self> {
        let (ip, tcp) = (usize::from(segment.ip_at), usize::from(segment.tcp_at));
        let headers = frame.get(ip..usize::from(segment.payload.start))?;
        let mut bytes = [0; 256];
        bytes.get_mut(..headers.len())?.copy_from_slice(headers);
        let len = headers.len();
        // The checksums have been verified, and smoltcp does not verify them again.
        if segment.tuple.is_v4() {
            bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        } else {
            bytes[4..6].copy_from_slice(&(len.checked_sub(40)? as u16).to_be_bytes());
        }
        let tcp = tcp.checked_sub(ip).filter(|tcp| tcp + 20 <= len)?;
        Some(Self { bytes, len, tcp })
    }

    pub(crate) fn with_seq(mut self, seq: u32) -> Self {
        self.bytes[self.tcp + 4..self.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        self
    }

    pub(crate) fn with_flags(mut self, flags: u8) -> Self {
        self.bytes[self.tcp + 13] = flags;
        self
    }

    pub(crate) fn with_window(mut self, window: u16) -> Self {
        self.bytes[self.tcp + 14..self.tcp + 16].copy_from_slice(&window.to_be_bytes());
        self
    }

    pub(crate) fn packet(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Whether only our FIN can be outstanding.
#[inline]
pub(crate) fn only_fin_is_left(state: State, queued: usize) -> bool {
    queued == 0 && matches!(state, State::FinWait1 | State::Closing | State::LastAck)
}

/// Whether a segment is an empty acknowledgement.
#[inline]
pub(crate) fn only_acknowledges(segment: &Segment) -> bool {
    segment.payload.is_empty()
        && segment.flags & (flags::SYN | flags::FIN | flags::RST | flags::ACK) == flags::ACK
}

impl<D: Device> Stack<D> {
    /// Removes a FIN that follows payload. Returns whether there was one.
    #[inline]
    pub(crate) fn strip_fin(frame: &mut D::Frame, segment: &Segment) -> bool {
        if segment.flags & flags::FIN == 0 || segment.payload.is_empty() {
            return false;
        }
        let at = usize::from(segment.tcp_at) + 13;
        match frame.bytes_mut().get_mut(at) {
            Some(byte) => *byte &= !flags::FIN,
            None => return false,
        }
        true
    }

    /// Injects the FIN that was removed.
    #[cold]
    pub(crate) fn inject_fin(&mut self, slot: u32, frame: &D::Frame, segment: &Segment) {
        let seq = segment.seq.wrapping_add(segment.payload.len() as u32);
        if let Some(headers) = Headers::of(frame.bytes(), segment) {
            let headers = headers.with_flags(flags::FIN | flags::ACK);
            self.inject(slot, headers.with_seq(seq).packet());
        }
    }

    /// Injects the acknowledgement of a segment whose payload was received before, if smoltcp has just answered it so.
    #[cold]
    pub(crate) fn inject_old_ack(&mut self, slot: u32, frame: &D::Frame, segment: &Segment) {
        let Some(expected) = self.port.last.map(|answer| answer.ack) else {
            return;
        };
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        let is_old = end.wrapping_sub(expected) as i32 <= 0;
        if !is_old {
            return;
        }
        if let Some(headers) = Headers::of(frame.bytes(), segment) {
            let headers = headers.with_flags(flags::ACK);
            self.inject(slot, headers.with_seq(expected).packet());
        }
    }

    /// Whether a segment had no effect perhaps because it found a zero window, with `received` bytes in the ring.
    #[inline]
    pub(crate) fn may_be_too_early(&self, received: usize, segment: &Segment) -> bool {
        let rare = flags::SYN | flags::FIN | flags::RST | flags::ACK;
        self.config.rx_ring.saturating_sub(received) <= ROUNDED
            && segment.flags & rare == flags::ACK
    }

    /// Injects the acknowledgement of a segment beyond the right edge of our zero window, with each sequence number that RCV.NXT
    /// can be because of the rounding. smoltcp accepts at most one of them. Its answers to the others are dropped.
    #[cold]
    pub(crate) fn inject_early_ack(&mut self, slot: u32, frame: &D::Frame, segment: &Segment) {
        // A segment without payload at exactly RCV.NXT has been accepted already.
        let first = u32::from(segment.payload.is_empty());
        let answer = self.port.last;
        self.port.hold = true;
        for beyond in first..ROUNDED as u32 {
            if let Some(headers) = Headers::of(frame.bytes(), segment) {
                let headers = headers.with_flags(flags::ACK);
                self.inject(
                    slot,
                    headers.with_seq(segment.seq.wrapping_sub(beyond)).packet(),
                );
            }
        }
        self.port.hold = false;
        self.port.held = None;
        self.port.last = answer;
    }

    /// Hands an injected packet to the socket of a flow.
    pub(crate) fn inject(&mut self, slot: u32, packet: &[u8]) {
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        let mut lent = Lent {
            port: &mut self.port,
            packet: Some(packet),
            mtu: 0,
        };
        let now = instant(self.now);
        self.flows.sockets.with_set(slot, |set| {
            interface.poll_ingress_single(now, &mut lent, set);
        });
    }

    /// Ends the sending side of a flow, at once or when all is acknowledged.
    pub(crate) fn close(&mut self, slot: u32) {
        let waits = self.flows.sockets.with(slot, |socket| {
            socket.state() == State::CloseWait && socket.send_queue() > 0
        });
        if waits == Some(true) {
            self.flows.hot_mut(slot).set_closes_when_sent(true);
        } else {
            self.flows.sockets.with_mut(slot, |socket| socket.close());
        }
    }

    /// Sends a delayed FIN after the last byte was acknowledged.
    #[inline]
    pub(crate) fn all_is_sent(&mut self, slot: u32) {
        if self.flows.hot(slot).closes_when_sent() {
            self.flows.hot_mut(slot).set_closes_when_sent(false);
            self.flows.sockets.with_mut(slot, |socket| socket.close());
            self.touch(slot);
        }
    }

    /// Whether a flow has bytes to send, but no timer to retransmit them.
    fn is_stuck(&self, slot: u32) -> bool {
        let sockets = &self.flows.sockets;
        let is = sockets.with(slot, |socket| {
            socket.send_queue() > 0 && has_no_timer(socket)
        });
        is == Some(true)
    }

    /// Makes smoltcp set the timer of a flow again, if it has lost it. Returns `false` if the rate limit is reached; then the
    /// caller tries again later.
    #[cold]
    pub(crate) fn unstick(&mut self, slot: u32) -> bool {
        if !self.is_stuck(slot) {
            return true;
        }
        if !self.window_dumps.allow(self.now) {
            return false;
        }
        self.stats.socket_dumps += 1;
        if let Some(stuck) = self.stuck(slot) {
            if stuck.window > 0 {
                self.flows.hot_mut(slot).clear(FlowFlags::ZERO_WINDOW);
            }
            self.inject_windows(slot, stuck);
        }
        true
    }

    /// The same for a flow whose peer has just opened its window with `segment`, which smoltcp has accepted.
    #[cold]
    pub(crate) fn unstick_by(&mut self, slot: u32, segment: &Segment) {
        if !self.is_stuck(slot) {
            return;
        }
        let losses = self.flows.hot(slot).losses;
        let stuck = Stuck {
            is_idle: true,
            acknowledged: losses.acked,
            // SND.NXT is not known. If nothing is in flight, the injected acknowledgements have no effect.
            sent: losses.acked.wrapping_add(1),
            expected: losses.expected,
            window: segment.window,
        };
        self.inject_windows(slot, stuck);
    }

    /// The tuple of the segments from the peer of a flow.
    fn reverse_of(&self, slot: u32) -> Option<Tuple> {
        let tuple = self.flows.tuple(slot)?;
        Tuple::new(tuple.remote(), tuple.local())
    }

    /// Injects acknowledgements that make smoltcp set a timer.
    fn inject_windows(&mut self, slot: u32, stuck: Stuck) {
        if !stuck.is_idle {
            return;
        }
        let in_flight = stuck.sent != stuck.acknowledged;
        match stuck.window {
            0 => self.inject_acks(slot, stuck.expected, stuck.acknowledged, &[0]),
            open if in_flight => {
                self.inject_duplicate_acks(slot, stuck.expected, stuck.acknowledged, open);
            }
            _ => {}
        }
    }

    /// Injects three duplicate acknowledgements, which begin a fast retransmission. Two with other windows precede them, so that
    /// smoltcp counts the three from one.
    pub(crate) fn inject_duplicate_acks(&mut self, slot: u32, seq: u32, ack: u32, open: u16) {
        self.inject_acks(slot, seq, ack, &[open ^ 1, open, open, open, open]);
    }

    /// Injects empty acknowledgements of the peer, one with each of these windows.
    fn inject_acks(&mut self, slot: u32, seq: u32, ack: u32, windows: &[u16]) {
        let Some(from_peer) = self.reverse_of(slot) else {
            return;
        };
        let mut packet = [0; 60];
        for &window in windows {
            let bare = RawSegment {
                seq,
                ack,
                flags: flags::ACK,
                window,
                timestamp: None,
            };
            if let Some(packet) = packet.get_mut(..bare.len(&from_peer)) {
                bare.write(&from_peer, packet);
                self.inject(slot, packet);
            }
        }
    }

    /// A window that differs from that of the last acknowledgement.
    pub(crate) fn other_window(&mut self) -> u16 {
        self.window = self.window.wrapping_add(1).max(1);
        self.window
    }
}
