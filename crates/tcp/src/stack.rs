//! The stack of one lcore, and its turn.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hioload_device::{Burst, Device, Frame, RxChecksum};
use hioload_lcore::Time;
use smoltcp::iface::{Config, Interface};
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;

use crate::accept::Listeners;
use crate::addresses::Addresses;
use crate::client::PATHS_KEPT;
use crate::drops::{Drops, Reason};
use crate::fifo::Fifo;
use crate::flows::Flows;
use crate::parse::{Parsed, parse};
use crate::port::{Lent, Port};
use crate::rate::Rate;
use crate::responder::{Responder, Settings};
use crate::ring_reclaim::RingReclaim;
use crate::source_limit::SourceLimit;
use crate::source_ports::SourcePorts;
use crate::time_wait::TimeWait;
use crate::tuple::{self, Key};
use crate::{ConfigError, Event, FlowId, Handoff, StackConfig, StackError, StackStats};

/// Common MTUs of paths. A flow has the class of one of those below the device's MTU, or of that itself.
const PATHS: [usize; 7] = [8166, 4352, 1492, 1400, 1280, 1006, 552];

/// Entries of the neighbour table.
const NEIGHBOURS: usize = 1024;

/// The most dumps of a socket with its rings, which take milliseconds, per second and purpose.
const SOCKET_DUMPS: u32 = 10;

/// The largest part of a limit that one source may use: one in so many. Of the answers to segments, a source is a host; of the dumps,
/// a flow.
const ANSWER_PARTS: u32 = 8;
const DUMP_PARTS: u32 = 4;

/// What the limits by source are for; it makes them independent of each other.
const ANSWERS: u64 = u64::from_be_bytes(*b"answers ");
const RESET_DUMPS: u64 = u64::from_be_bytes(*b"rstdumps");
const ICMP_DUMPS: u64 = u64::from_be_bytes(*b"icmpdump");

/// The number of frames whose flows are prefetched together, so that their cache misses and page walks overlap. Two groups have
/// to fit into the L1 cache, at about 20 lines a flow.
const GROUP: usize = 8;

/// No slot.
const NO_SLOT: u32 = u32::MAX;

/// A frame that was received and parsed.
pub(crate) struct Staged<F> {
    pub frame: F,
    pub parsed: Parsed,
    pub hash: u32,
    /// The slot that the hash probably leads to.
    pub guess: u32,
    /// The state of its checksums by the device.
    pub checksum: RxChecksum,
    /// Another lcore has received it.
    pub handed_over: bool,
}

/// The TCP stack of one lcore, over one queue.
pub struct Stack<D: Device> {
    /// The window of the last injected acknowledgement; see [`crate::workarounds`].
    pub(crate) window: u16,
    pub(crate) port: Port<D>,
    pub(crate) config: StackConfig,
    pub(crate) ours: Addresses,
    pub(crate) key: Key,
    pub(crate) now: Time,
    pub(crate) flows: Flows,
    /// The interfaces of smoltcp, by class of path.
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) listeners: Listeners,
    /// Limits for dumps of sockets. Each purpose has its own, so that none can use up that of the others: to verify an RST,
    /// to restart a timer lost with a zero window, to verify an ICMP error. Forged segments can ask for the first and the last, so
    /// these are counted by flow.
    pub(crate) reset_dumps: SourceLimit,
    pub(crate) window_dumps: Rate,
    pub(crate) icmp_dumps: SourceLimit,
    pub(crate) accepting: bool,
    /// [`stop_listening`](Self::stop_listening) was called.
    pub(crate) stopped: bool,
    pub(crate) time_wait: TimeWait,
    /// Half-open flows, and when they expire.
    pub(crate) half_open: Fifo,
    /// Orphans, and when they are checked.
    pub(crate) orphans: Fifo,
    /// The number of flows that have a user.
    pub(crate) owned: usize,
    pub(crate) ring_reclaim: RingReclaim,
    /// Flows that cannot send because there is no memory for their rings, and the number of them that get `SPACE` in this turn.
    pub(crate) starved: VecDeque<FlowId>,
    pub(crate) relieved: usize,
    pub(crate) responder: Responder,
    pub(crate) source_ports: SourcePorts,
    /// Flows that wait for a neighbour's MAC address, and the neighbour.
    pub(crate) waiting: Vec<(FlowId, IpAddr)>,
    /// Flows that cannot be connected, for events still to come.
    pub(crate) failed: VecDeque<(FlowId, io::ErrorKind)>,
    /// The MTUs of the classes of paths, and the flows whose path is not of the first class.
    pub(crate) paths: Vec<usize>,
    pub(crate) lowered: Fifo,
    /// The frames of this turn. The first `at` have been processed.
    stage: Vec<Option<Staged<D::Frame>>>,
    at: usize,
    /// Of the frames in `stage`: how many flows are prefetched, how many receive rings are, and how many have been given to the
    /// user as hints.
    prefetched: usize,
    prefetched_rings: usize,
    hinted: usize,
    /// `None` only while a turn takes frames. It is boxed because it has kilobytes, which a spinning lcore would copy in each
    /// turn.
    burst: Option<Box<Burst<D::Frame>>>,
    /// Flows that may have something to send.
    pub(crate) touched: Vec<u32>,
    /// Ended flows whose user has consumed the last bytes: their `CLOSED` is still to come.
    pub(crate) drained: VecDeque<FlowId>,
    /// The flow that the last event closed. The next call frees its slot.
    pub(crate) closed: Option<FlowId>,
    /// See [`hold_finished`](Self::hold_finished).
    pub(crate) holds_finished: bool,
    /// The flow whose payload the last event has lent in its frame, and how many of these bytes have not been consumed.
    pub(crate) in_place: Option<(FlowId, usize)>,
    /// The flow whose send space was lent last, if that was `tx_scratch` and not the ring.
    pub(crate) lent_scratch: Option<FlowId>,
    /// Contiguous copies of rings that wrap.
    pub(crate) rx_scratch: Vec<u8>,
    pub(crate) tx_scratch: Vec<u8>,
    pub(crate) handoff: Option<Handoff>,
    pub(crate) drops: Drops,
    pub(crate) stats: StackStats,
}

impl<D: Device> Stack<D> {
    /// Makes a stack without flows. `handoff` connects it to the stacks of the other lcores of the same host.
    ///
    /// # Errors
    /// If the configuration is not valid, or the memory cannot be allocated.
    pub fn new(
        device: D,
        config: StackConfig,
        mut handoff: Option<Handoff>,
        now: Time,
    ) -> Result<Self, StackError> {
        config.check()?;
        let can = device.capabilities();
        let (mtu, range) = (can.mtu, (PATHS[PATHS.len() - 1], 65_535));
        if mtu < range.0 || mtu > range.1 {
            return Err(ConfigError::Mtu { mtu, range }.into());
        }
        if let Some(handoff) = &mut handoff {
            handoff.set_waker(device.waker());
        }
        let key = tuple::key(&config.secret);
        let slots = config.max_flows + config.half_open + config.orphans;
        let flows = Flows::new(slots, config.rx_ring, config.tx_ring, key, now)
            .map_err(StackError::Memory)?;
        let mac = config.mac.unwrap_or(can.mac);
        let answers = SourceLimit::new(&key, ANSWERS, config.rst_rate, ANSWER_PARTS);
        let mut port = Port::new(device, mac, answers, now);
        let smaller = PATHS.iter().copied().filter(|&mtu| mtu < can.mtu);
        let paths: Vec<usize> = std::iter::once(can.mtu).chain(smaller).collect();
        let interfaces = paths
            .iter()
            .map(|&mtu| interface(&mut port, mtu, 0, now))
            .collect();
        let ours = Addresses::new(mac, config.vlan, &config.addresses);
        let settings = Settings {
            networks: &config.addresses,
            gateway_v4: config.gateway_v4,
            gateway_v6: config.gateway_v6,
            answers: config.answers_for_addresses,
            announces: handoff.as_ref().is_none_or(|handoff| handoff.index() == 0),
            icmp_rate: config.icmp_rate,
            key: &key,
            neighbours: NEIGHBOURS,
        };
        Ok(Self {
            window: 0,
            responder: Responder::new(ours.clone(), &settings, now),
            source_ports: SourcePorts::new(&key, now.as_nanos()),
            waiting: Vec::new(),
            failed: VecDeque::new(),
            paths,
            lowered: Fifo::new(PATHS_KEPT),
            ours,
            listeners: Listeners::new(&config.listen),
            time_wait: TimeWait::new(config.time_wait, key),
            half_open: Fifo::new(config.half_open),
            orphans: Fifo::new(config.orphans),
            ring_reclaim: RingReclaim::new(&config, now),
            starved: VecDeque::new(),
            relieved: 0,
            rx_scratch: vec![0; config.rx_ring],
            tx_scratch: vec![0; config.tx_ring],
            port,
            key,
            now,
            flows,
            interfaces,
            reset_dumps: SourceLimit::new(&key, RESET_DUMPS, SOCKET_DUMPS, DUMP_PARTS),
            window_dumps: Rate::new(SOCKET_DUMPS),
            icmp_dumps: SourceLimit::new(&key, ICMP_DUMPS, SOCKET_DUMPS, DUMP_PARTS),
            accepting: true,
            stopped: false,
            owned: 0,
            stage: Vec::with_capacity(2 * hioload_device::BURST),
            at: 0,
            prefetched: 0,
            prefetched_rings: 0,
            hinted: 0,
            burst: Some(Box::default()),
            touched: Vec::with_capacity(2 * hioload_device::BURST),
            drained: VecDeque::new(),
            closed: None,
            holds_finished: false,
            in_place: None,
            lent_scratch: None,
            handoff,
            drops: Drops::default(),
            stats: StackStats::default(),
            config,
        })
    }

    /// Sleeps until a frame may have come, a timer is due, the device's waker is used, or `timeout` has passed. Returns at once
    /// if the last turn has left something to do.
    ///
    /// # Errors
    /// The error of [`Device::wait`]: the device cannot be used any more.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let own = if self.has_work() {
            Some(Duration::ZERO)
        } else {
            self.next_deadline().map(|at| at.saturating_sub(self.now))
        };
        let timeout = match (timeout, own) {
            (Some(given), Some(own)) => Some(given.min(own)),
            (given, own) => given.or(own),
        };
        let sleep = self.handoff.as_ref().is_none_or(Handoff::prepare_sleep);
        let timeout = if sleep { timeout } else { Some(Duration::ZERO) };
        let result = self.port.device.wait(timeout);
        if let Some(handoff) = &self.handoff {
            handoff.awake();
        }
        result
    }

    /// Whether the last turn has left something to do.
    fn has_work(&self) -> bool {
        self.at < self.stage.len()
            || !self.touched.is_empty()
            || !self.drained.is_empty()
            || !self.failed.is_empty()
            || self.closed.is_some()
            || self.port.is_backed_up()
    }

    /// Begins a turn: takes frames from the device and from other lcores. Returns the number of frames staged.
    pub fn receive(&mut self, now: Time) -> usize {
        self.now = self.now.max(now);
        self.port.begin(self.now);
        clock::set(self.now);
        self.end_loans();
        self.begin_relief();
        // Frames that the last turn has not processed come first.
        self.stage.drain(..self.at);
        (self.at, self.prefetched, self.prefetched_rings, self.hinted) = (0, 0, 0, 0);
        let before = self.stage.len();
        if before < hioload_device::BURST {
            self.receive_handoffs();
            let mut burst = self.burst.take().unwrap_or_default();
            self.port.device.rx_burst(&mut burst);
            for frame in burst.drain(..) {
                let checksum = frame.rx_checksum();
                self.stage_frame(frame, checksum, false);
            }
            self.burst = Some(burst);
        }
        self.prefetch_ahead();
        self.stage.len() - before
    }

    /// Parses a frame, stages it and prefetches its bucket of the flow table. A segment that belongs to another lcore is handed
    /// over instead.
    pub(crate) fn stage_frame(&mut self, frame: D::Frame, checksum: RxChecksum, handed_over: bool) {
        let parsed = parse(frame.bytes(), checksum, &self.ours);
        let mut hash = 0;
        match &parsed {
            Parsed::Drop(reason) => {
                self.drops.count(*reason);
                return;
            }
            Parsed::Tcp(segment) => {
                hash = self.flows.hash(&segment.tuple);
                if !handed_over && self.hand_over(frame.bytes(), checksum, hash) {
                    return;
                }
                self.flows.prefetch_bucket(hash);
            }
            Parsed::Arp(..) | Parsed::Ndp(_) | Parsed::Icmp(_) => {}
        }
        self.stage.push(Some(Staged {
            frame,
            parsed,
            hash,
            guess: NO_SLOT,
            checksum,
            handed_over,
        }));
    }

    /// Prefetches the flows of the group of frames after the next one, and the receive rings of the next one: the addresses of
    /// the rings are known once the flows are in the cache. Only payload touches rings.
    fn prefetch_ahead(&mut self) {
        let flows = (self.at + 2 * GROUP).min(self.stage.len());
        for at in self.prefetched..flows {
            if let Some(Some(staged)) = self.stage.get_mut(at)
                && let Parsed::Tcp(segment) = &staged.parsed
                && let Some(slot) = self.flows.guess(staged.hash)
            {
                staged.guess = slot;
                self.flows.prefetch(slot);
                if !segment.payload.is_empty() {
                    self.flows.sockets.prefetch_tx(slot);
                }
            }
        }
        self.prefetched = flows;
        let rings = (self.at + GROUP).min(flows);
        for at in self.prefetched_rings..rings {
            if let Some(slot) = self.payload_slot(at) {
                self.flows.sockets.prefetch_rx(slot);
            }
        }
        self.prefetched_rings = rings;
    }

    /// The slot that a staged frame with payload probably leads to.
    #[inline]
    fn payload_slot(&self, at: usize) -> Option<u32> {
        let staged = self.stage.get(at)?.as_ref()?;
        let talks = matches!(&staged.parsed, Parsed::Tcp(segment) if !segment.payload.is_empty());
        (talks && staged.guess != NO_SLOT).then_some(staged.guess)
    }

    /// The next slot that will probably receive data in this turn. The user can prefetch its own state of that flow. The slot is
    /// a guess from the hash, so it must not be used for anything else.
    #[inline]
    pub fn prefetch_hint(&mut self) -> Option<u32> {
        while self.hinted < self.prefetched {
            self.hinted += 1;
            let slot = self.payload_slot(self.hinted - 1);
            if slot.is_some() {
                return slot;
            }
        }
        None
    }

    /// The next event of the frames taken and the timers due; `None` at the end of the turn.
    #[allow(clippy::should_implement_trait)] // Not an iterator: the stack is used between events.
    pub fn next(&mut self) -> Option<Event<D::Frame>> {
        self.end_loans();
        if let Some(event) = self.next_drained() {
            return Some(event);
        }
        while self.at < self.stage.len() {
            if self.at == self.prefetched_rings {
                self.prefetch_ahead();
            }
            let at = self.at;
            self.at += 1;
            if let Some(staged) = self.stage[at].take()
                && let Some(event) = self.process(staged)
            {
                return Some(event);
            }
        }
        while let Some(slot) = self.flows.fired(self.now) {
            if let Some(event) = self.on_timer(slot) {
                return Some(event);
            }
        }
        self.poll_neighbours();
        if let Some(event) = self.next_failed() {
            return Some(event);
        }
        if let Some(event) = self.next_relieved() {
            return Some(event);
        }
        self.expire();
        None
    }

    fn process(&mut self, staged: Staged<D::Frame>) -> Option<Event<D::Frame>> {
        if !matches!(staged.parsed, Parsed::Tcp(_)) {
            self.process_other(staged);
            return None;
        }
        let Staged {
            mut frame,
            parsed: Parsed::Tcp(mut segment),
            hash,
            checksum,
            ..
        } = staged
        else {
            return None;
        };
        self.stats.rx_segments += 1;
        if checksum != RxChecksum::Good && !segment.checksum_is_good(frame.bytes()) {
            self.drops.count(Reason::Checksum);
            return None;
        }
        segment.strip_extensions(frame.bytes_mut());
        match self.flows.find(hash, &segment.tuple) {
            Some(slot) => self.segment(slot, hash, frame, &segment),
            None => {
                self.on_no_flow(&frame, &segment, hash);
                None
            }
        }
    }

    /// Ends a turn: sends the segments that are due.
    pub fn transmit(&mut self) {
        self.end_loans();
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|&slot| self.send_touched(slot));
        // Sending touches no flow; a flow touched here would be lost.
        debug_assert!(self.touched.is_empty());
        // A slot that was freed and taken again while nothing could be sent is in it more than once.
        if touched.len() > self.flows.len() {
            touched.sort_unstable();
            touched.dedup();
        }
        self.touched = touched;
        self.port.give_back();
        self.port.flush();
        if let Some(handoff) = &mut self.handoff {
            handoff.wake_others();
        }
        self.sweep();
    }

    /// The time of the next timer, if one is set.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        [
            self.flows.next_deadline(),
            self.half_open.next_deadline(),
            self.orphans.next_deadline(),
            self.time_wait.next_deadline(),
            self.ring_reclaim.next_deadline(),
            self.neighbour_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// If `on` is false, SYNs are ignored; their peers retransmit them.
    pub fn set_accepting(&mut self, on: bool) {
        self.accepting = on;
    }

    /// Refuses all new connections from now on.
    pub fn stop_listening(&mut self) {
        self.stopped = true;
    }

    /// The number of slots: all slot numbers are below it.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.flows.slots()
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.port.device
    }

    /// The number of frames dropped by the parser, by reason.
    #[must_use]
    pub fn drops(&self) -> &Drops {
        &self.drops
    }

    /// The address of ours that another host claimed last, and the MAC address of that host.
    #[must_use]
    pub fn address_conflict(&self) -> Option<(IpAddr, [u8; 6])> {
        self.responder.conflict()
    }

    /// Counters.
    #[must_use]
    pub fn stats(&self) -> StackStats {
        let sends = self.port.sends;
        let responder = self.responder.counters();
        StackStats {
            bad_checksums: self.drops.get(Reason::Checksum) + responder.bad_checksums,
            rx_fragments: self.drops.get(Reason::Fragment),
            rx_not_ours: self.drops.not_ours(),
            rx_malformed: self.drops.total()
                - self.drops.not_ours()
                - self.drops.get(Reason::Checksum)
                - self.drops.get(Reason::Fragment),
            address_conflicts: responder.conflicts,
            arp_in: responder.arp_in,
            arp_out: responder.arp_out,
            ndp_in: responder.ndp_in,
            ndp_out: responder.ndp_out,
            icmp_in: responder.icmp_in,
            icmp_out: responder.icmp_out,
            icmp_limited: responder.limited,
            discovery_limited: responder.discovery_limited,
            tx_segments: sends.segments,
            tx_bytes: sends.payload,
            rst_sent: sends.rst,
            rst_limited: sends.rst_limited,
            no_frames: sends.no_frames,
            tx_drops: sends.drops,
            flows: self.owned as u64,
            half_open: self.half_open.live() as u64,
            orphans: self.orphans.live() as u64,
            time_wait: self.time_wait.entries() as u64,
            ring_bytes: self.ring_reclaim.resident(),
            rings_given_back: self.ring_reclaim.given_back(),
            ..self.stats
        }
    }

    /// The number of this lcore among those connected by [`Handoff`].
    #[must_use]
    pub fn lcore(&self) -> usize {
        self.handoff.as_ref().map_or(0, Handoff::index)
    }
}

/// A time as smoltcp has it.
#[inline]
pub(crate) fn instant(time: Time) -> Instant {
    Instant::from_micros((time.as_nanos() / 1000) as i64)
}

/// An interface of smoltcp for paths with this MTU. `seed` determines its random numbers.
pub(crate) fn interface<D: Device>(
    port: &mut Port<D>,
    mtu: usize,
    seed: u64,
    now: Time,
) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut lent = Lent {
        port,
        packet: None,
        mtu,
    };
    let mut interface = Interface::new(config, &mut lent, instant(now));
    // The parser has checked the addresses.
    interface.set_any_ip(true);
    interface
}

/// The clock of TCP timestamps in milliseconds, set once per turn. It is a thread-local because smoltcp takes a function
/// without arguments.
pub(crate) mod clock {
    use std::cell::Cell;

    use hioload_lcore::Time;

    thread_local! {
        static MILLIS: Cell<u32> = const { Cell::new(0) };
    }

    pub(crate) fn set(now: Time) {
        MILLIS.set(now.as_millis() as u32);
    }

    pub(crate) fn millis() -> u32 {
        MILLIS.get()
    }
}
