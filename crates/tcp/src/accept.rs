//! Segments of no flow: new connections, TIME_WAIT, and resets.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hioload_device::{Device, Frame};
use smoltcp::socket::tcp::{CongestionControl, Socket, State};
use smoltcp::wire::IpListenEndpoint;

use crate::endings::EXPIRED;
use crate::flow_flags::FlowFlags;
use crate::isn;
use crate::next_hop::NextHop;
use crate::parse::{Segment, flags};
use crate::port::Lent;
use crate::raw_segment::{self, RawSegment};
use crate::source_limit;
use crate::stack::{Stack, clock, instant, interface};
use crate::tuple::Tuple;

/// The time for a handshake that a peer has begun: three retransmissions of our SYN-ACK.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The endpoints where connections are accepted.
pub(crate) struct Listeners {
    exact: Vec<SocketAddr>,
    any_v4: Vec<u16>,
    any_v6: Vec<u16>,
}

impl Listeners {
    pub(crate) fn new(at: &[SocketAddr]) -> Self {
        let any = |v4: bool| {
            at.iter()
                .filter(|at| at.ip().is_unspecified() && at.is_ipv4() == v4)
                .map(SocketAddr::port)
                .collect()
        };
        Self {
            exact: at
                .iter()
                .filter(|at| !at.ip().is_unspecified())
                .map(|at| SocketAddr::new(at.ip(), at.port()))
                .collect(),
            any_v4: any(true),
            any_v6: any(false),
        }
    }

    fn has(&self, local: SocketAddr) -> bool {
        let any = match local.ip() {
            IpAddr::V4(_) => &self.any_v4,
            IpAddr::V6(_) => &self.any_v6,
        };
        any.contains(&local.port()) || self.exact.contains(&local)
    }
}

/// The difference of two sequence numbers that are less than 2^31 apart.
#[inline]
pub(crate) fn seq_diff(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl<D: Device> Stack<D> {
    /// A segment of no flow.
    pub(crate) fn on_no_flow(&mut self, frame: &D::Frame, segment: &Segment, hash: u32) {
        let bare_syn = segment.flags & (flags::SYN | flags::ACK) == flags::SYN;
        let listened = self.listeners.has(segment.tuple.local());
        let opens = bare_syn && listened && !self.stopped;
        if let Some((at, entry)) = self.time_wait.find(hash, &segment.tuple) {
            // RFC 9293 §3.6.1: a new connection may begin with a sequence number above those of the old one.
            if !(opens && self.accepting && seq_diff(segment.seq, entry.rcv_nxt) > 0) {
                if segment.flags & flags::RST != 0 {
                    // Old RSTs do not end this state (RFC 1337). A peer that begins a connection with a lower number gets an
                    // acknowledgement of the old one, and answers with an RST at exactly this byte (RFC 9293 §3.5.1). Then its
                    // next SYN is accepted.
                    if segment.seq == entry.rcv_nxt {
                        self.time_wait.remove(at);
                    }
                    return;
                }
                // A late or retransmitted segment takes sequence numbers; a bare acknowledgement gets no answer.
                if segment.sequence_len() > 0 {
                    let theirs = raw_segment::timestamp(frame.bytes(), segment);
                    let ack = RawSegment {
                        seq: entry.snd_nxt,
                        ack: entry.rcv_nxt,
                        flags: flags::ACK,
                        window: u16::MAX,
                        timestamp: theirs.map(|theirs| (clock::millis(), theirs)),
                    };
                    self.answer(segment, ack);
                }
                return;
            }
            self.time_wait.remove(at);
            self.stats.time_wait_reused += 1;
        }
        if opens {
            self.begin_handshake(frame, segment, hash);
            return;
        }
        self.stats.rx_no_flow += 1;
        if segment.flags & flags::RST != 0 {
            // It gets no answer. If the flow existed, it would get a challenge, so it counts as one.
            let host = source_limit::of_ip(segment.tuple.remote().ip());
            self.port.take_answer(host);
        } else if listened || self.config.answers_for_addresses {
            self.refuse(segment);
        }
    }

    /// Answers a segment with one that no socket has made, to the MAC address it came from.
    fn answer(&mut self, segment: &Segment, bare: RawSegment) {
        let next_hop = NextHop {
            mac: segment.l2.source,
            vlan: segment.l2.vlan,
        };
        let flow = segment.tuple;
        let host = source_limit::of_ip(flow.remote().ip());
        self.port.answer(next_hop, host, bare.len(&flow), |packet| {
            bare.write(&flow, packet);
        });
    }

    /// Answers with an RST (RFC 9293 §3.10.7.1).
    fn refuse(&mut self, segment: &Segment) {
        let (seq, ack, flags) = if segment.flags & flags::ACK != 0 {
            (segment.ack, 0, flags::RST)
        } else {
            let next = segment.seq.wrapping_add(segment.sequence_len());
            (0, next, flags::RST | flags::ACK)
        };
        let rst = RawSegment {
            seq,
            ack,
            flags,
            window: 0,
            timestamp: None,
        };
        self.answer(segment, rst);
    }

    /// Handles a SYN for a listened port.
    fn begin_handshake(&mut self, frame: &D::Frame, segment: &Segment, hash: u32) {
        self.stats.syns += 1;
        if !self.accepting || self.owned >= self.config.max_flows {
            self.stats.syn_drops += 1;
            return;
        }
        while self.half_open.is_full() && self.evict_half_open() {}
        let next_hop = NextHop {
            mac: segment.l2.source,
            vlan: segment.l2.vlan,
        };
        let local = segment.tuple.local();
        let endpoint = IpListenEndpoint {
            addr: Some(local.ip().into()),
            port: local.port(),
        };
        let keepalive = self.config.keepalive;
        let slot = self.flows.take(next_hop, FlowFlags::HALF_OPEN, |socket| {
            set_up(socket, keepalive);
            // It fails only for port 0, which the parser refuses.
            let _ = socket.listen(endpoint);
        });
        let Some(slot) = slot else {
            self.stats.syn_drops += 1;
            return;
        };
        // smoltcp draws the initial sequence number from the interface. This interface is seeded to give ours.
        let isn = isn::isn(&self.key, &segment.tuple, self.now);
        let mtu = self.port.mtu;
        let mut greeter = interface(&mut self.port, mtu, isn::seed(isn), self.now);
        let mut lent = Lent {
            port: &mut self.port,
            packet: frame.bytes().get(segment.ip()),
            mtu,
        };
        let now = instant(self.now);
        self.flows.sockets.with_set(slot, |set| {
            greeter.poll_ingress_single(now, &mut lent, set);
        });
        let state = self.flows.sockets.with(slot, |socket| socket.state());
        if state != Some(State::SynReceived) {
            self.stats.syn_drops += 1;
            self.flows.put(slot);
            return;
        }
        self.flows.list(slot, hash);
        let id = self.flows.id(slot);
        let flows = &self.flows;
        self.half_open.push(id, self.now + HANDSHAKE, |id| {
            let live = flows
                .current(id)
                .map(|slot| flows.hot(slot).is(FlowFlags::HALF_OPEN));
            live == Some(true)
        });
        self.touch(slot);
    }

    /// Evicts the oldest half-open flow. Returns whether there was one.
    fn evict_half_open(&mut self) -> bool {
        while let Some(id) = self.half_open.pop(hioload_lcore::Time::MAX) {
            if self.forget_half_open(id) {
                self.stats.half_open_evicted += 1;
                return true;
            }
        }
        false
    }

    /// Frees half-open flows whose time has passed.
    pub(crate) fn expire_half_open(&mut self) {
        for _ in 0..EXPIRED {
            let Some(id) = self.half_open.pop(self.now) else {
                break;
            };
            if self.forget_half_open(id) {
                self.stats.half_open_expired += 1;
            }
        }
    }

    /// Frees a half-open flow without an RST. Returns whether the flow was still half-open.
    fn forget_half_open(&mut self, id: crate::FlowId) -> bool {
        let Some(slot) = self.flows.current(id) else {
            return false;
        };
        if !self.flows.hot(slot).is(FlowFlags::HALF_OPEN) {
            return false;
        }
        self.forget(slot, None);
        true
    }

    /// Makes an entry in TIME_WAIT for a flow. `numbers` are the sequence numbers after both FINs.
    pub(crate) fn enter_time_wait(&mut self, slot: u32, tuple: &Tuple, numbers: (u32, u32)) {
        if self.time_wait.is_full() {
            self.stats.time_wait_evicted += 1;
            if let Some(id) = self.time_wait.pop(hioload_lcore::Time::MAX) {
                self.flows.next_hops.release(id);
            }
        }
        let hash = self.flows.hash(tuple);
        if self.time_wait.find(hash, tuple).is_some() {
            return;
        }
        if let Some(id) = self.flows.next_hops.share(self.flows.next_hop_id(slot)) {
            self.time_wait.insert(*tuple, numbers, id, self.now);
        }
    }
}

/// The settings of all sockets.
pub(crate) fn set_up(socket: &mut Socket<'_>, keepalive: Option<Duration>) {
    // A segment is acknowledged at the end of the burst, with the reply if there is one.
    socket.set_ack_delay(None);
    socket.set_nagle_enabled(false);
    socket.set_congestion_control(CongestionControl::Cubic);
    socket.set_tsval_generator(Some(clock::millis));
    socket.set_keep_alive(keepalive.map(Into::into));
}
