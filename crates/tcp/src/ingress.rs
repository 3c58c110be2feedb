//! A segment of a flow: it is handed to smoltcp, and the changes of the socket become events.

use std::io;

use hioload_device::{Device, Frame};
use smoltcp::socket::tcp::{Socket, State};

use crate::endings::Ending;
use crate::event::{Event, EventFlags, FramePayload};
use crate::flow_flags::FlowFlags;
use crate::next_hop::NextHop;
use crate::parse::{Segment, flags};
use crate::port::Lent;
use crate::sockets::tcp_mut;
use crate::source_limit;
use crate::stack::{Stack, instant};
use crate::workarounds::{Headers, only_acknowledges, only_fin_is_left};

/// The state of a socket that is compared before and after a segment.
#[derive(Clone, Copy)]
struct View {
    state: State,
    received: usize,
    queued: usize,
}

impl View {
    #[inline]
    fn of(socket: &Socket<'_>) -> Self {
        Self {
            state: socket.state(),
            received: socket.recv_queue(),
            queued: socket.send_queue(),
        }
    }
}

/// Whether the peer's FIN has been taken.
pub(crate) fn has_ended(state: State) -> bool {
    matches!(
        state,
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait
    )
}

impl<D: Device> Stack<D> {
    /// Processes a segment of the flow in `slot`.
    pub(crate) fn segment(
        &mut self,
        slot: u32,
        hash: u32,
        mut frame: D::Frame,
        segment: &Segment,
    ) -> Option<Event<D::Frame>> {
        if segment.flags & (flags::RST | flags::SYN) != 0
            && !self.accepts_rst_or_syn(slot, hash, &frame, segment)
        {
            return None;
        }
        let bare;
        let segment = if segment.payload.is_empty() || self.admits_payload(slot, segment) {
            segment
        } else {
            bare = self.strip_payload(&mut frame, segment);
            &bare
        };
        let known_next = self.is_known_next(slot, segment);
        let next_hop = self.flows.next_hop(slot);
        self.port.next_hop = next_hop;
        let fin_stripped = Self::strip_fin(&mut frame, segment);
        self.port.last = None;
        let window = self.other_window();
        let interface = &mut self.interfaces[self.flows.hot(slot).class()];
        let port = &mut self.port;
        let now = instant(self.now);
        let views = self.flows.sockets.with_set(slot, |set| {
            let before = View::of(tcp_mut(set)?);
            let fin_alone = only_fin_is_left(before.state, before.queued);
            let amended = (fin_alone && only_acknowledges(segment))
                .then(|| Headers::of(frame.bytes(), segment))
                .flatten()
                .map(|headers| headers.with_window(window));
            let packet = amended.as_ref().map(Headers::packet);
            let mut lent = Lent {
                port,
                packet: packet.or_else(|| frame.bytes().get(segment.ip())),
                mtu: 0,
            };
            interface.poll_ingress_single(now, &mut lent, set);
            Some((before, View::of(tcp_mut(set)?)))
        });
        let (before, mut after) = views.flatten()?;

        let payload = segment.payload.len();
        let ack_is_old = payload > 0 && after.queued > 0 && after.received == before.received;
        let ack_is_early = after.queued > 0
            && after.queued == before.queued
            && after.received == before.received
            && self.may_be_too_early(before.received, segment);
        if fin_stripped || ack_is_old || ack_is_early {
            if ack_is_early {
                self.inject_early_ack(slot, &frame, segment);
            } else if ack_is_old {
                self.inject_old_ack(slot, &frame, segment);
            }
            if fin_stripped {
                self.inject_fin(slot, &frame, segment);
            }
            after = self.flows.sockets.with(slot, View::of)?;
        }
        if after.queued == 0 {
            self.all_is_sent(slot);
        }
        let heard = self.has_acceptable_ack(slot, before, segment);
        if segment.window == 0 && heard {
            self.flows.hot_mut(slot).set(FlowFlags::ZERO_WINDOW);
        }
        let gained = after.received.saturating_sub(before.received);
        let hot = self.flows.hot_mut(slot);
        hot.set(if heard {
            FlowFlags::HEARD | FlowFlags::ACTIVE
        } else {
            FlowFlags::ACTIVE
        });
        // With gaps, the segment may also have made earlier payload readable. Then the ring has more than this payload.
        let in_order = gained == payload && !hot.is(FlowFlags::GAPS);
        if payload > 0 {
            let next = in_order || known_next;
            let pages = self
                .ring_reclaim
                .rx_pages(hot.rx_pages, segment.seq, payload, next);
            self.ring_reclaim.grown(u64::from(pages - hot.rx_pages));
            hot.rx_pages = pages;
            if in_order && known_next {
                hot.losses.expected = segment.seq.wrapping_add(payload as u32);
            }
            if gained != payload {
                hot.set(FlowFlags::GAPS);
            } else if hot.is(FlowFlags::GAPS) {
                self.check_gaps(slot);
            }
        }
        let takes_part = gained > 0 || after.queued < before.queued;
        let moved = next_hop.mac != segment.l2.source || next_hop.vlan != segment.l2.vlan;
        if moved && (takes_part || self.is_repeated(slot, segment)) {
            // The peer or its router has another MAC address or VLAN now.
            let next_hop = NextHop {
                mac: segment.l2.source,
                vlan: segment.l2.vlan,
            };
            self.flows.set_next_hop(slot, next_hop);
            self.flows.prove_next_hop(slot);
        }
        if before.state == State::SynReceived || before.state == State::SynSent {
            self.flows.hot_mut(slot).losses.acked = segment.ack;
        } else if before.queued > 0 && heard {
            let counts = (before.queued, after.queued);
            let next = segment.seq.wrapping_add(payload as u32);
            let next = (payload > 0 && in_order).then_some(next);
            self.on_acknowledgement(slot, &frame, segment, counts, next);
        }
        if segment.window != 0 && self.flows.hot(slot).is(FlowFlags::ZERO_WINDOW) {
            let losses = self.flows.hot(slot).losses;
            let is_next = segment.seq == losses.expected && segment.ack == losses.acked;
            // If smoltcp has not accepted the segment, the window is still zero.
            if takes_part || payload == 0 && is_next {
                self.flows.hot_mut(slot).clear(FlowFlags::ZERO_WINDOW);
                self.unstick_by(slot, segment);
            }
        }
        if payload > 0
            || after.queued > 0
            || segment.flags & (flags::SYN | flags::FIN) != 0
            || !matches!(after.state, State::Established | State::CloseWait)
        {
            self.touch(slot);
        } else if self.config.keepalive.is_none() && !self.flows.hot(slot).is(FlowFlags::TOUCHED) {
            // The flow is open, both sides have acknowledged everything, and no delayed FIN is waiting.
            self.flows.hot_mut(slot).set_resting(true);
        }
        if after.queued > 0 && after.queued == before.queued && payload == 0 {
            self.check_fast_retransmit(slot);
        }

        let mut events = EventFlags::empty();
        if before.state == State::SynReceived || before.state == State::SynSent {
            events |= self.handshake(slot, hash, segment, after.state)?;
        }
        if self.flows.hot(slot).is(FlowFlags::ORPHAN) {
            self.discard_received(slot);
        } else {
            if gained > 0 {
                events |= EventFlags::DATA;
            }
            if after.queued < before.queued {
                events |= EventFlags::SPACE;
            }
            if has_ended(after.state) && !has_ended(before.state) {
                events |= EventFlags::END;
            }
        }
        let mut error = None;
        if after.state != before.state
            && matches!(after.state, State::Closed | State::TimeWait | State::Listen)
        {
            let reset = segment.flags & flags::RST != 0;
            let ending = match (after.state, before.state) {
                (State::TimeWait, _) => Ending::TimeWait(numbers_after(segment)),
                (_, State::SynSent) if reset => Ending::Failed(io::ErrorKind::ConnectionRefused),
                _ if reset => Ending::Failed(io::ErrorKind::ConnectionReset),
                _ => Ending::Done,
            };
            if reset && before.state != State::SynReceived {
                self.stats.resets += 1;
            }
            if let Ending::Failed(kind) = ending {
                error = Some(kind);
            }
            events |= self.end(slot, &segment.tuple, ending);
        }
        if events.is_empty() || !self.flows.hot(slot).is(FlowFlags::OWNED) {
            return None;
        }
        let flow = self.flows.id(slot);
        let in_place = events.contains(EventFlags::DATA) && before.received == 0 && in_order;
        if in_place {
            self.in_place = Some((flow, payload));
        }
        let range = usize::from(segment.payload.start)..usize::from(segment.payload.end);
        Some(Event {
            flow,
            flags: events,
            error,
            payload: in_place.then_some(FramePayload { frame, range }),
        })
    }

    /// Whether the acknowledgement number is acceptable. A forger that does not see our segments would have to guess it
    /// (RFC 5961 §5.2). smoltcp drops a segment without one silently, so its window and the liveness of the peer must be ignored
    /// too. In a handshake the check of smoltcp is enough.
    #[inline]
    fn has_acceptable_ack(&self, slot: u32, before: View, segment: &Segment) -> bool {
        if matches!(before.state, State::SynSent | State::SynReceived) {
            return true;
        }
        let acked = self.flows.hot(slot).losses.acked;
        // Our FIN takes one more sequence number than the queued bytes.
        segment.ack.wrapping_sub(acked) <= before.queued as u32 + 1
    }

    /// Whether the segment repeats payload that we have acknowledged. Then our acknowledgement has not reached the peer, perhaps
    /// because we send it to an old MAC address. A forger that does not see our segments would have to guess both numbers.
    fn is_repeated(&self, slot: u32, segment: &Segment) -> bool {
        let losses = &self.flows.hot(slot).losses;
        let end = segment.seq.wrapping_add(segment.sequence_len());
        !segment.payload.is_empty()
            && segment.ack == losses.acked
            && losses.expected.wrapping_sub(end) < u32::from(u16::MAX)
    }

    /// The flags of a change of state in a handshake; `None` if the flow has been freed.
    fn handshake(
        &mut self,
        slot: u32,
        hash: u32,
        segment: &Segment,
        state: State,
    ) -> Option<EventFlags> {
        match state {
            State::SynSent | State::SynReceived | State::Closed => Some(EventFlags::empty()),
            State::Listen => {
                // The peer has reset its own handshake.
                self.forget(slot, Some((hash, &segment.tuple)));
                None
            }
            _ if self.flows.hot(slot).is(FlowFlags::CONNECTING) => {
                self.flows.hot_mut(slot).clear(FlowFlags::CONNECTING);
                self.stats.connected += 1;
                self.flows.prove_next_hop(slot);
                Some(EventFlags::CONNECTED)
            }
            _ => {
                let hot = self.flows.hot_mut(slot);
                hot.clear(FlowFlags::HALF_OPEN);
                hot.set(FlowFlags::OWNED);
                self.half_open.left();
                self.owned += 1;
                if self.owned > self.config.max_flows {
                    self.stats.syn_drops += 1;
                    self.reset(slot);
                    return None;
                }
                self.stats.accepted += 1;
                self.flows.prove_next_hop(slot);
                Some(EventFlags::ACCEPTED)
            }
        }
    }

    /// Whether smoltcp gets a segment with RST or SYN (RFC 5961). The sequence number of an RST must be exactly RCV.NXT; smoltcp
    /// would accept it anywhere in the window. A SYN on an established flow is never accepted. It is answered with a challenge
    /// ACK, which smoltcp does not send: a peer that does not know the flow any more answers that with an acceptable RST. A
    /// challenge counts as an RST would, which answers the same segment if there is no such flow: so the limit of answers does not
    /// tell an attacker which of the two was sent.
    fn accepts_rst_or_syn(
        &mut self,
        slot: u32,
        hash: u32,
        frame: &D::Frame,
        segment: &Segment,
    ) -> bool {
        let state = self.flows.sockets.with(slot, |socket| socket.state());
        match state {
            // In SYN-SENT smoltcp checks that our SYN is acknowledged. In SYN-RECEIVED the check of the window is enough: a
            // half-open flow has no data to lose.
            Some(State::SynSent | State::SynReceived) => return true,
            None => return false,
            _ => {}
        }
        let answer = self.challenge(slot, frame, segment);
        let is_rst = segment.flags & flags::RST != 0;
        if is_rst {
            let expected = match &answer {
                Some((expected, _)) => Some(*expected),
                // smoltcp sends one challenge a second. A dump of the socket has RCV.NXT too, but takes milliseconds.
                None if self.reset_dumps.allow(hash.into(), self.now) => {
                    self.stats.socket_dumps += 1;
                    self.expected_seq(slot)
                }
                None => None,
            };
            if expected == Some(segment.seq) {
                return true;
            }
            self.stats.rst_ignored += 1;
        }
        let host = source_limit::of_ip(segment.tuple.remote().ip());
        match answer {
            Some((_, frame)) => self.port.push_answer(host, frame),
            None => {
                self.port.take_answer(host);
            }
        }
        false
    }

    /// The challenge ACK of smoltcp, provoked by an acknowledgement of bytes never sent: a frame, not sent yet, and RCV.NXT, which
    /// smoltcp does not expose.
    fn challenge(
        &mut self,
        slot: u32,
        frame: &D::Frame,
        segment: &Segment,
    ) -> Option<(u32, D::Frame)> {
        let packet = frame.bytes().get(segment.ip())?;
        let tcp = usize::from(segment.tcp_at.checked_sub(segment.ip_at)?);
        // The headers of the segment without TCP options.
        let len = tcp + 20;
        let mut question = [0_u8; 120];
        let question = question.get_mut(..len)?;
        question.copy_from_slice(packet.get(..len)?);
        if segment.tuple.is_v4() {
            question[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        } else {
            question[4..6].copy_from_slice(&20_u16.to_be_bytes());
        }
        question[tcp + 12] = 5 << 4;
        question[tcp + 13] = flags::ACK;
        self.port.next_hop = self.flows.next_hop(slot);
        self.port.last = None;
        self.port.hold = true;
        // At least one of these numbers is above SND.NXT.
        for ack in [0_u32, 1 << 31, 1 << 30, 3 << 30] {
            question[tcp + 8..tcp + 12].copy_from_slice(&ack.to_be_bytes());
            let mut lent = Lent {
                port: &mut self.port,
                packet: Some(question),
                mtu: 0,
            };
            let interface = &mut self.interfaces[self.flows.hot(slot).class()];
            let now = instant(self.now);
            self.flows.sockets.with_set(slot, |set| {
                interface.poll_ingress_single(now, &mut lent, set);
            });
            if self.port.last.is_some() {
                break;
            }
        }
        self.port.hold = false;
        let held = self.port.held.take()?;
        Some((self.port.last?.ack, held))
    }
}

/// The sequence numbers after both FINs, from the segment that has moved a flow to TIME_WAIT: it acknowledges our FIN, and
/// has or follows the peer's.
fn numbers_after(segment: &Segment) -> (u32, u32) {
    (
        segment.ack,
        segment.seq.wrapping_add(segment.sequence_len()),
    )
}
