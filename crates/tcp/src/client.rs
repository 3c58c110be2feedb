//! Connections that we open: source ports, next hops, and ICMP errors.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hioload_device::{Device, Frame};
use hioload_lcore::Time;
use smoltcp::wire::{IpEndpoint, IpListenEndpoint};

use crate::accept::set_up;
use crate::endings::EXPIRED;
use crate::event::{ConnectError, Event, FlowId};
use crate::flow_flags::FlowFlags;
use crate::handoff::{self, Handoff};
use crate::isn;
use crate::next_hop::NextHop;
use crate::parse::Parsed;
use crate::responder::Unreachable;
use crate::responder::{Action, Due, Resolution};
use crate::stack::{Stack, Staged, interface};
use crate::tuple::Tuple;

/// The time after which a lowered path MTU is raised again (RFC 8201 §4).
const PATH_LIFE: Duration = Duration::from_secs(600);

/// The most requests and announcements in one turn.
const NOTICES: usize = 64;

/// The most flows with a lowered path MTU.
pub(crate) const PATHS_KEPT: usize = 65_536;

impl<D: Device> Stack<D> {
    /// Opens a connection. The result is an event: `CONNECTED`, or `CLOSED` with an error.
    ///
    /// # Errors
    /// If the first segment cannot be sent at all.
    pub fn connect(&mut self, to: SocketAddr) -> Result<FlowId, ConnectError> {
        if self.owned >= self.config.max_flows {
            return Err(ConnectError::Full);
        }
        if to.port() == 0 || to.ip().is_unspecified() {
            return Err(ConnectError::AddrNotAvailable);
        }
        let tuple = self.choose_source(to)?;
        let (next_hop, waits_for) = match self.responder.resolve(to.ip(), self.now) {
            Resolution::Known(next_hop) => (next_hop, None),
            Resolution::Pending(neighbour) => (NextHop::UNRESOLVED, Some(neighbour)),
            Resolution::Unreachable => return Err(ConnectError::HostUnreachable),
        };
        let isn = isn::isn(&self.key, &tuple, self.now);
        let mtu = self.port.mtu;
        let mut greeter = interface(&mut self.port, mtu, isn::seed(isn), self.now);
        let (local, keepalive) = (tuple.local(), self.config.keepalive);
        let remote = IpEndpoint::new(to.ip().into(), to.port());
        let local = IpListenEndpoint {
            addr: Some(local.ip().into()),
            port: local.port(),
        };
        let flags = FlowFlags::OWNED | FlowFlags::CONNECTING;
        let slot = self.flows.take(next_hop, flags, |socket| {
            set_up(socket, keepalive);
            // It fails only for the destinations that are refused above.
            let _ = socket.connect(greeter.context(), remote, local);
        });
        let slot = slot.ok_or(ConnectError::Full)?;
        let hash = self.flows.hash(&tuple);
        self.flows.list(slot, hash);
        self.owned += 1;
        let id = self.flows.id(slot);
        match waits_for {
            Some(neighbour) => self.waiting.push((id, neighbour)),
            None => self.touch(slot),
        }
        Ok(id)
    }

    /// A source address and port that are free for this destination, and whose flow belongs to this lcore.
    fn choose_source(&mut self, to: SocketAddr) -> Result<Tuple, ConnectError> {
        let addresses = &self.config.addresses;
        let same_family = |own: &IpAddr| own.is_ipv4() == to.is_ipv4();
        let near: Vec<IpAddr> = addresses
            .iter()
            .filter(|own| own.contains(to.ip()))
            .map(|own| own.addr())
            .collect();
        let from: Vec<IpAddr> = if near.is_empty() {
            let all = addresses.iter().map(|own| own.addr());
            all.filter(same_family).collect()
        } else {
            near
        };
        if from.is_empty() {
            return Err(ConnectError::AddrNotAvailable);
        }
        let lcores = self.handoff.as_ref().map_or(1, Handoff::lcores);
        let lcore = self.lcore();
        let (flows, time_wait) = (&self.flows, &self.time_wait);
        let ports = &self.config.source_ports;
        let chosen = self.source_ports.choose(&from, ports, to, |source| {
            Tuple::new(source, to).is_some_and(|tuple| {
                let hash = flows.hash(&tuple);
                handoff::owner(hash, lcores) == lcore
                    && flows.find(hash, &tuple).is_none()
                    && time_wait.find(hash, &tuple).is_none()
            })
        });
        let tuple = chosen.and_then(|source| Tuple::new(source, to));
        tuple.ok_or(ConnectError::AddrInUse)
    }

    /// Processes a frame that is not TCP.
    pub(crate) fn process_other(&mut self, staged: Staged<D::Frame>) {
        let Staged {
            mut frame,
            parsed,
            checksum,
            handed_over,
            ..
        } = staged;
        let action = if handed_over {
            self.responder
                .handle_shared(&parsed, frame.bytes(), self.now)
        } else {
            let proven = self.is_proven(&parsed);
            let handled = self.responder.handle(&parsed, &mut frame, proven, self.now);
            if handled.share {
                self.share(frame.bytes(), checksum);
            }
            handled.action
        };
        match action {
            Action::Reply => self.port.push(frame),
            Action::Learned(neighbour) => self.neighbour_known(neighbour),
            Action::PathMtu { tuple, mtu, seq } => self.lower_path(&tuple, mtu.into(), seq),
            Action::Unreachable { tuple, kind, seq } => self.unreachable(&tuple, kind, seq),
            Action::Nothing => {}
        }
    }

    /// Whether ARP or neighbour discovery comes from the next hop of an established flow.
    fn is_proven(&self, parsed: &Parsed) -> bool {
        let l2 = match parsed {
            Parsed::Arp(l2, _) => l2,
            Parsed::Ndp(message) => &message.l2,
            _ => return false,
        };
        self.flows.next_hops.is_proven(&NextHop {
            mac: l2.source,
            vlan: l2.vlan,
        })
    }

    /// Sends requests and announcements that are due, and fails the flows whose neighbour does not answer.
    pub(crate) fn poll_neighbours(&mut self) {
        for _ in 0..NOTICES {
            match self.responder.poll(self.now) {
                None => break,
                Some(Due::Send(notice)) => {
                    let responder = &mut self.responder;
                    self.port
                        .send_raw(|bytes| responder.emit(notice, bytes).unwrap_or(0));
                }
                Some(Due::Lost(neighbour)) => {
                    let failed = &mut self.failed;
                    self.waiting.retain(|&(id, waits_for)| {
                        if waits_for == neighbour {
                            failed.push_back((id, io::ErrorKind::HostUnreachable));
                        }
                        waits_for != neighbour
                    });
                }
            }
        }
        for _ in 0..EXPIRED {
            let Some(id) = self.lowered.pop(self.now) else {
                break;
            };
            if let Some(slot) = self.flows.current(id)
                && self.flows.hot(slot).class() != 0
            {
                self.lowered.left();
                self.flows.hot_mut(slot).set_class(0);
            }
        }
    }

    /// Continues the flows that wait for a neighbour.
    fn neighbour_known(&mut self, neighbour: IpAddr) {
        let mut at = 0;
        while let Some(&(id, waits_for)) = self.waiting.get(at) {
            if waits_for != neighbour {
                at += 1;
                continue;
            }
            self.waiting.swap_remove(at);
            let Some(slot) = self.flows.owned(id) else {
                continue;
            };
            if let Some(tuple) = self.flows.tuple(slot)
                && let Resolution::Known(next_hop) =
                    self.responder.resolve(tuple.remote().ip(), self.now)
            {
                self.flows.set_next_hop(slot, next_hop);
                self.touch(slot);
            } else {
                self.failed.push_back((id, io::ErrorKind::HostUnreachable));
            }
        }
    }

    /// Resolves the next hop again after a SYN without an answer: the neighbour may have another MAC address.
    pub(crate) fn refresh_next_hop(&mut self, slot: u32) {
        let known = self.flows.next_hop(slot);
        if !known.is_unresolved()
            && let Some(tuple) = self.flows.tuple(slot)
            && let Resolution::Known(next_hop) =
                self.responder.resolve(tuple.remote().ip(), self.now)
            && next_hop != known
        {
            self.flows.set_next_hop(slot, next_hop);
        }
    }

    /// The next flow that failed because of its neighbour or an ICMP error.
    pub(crate) fn next_failed(&mut self) -> Option<Event<D::Frame>> {
        while let Some((id, kind)) = self.failed.pop_front() {
            if let Some(slot) = self.flows.owned(id)
                && self.flows.hot(slot).is(FlowFlags::CONNECTING)
            {
                return self.fail(slot, kind);
            }
        }
        None
    }

    /// Whether `seq`, the sequence number in an ICMP error, is that of an outstanding segment. A forger that does not see our
    /// segments would have to guess it (RFC 5927 §4.1). `false` if the rate limit is reached.
    fn is_outstanding(&mut self, slot: u32, hash: u32, seq: u32) -> bool {
        let queued = self.flows.sockets.with(slot, |socket| socket.send_queue());
        let connecting = self.flows.hot(slot).is(FlowFlags::CONNECTING);
        let may_be = if connecting {
            self.flows
                .tuple(slot)
                .is_some_and(|tuple| isn::is_recent(&self.key, &tuple, self.now, seq))
        } else {
            queued.unwrap_or(0) > 0
        };
        let mut is = false;
        if may_be && self.icmp_dumps.allow(hash.into(), self.now) {
            self.stats.socket_dumps += 1;
            is = self.outstanding(slot).is_some_and(|(first, after)| {
                seq.wrapping_sub(first) < after.wrapping_sub(first).max(1)
            });
        }
        self.stats.icmp_ignored += u64::from(!is);
        is
    }

    /// Lowers the path MTU of a flow to `mtu`, if the ICMP error quotes an outstanding segment. The lost segment is sent again
    /// when the retransmission timer fires.
    pub(crate) fn lower_path(&mut self, tuple: &Tuple, mtu: usize, seq: u32) {
        let hash = self.flows.hash(tuple);
        let Some(slot) = self.flows.find(hash, tuple) else {
            return;
        };
        let class = self.paths.iter().position(|&path| path <= mtu);
        let class = class.unwrap_or(self.paths.len() - 1);
        if class <= self.flows.hot(slot).class() || !self.is_outstanding(slot, hash, seq) {
            return;
        }
        if self.flows.hot(slot).class() == 0 {
            if self.lowered.is_full() {
                return;
            }
            let id = self.flows.id(slot);
            let flows = &self.flows;
            self.lowered.push(id, self.now + PATH_LIFE, |id| {
                flows
                    .current(id)
                    .is_some_and(|slot| flows.hot(slot).class() != 0)
            });
        }
        self.stats.pmtu_lowered += 1;
        self.flows.hot_mut(slot).set_class(class);
        self.touch(slot);
    }

    /// Handles an ICMP error that a segment could not be delivered. An established flow goes on (RFC 5927 §6.1). A connecting
    /// flow fails if the error quotes its SYN.
    pub(crate) fn unreachable(&mut self, tuple: &Tuple, kind: Unreachable, seq: u32) {
        let hash = self.flows.hash(tuple);
        let Some(slot) = self.flows.find(hash, tuple) else {
            return;
        };
        if self.flows.hot(slot).is(FlowFlags::CONNECTING) && self.is_outstanding(slot, hash, seq) {
            let kind = match kind {
                Unreachable::Port | Unreachable::Protocol => io::ErrorKind::ConnectionRefused,
                Unreachable::Host | Unreachable::Prohibited | Unreachable::Expired => {
                    io::ErrorKind::HostUnreachable
                }
            };
            self.failed.push_back((self.flows.id(slot), kind));
        }
    }

    /// The time at which [`poll_neighbours`](Self::poll_neighbours) next has something to do.
    pub(crate) fn neighbour_deadline(&self) -> Option<Time> {
        let responder = self.responder.next_deadline();
        responder
            .into_iter()
            .chain(self.lowered.next_deadline())
            .min()
    }
}
