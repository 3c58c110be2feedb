//! Segments that smoltcp 0.14 would misunderstand, told to it in another way.
//!
//! - A FIN behind payload that does not all fit into the window: smoltcp cuts the payload and takes the FIN, so the stream
//!   would end without its last bytes. And a FIN behind payload that was all received before: smoltcp drops both. So the FIN is
//!   taken off, and handed over on its own after the payload; then smoltcp looks whether all before it is there.
//! - Acknowledgements while nothing but our FIN is outstanding: the third equal one begins a fast retransmission, which
//!   has no data to send, stops the timer, and so gives the FIN up for ever. They are handed over with a window that
//!   differs each time, which smoltcp does not take for repetitions; nothing is left for which the window counts.
//! - The acknowledgement in a segment that was all received before: dropped with it (as RFC 9293 §3.10.7.4 says). After its
//!   retransmission timer fired, smoltcp goes back, and sends even bare acknowledgements with the sequence number that it is
//!   at now. If both ends did so, neither would hear the other ever again. So the acknowledgement is handed over on
//!   its own, with the sequence number that is expected.
//! - The acknowledgement in a segment that finds our window closed: dropped with it, though RFC 9293 §3.10.7.4 makes an
//!   allowance for it. If both ends wait for each other's window, neither would hear that it is open. A peer may even stand a
//!   few bytes beyond the window without having done wrong: a scaled window is rounded down, at another place each time, so
//!   its end moves back by less than one unit of it. So such an acknowledgement is handed over on its own, too.
//!
//! And two timers that smoltcp loses. The retransmission timer that fires while the window is closed sets no other; and when a
//! closed window opens again, the probe's timer stops, but what was in flight then has none. Such a flow would wait
//! for ever (and a probe of its silent peer would put a zero byte into the stream: it is sent in the place of the last
//! byte in flight). So it is told by its peer, in an acknowledgement made up here, that the window is still closed, or
//! three times that something is missing.
//!
//! And a FIN after the peer's, with data before it: while both are outstanding smoltcp answers acknowledgements of nothing new
//! with a challenge and forgets them, the window with them; so a window that had been closed would never open again. Such a
//! FIN waits until all before it is acknowledged.

use hioload_device::{Device, Frame};
use smoltcp::socket::tcp::State;

use crate::flow_flags::FlowFlags;
use crate::info::{Stuck, has_no_timer};
use crate::parse::{Segment, flags};
use crate::port::Lent;
use crate::raw_segment::RawSegment;
use crate::stack::{Stack, instant};
use crate::tuple::Tuple;

/// The unit of the windows of the largest rings, in bytes.
const ROUNDED: usize = 16;

/// An IP packet of headers alone.
pub(crate) struct Headers {
    bytes: [u8; 256],
    len: usize,
    tcp: usize,
}

impl Headers {
    /// Those of a segment; `None` if they are longer than any that should be.
    pub(crate) fn of(frame: &[u8], segment: &Segment) -> Option<Self> {
        let (ip, tcp) = (usize::from(segment.ip_at), usize::from(segment.tcp_at));
        let headers = frame.get(ip..usize::from(segment.payload.start))?;
        let mut bytes = [0; 256];
        bytes.get_mut(..headers.len())?.copy_from_slice(headers);
        let len = headers.len();
        // The IP header's checksum, like TCP's, has been verified: nobody looks at it again.
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

/// Whether nothing but our FIN can be outstanding.
#[inline]
pub(crate) fn only_fin_is_left(state: State, queued: usize) -> bool {
    queued == 0 && matches!(state, State::FinWait1 | State::Closing | State::LastAck)
}

/// Whether a segment does nothing but acknowledge.
#[inline]
pub(crate) fn only_acknowledges(segment: &Segment) -> bool {
    segment.payload.is_empty()
        && segment.flags & (flags::SYN | flags::FIN | flags::RST | flags::ACK) == flags::ACK
}

impl<D: Device> Stack<D> {
    /// Whether a FIN has to be handed over after the payload before it; if so, it is taken off.
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

    /// Hands over the FIN that was taken off.
    #[cold]
    pub(crate) fn inject_fin(&mut self, slot: u32, frame: &D::Frame, segment: &Segment) {
        let seq = segment.seq.wrapping_add(segment.payload.len() as u32);
        if let Some(headers) = Headers::of(frame.bytes(), segment) {
            let headers = headers.with_flags(flags::FIN | flags::ACK);
            self.inject(slot, headers.with_seq(seq).packet());
        }
    }

    /// Hands over the acknowledgement of a segment whose payload was received before, if smoltcp has just said so.
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

    /// Whether a segment that found `received` bytes waiting may have met a closed window, and this is why nothing came of it.
    #[inline]
    pub(crate) fn may_be_too_early(&self, received: usize, segment: &Segment) -> bool {
        let rare = flags::SYN | flags::FIN | flags::RST | flags::ACK;
        self.config.rx_ring.saturating_sub(received) <= ROUNDED
            && segment.flags & rare == flags::ACK
    }

    /// Hands over the acknowledgement of a segment that was beyond the end of our closed window, wherever within the rounding
    /// of that the next byte expected is. smoltcp takes one of these at most, and what it says to the others nobody needs.
    #[cold]
    pub(crate) fn inject_early_ack(&mut self, slot: u32, frame: &D::Frame, segment: &Segment) {
        // Without payload, what is just in place has been taken already.
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

    /// Hands a packet made up here to a flow's socket.
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

    /// Ends the sending side of a flow, now or when all is acknowledged.
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

    /// The last byte was acknowledged: a FIN that has waited for it may be sent.
    #[inline]
    pub(crate) fn all_is_sent(&mut self, slot: u32) {
        if self.flows.hot(slot).closes_when_sent() {
            self.flows.hot_mut(slot).set_closes_when_sent(false);
            self.flows.sockets.with_mut(slot, |socket| socket.close());
            self.touch(slot);
        }
    }

    /// Whether a flow has something to send, and no timer that would make smoltcp send it again.
    fn is_stuck(&self, slot: u32) -> bool {
        let sockets = &self.flows.sockets;
        let is = sockets.with(slot, |socket| {
            socket.send_queue() > 0 && has_no_timer(socket)
        });
        is == Some(true)
    }

    /// Makes smoltcp set the timer of a flow again, if it has lost one. `false`: there were too many such flows lately; it is
    /// to be tried again.
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

    /// The same for a flow whose peer has just opened its window, with `segment`, which smoltcp has taken.
    #[cold]
    pub(crate) fn unstick_by(&mut self, slot: u32, segment: &Segment) {
        if !self.is_stuck(slot) {
            return;
        }
        let losses = self.flows.hot(slot).losses;
        let stuck = Stuck {
            is_idle: true,
            acknowledged: losses.acked,
            // Nobody says; if nothing is in flight, what is handed over has no effect.
            sent: losses.acked.wrapping_add(1),
            expected: losses.expected,
            window: segment.window,
        };
        self.inject_windows(slot, stuck);
    }

    /// The name of a flow's segments from its peer.
    fn reverse_of(&self, slot: u32) -> Option<Tuple> {
        let tuple = self.flows.tuple(slot)?;
        Tuple::new(tuple.remote(), tuple.local())
    }

    /// Hands over acknowledgements that make smoltcp set a timer.
    fn inject_windows(&mut self, slot: u32, stuck: Stuck) {
        if !stuck.is_idle {
            return;
        }
        let in_flight = stuck.sent != stuck.acknowledged;
        match stuck.window {
            0 => self.inject_acks(slot, stuck.expected, stuck.acknowledged, &[0]),
            open if in_flight => {
                self.inject_duplicate_acks(slot, stuck.expected, stuck.acknowledged, open)
            }
            _ => {}
        }
    }

    /// Hands over an acknowledgement three times, which begins a fast retransmission; before that, two with other windows, so
    /// that the three are counted from one.
    pub(crate) fn inject_duplicate_acks(&mut self, slot: u32, seq: u32, ack: u32, open: u16) {
        self.inject_acks(slot, seq, ack, &[open ^ 1, open, open, open, open]);
    }

    /// Hands over empty acknowledgements as from the peer, one with each of these windows.
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

    /// A window that the last acknowledgement did not have.
    pub(crate) fn other_window(&mut self) -> u16 {
        self.window = self.window.wrapping_add(1).max(1);
        self.window
    }
}
