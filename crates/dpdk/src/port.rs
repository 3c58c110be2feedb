//! Ports: set up, looked at, closed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::plan::{Offloads, Plan};
use crate::pool::{Estate, Pools};
use crate::queue::QueueEnd;
use crate::raw::{self, Events};
use crate::ring::{self, RingEnd};
use crate::steering::Steering;
use crate::{Eal, Error, log};

/// Ports that are open, so that none is twice.
static OPEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A port that was closed: DPDK has it no more, and still has its device.
struct Former {
    number: u16,
    name: String,
    origin: Box<raw::hl_port_origin>,
}

static FORMER: Mutex<Vec<Former>> = Mutex::new(Vec::new());

/// Drivers that do not give back what is in their rings when they are closed.
const KEEPING: [&str; 1] = ["net_af_xdp"];

/// What a device says to what it does not know: ENOTSUP, ENOSYS.
const UNKNOWN: [i32; 2] = [-95, -38];

/// Which port.
#[derive(Clone, Debug)]
pub enum PortName {
    /// By its number.
    Number(u16),
    /// By its name: a PCI address, the name of a virtual device.
    Name(String),
    /// One end of a pair of rings.
    Ring(RingEnd),
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
            Self::Ring(end) => write!(f, "{}", end.port()),
        }
    }
}

/// What is wanted of a port.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// Which one.
    pub port: PortName,
    /// Queues: one for each lcore.
    pub queues: u16,
    /// The largest IP packet; `None`: as the device has it.
    pub mtu: Option<u16>,
    /// Received frames the device may hold for each queue; it may take fewer.
    pub rx_descriptors: u16,
    /// Frames to be sent it may hold.
    pub tx_descriptors: u16,
    /// Frames of each queue; `None`: enough for the descriptors and a thousand more.
    pub frames: Option<u32>,
    /// Bytes of a receive buffer, where a frame may come in several; `None`: each holds a whole frame.
    pub segment: Option<u16>,
    /// Leave checksums to the device, if it offers that.
    pub checksums: bool,
    /// Take frames to any address.
    pub promiscuous: bool,
    /// Take frames to this address beside the device's own; a device that cannot is made promiscuous.
    pub mac: Option<[u8; 6]>,
    /// Take only this, if the device can leave the rest to the kernel; `None`: take everything.
    pub steering: Option<Steering>,
    /// How long to wait for the link. A port without one is opened all the same.
    pub link_wait: Duration,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            port: PortName::Number(0),
            queues: 1,
            mtu: None,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            frames: None,
            segment: None,
            checksums: true,
            promiscuous: false,
            mac: None,
            steering: None,
            link_wait: Duration::from_secs(5),
        }
    }
}

/// What a port is, whether it is open or not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortInfo {
    /// Its number.
    pub number: u16,
    /// Its name: a PCI address, the name of a virtual device.
    pub name: String,
    /// The driver: `net_ixgbe`, `net_virtio`, ...
    pub driver: String,
    /// The station's address.
    pub mac: [u8; 6],
    /// The NUMA node it is attached to, if any.
    pub node: Option<u32>,
    /// The most queues it can have.
    pub max_queues: u16,
    /// The largest IP packet as it is set now, and as it can be.
    pub mtu: (u16, u16),
    /// It offers to verify TCP checksums.
    pub rx_checksum: bool,
    /// It offers to fill them in.
    pub tx_checksum: bool,
    /// It offers to cut segments larger than the MTU.
    pub tso: bool,
    /// It offers to spread flows over queues.
    pub rss: bool,
    /// The kernel's network interface that a virtual device stands on, by number.
    pub interface: Option<u32>,
}

impl PortInfo {
    fn new(number: u16, info: &raw::hl_port_info) -> Self {
        use hioload_dpdk_sys as sys;
        Self {
            number,
            name: raw::array_text(&info.name),
            driver: raw::array_text(&info.driver),
            mac: info.mac,
            node: u32::try_from(info.socket).ok(),
            max_queues: info.max_rx_queues.min(info.max_tx_queues),
            mtu: (info.mtu, info.max_mtu),
            rx_checksum: info.rx_offloads & u64::from(sys::HL_RX_OFFLOAD_TCP) != 0,
            tx_checksum: info.tx_offloads & u64::from(sys::HL_TX_OFFLOAD_TCP) != 0,
            tso: info.tx_offloads & u64::from(sys::HL_TX_OFFLOAD_TSO) != 0,
            rss: info.rss_types & u64::from(sys::HL_RSS_IPV4_TCP | sys::HL_RSS_IPV6_TCP) != 0,
            interface: Some(info.interface).filter(|&interface| interface != 0),
        }
    }
}

/// A link, as the device sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkState {
    /// Whether there is one.
    pub up: bool,
    /// Mbit/s, if known.
    pub speed: Option<u32>,
}

/// What a port counts, all queues together; as far as its driver does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Frames that found no descriptor free.
    pub rx_missed: u64,
    /// Frames that found no buffer free.
    pub rx_no_buffer: u64,
    /// Bad frames.
    pub rx_errors: u64,
    /// Frames not sent for an error.
    pub tx_errors: u64,
}

/// An open port. It is closed when it and all its queues are gone, and can then be opened again.
#[derive(Debug)]
pub struct Port(Arc<Open>);

/// What the port and its queues share.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) info: PortInfo,
    pub(crate) mtu: u16,
    pub(crate) offloads: Offloads,
    pub(crate) events: Option<Events>,
    /// The interface it stood on is gone: its driver does not tell.
    gone: AtomicBool,
    queues: u16,
    rules: usize,
    started: bool,
    /// After the port: fields are dropped in order, and `Drop` closes it before that.
    estate: Arc<Mutex<Estate>>,
}

/// How a port ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Frames of its pools that are still in use; `None` if the other end of its rings is still open and may have some.
    pub frames_in_use: Option<usize>,
    /// Frames in somebody's hands, of any port of this process; exact if no other port has queues in use. Others that are in use are
    /// the driver's.
    pub frames_in_hand: usize,
}

impl Closed {
    /// Whether frames that are in use are explained by the driver: it does not give back what is in its rings.
    #[must_use]
    pub fn kept_by_driver(&self, driver: &str) -> bool {
        self.frames_in_hand == 0 && KEEPING.contains(&driver)
    }
}

impl Port {
    /// The ports that EAL has.
    #[must_use]
    pub fn list(_eal: &Eal) -> Vec<PortInfo> {
        let info = |number| Some(PortInfo::new(number, &raw::port_info(number).ok()?));
        raw::ports().into_iter().filter_map(info).collect()
    }

    /// Sets up a port and starts it; gives it and its queues, each to be claimed by its lcore.
    ///
    /// # Errors
    /// If there is no such port, it is open, it cannot do what is wanted, or a step fails; then it is closed again.
    pub fn open(eal: &Eal, options: &PortOptions) -> Result<(Self, Vec<QueueEnd>), Error> {
        let number = find(eal, &options.port)?;
        let label = options.port.to_string();
        log::listen();
        let opened = Self::set_up(eal, options, number, &label);
        let heard = log::heard();
        opened.map_err(|error| error.because(heard))
    }

    fn set_up(
        eal: &Eal,
        options: &PortOptions,
        number: u16,
        label: &str,
    ) -> Result<(Self, Vec<QueueEnd>), Error> {
        let asked = raw::port_info(number);
        let info = asked.map_err(|code| step(label, "ask what it can do", code))?;
        let mut plan = Plan::new(label, &info, options, raw::headroom())?;
        let mut taken = lock(&OPEN);
        if taken.contains(&number) {
            return Err(Error::InUse(label.to_owned()));
        }
        taken.push(number);
        drop(taken);
        let isolated = options.steering.is_some() && Steering::isolate(number, label);
        let estate = match &options.port {
            PortName::Ring(end) => Arc::clone(end.estate()),
            _ => Arc::new(Mutex::new(Estate::new(eal))),
        };
        // From here on, dropping it undoes what was done.
        let mut open = Open {
            info: PortInfo::new(number, &info),
            mtu: plan.config.mtu,
            offloads: plan.offloads,
            events: None,
            gone: AtomicBool::new(false),
            queues: options.queues,
            rules: 0,
            started: false,
            estate,
        };
        let refused = |(name, code): raw::Refused| step(label, &name, code);
        raw::port_configure(number, &mut plan.config).map_err(refused)?;
        let pools = open.pools(&plan, options, info.socket, label)?;
        for (queue, pools) in (0..).zip(&pools) {
            let pool = pools.receive.raw();
            raw::port_queue(number, queue, &plan.config, pool, info.socket).map_err(refused)?;
        }
        open.events = Events::watch(number);
        raw::port_start(number, options.queues).map_err(refused)?;
        open.started = true;
        open.take_addresses(options, label)
            .map_err(|(name, code)| step(label, name, code))?;
        if let Some(steering) = options.steering.as_ref().filter(|_| isolated) {
            open.rules = steering.add(number, &plan).map_err(|reason| Error::Step {
                port: label.to_owned(),
                step: "add a flow rule".into(),
                reason,
            })?;
        }
        open.await_link(options.link_wait, label);
        let open = Arc::new(open);
        let ends = (0..).zip(pools);
        let ends = ends.map(|(queue, pools)| QueueEnd::new(Arc::clone(&open), queue, pools));
        let ends = ends.collect();
        Ok((Self(open), ends))
    }

    /// What it is.
    #[must_use]
    pub fn info(&self) -> &PortInfo {
        &self.0.info
    }

    /// The largest IP packet.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.0.mtu
    }

    /// What it and we agreed on.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.0.offloads
    }

    /// Flow rules in force; none: everything arrives.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.0.rules
    }

    /// Whether it takes frames to any address. It was told not to, which some drivers do not know.
    #[must_use]
    pub fn is_promiscuous(&self) -> bool {
        raw::port_promiscuous(self.0.info.number)
    }

    /// Its link, now; `None` if the driver does not say.
    #[must_use]
    pub fn link(&self) -> Option<LinkState> {
        self.0.link()
    }

    /// Whether the device was taken away. A driver that stands on an interface of the kernel does not tell that the interface
    /// is gone: this looks. Its queues learn of it in their [`wait`](hioload_device::Device::wait).
    #[must_use]
    pub fn is_removed(&self) -> bool {
        if let Some(interface) = self.0.info.interface
            && !raw::interface_exists(interface)
        {
            self.0.gone.store(true, Ordering::Relaxed);
        }
        self.0.is_removed()
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        self.0.stats()
    }

    /// What its driver counts, by the driver's names.
    #[must_use]
    pub fn xstats(&self) -> Vec<(String, u64)> {
        raw::port_xstats(self.0.info.number).unwrap_or_default()
    }

    /// Frames of its pools that are not in them now: with the device, with the queues, in somebody's hands.
    #[must_use]
    pub fn frames_in_use(&self) -> usize {
        lock(&self.0.estate).in_use()
    }

    /// Frames of its pools, wherever they are.
    #[must_use]
    pub fn frames(&self) -> usize {
        lock(&self.0.estate).size()
    }

    /// Stops and closes it.
    ///
    /// # Errors
    /// If queues of it are still in use: then it is closed with the last.
    pub fn close(self) -> Result<Closed, Error> {
        let label = self.0.info.number.to_string();
        let open = Arc::try_unwrap(self.0).map_err(|_| Error::InUse(label))?;
        let estate = Arc::clone(&open.estate);
        drop(open);
        let frames_in_use = Arc::try_unwrap(estate).ok().map(|estate| {
            let mut estate = estate.into_inner().unwrap_or_else(PoisonError::into_inner);
            estate.settle()
        });
        Ok(Closed {
            frames_in_use,
            frames_in_hand: crate::frame::in_hand(),
        })
    }
}

impl Open {
    /// The pools of each queue.
    fn pools(
        &self,
        plan: &Plan,
        options: &PortOptions,
        socket: i32,
        label: &str,
    ) -> Result<Vec<Pools>, Error> {
        let mut estate = lock(&self.estate);
        let (frames, segments) = plan.pools(options);
        let mut make = || {
            let frames = estate.pool(frames, socket)?;
            let receive = match segments {
                Some(segments) => estate.pool(segments, socket)?,
                None => frames,
            };
            Ok(Pools { frames, receive })
        };
        let pools = (0..options.queues).map(|_| make());
        let pools: Result<_, _> = pools.collect();
        pools.map_err(|reason| Error::Step {
            port: label.to_owned(),
            step: "make a pool of frames (more memory for DPDK: -m, or huge pages)".into(),
            reason,
        })
    }

    /// Beside its own address, the one that is wanted.
    fn take_addresses(
        &self,
        options: &PortOptions,
        label: &str,
    ) -> Result<(), (&'static str, i32)> {
        let number = self.info.number;
        let mut promiscuous = options.promiscuous;
        if let Some(mac) = options.mac.filter(|&mac| mac != self.info.mac)
            && let Err(code) = raw::port_add_mac(number, mac)
        {
            let why = raw::error_text(code);
            tracing::info!(target: "dpdk", "port {label} does not take another address ({why}): it is made promiscuous");
            promiscuous = true;
        }
        if !promiscuous {
            return Ok(());
        }
        match raw::port_be_promiscuous(number) {
            // Devices without a filter take everything.
            Err(code) if !UNKNOWN.contains(&code) => Err(("take frames to any address", code)),
            _ => Ok(()),
        }
    }

    fn link(&self) -> Option<LinkState> {
        let link = raw::port_link(self.info.number).ok()?;
        // Zero: none; the highest: unknown.
        let speed = Some(link.speed).filter(|&speed| speed != 0 && speed != u32::MAX);
        Some(LinkState {
            up: link.up != 0,
            speed,
        })
    }

    fn await_link(&self, patience: Duration, label: &str) {
        let until = Instant::now() + patience;
        while self.link().is_some_and(|link| !link.up) {
            if Instant::now() >= until {
                tracing::warn!(target: "dpdk", "port {label} has no link");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[inline]
    pub(crate) fn is_removed(&self) -> bool {
        self.gone.load(Ordering::Relaxed) || self.events.is_some_and(Events::removed)
    }

    pub(crate) fn stats(&self) -> PortStats {
        let stats = raw::port_stats(self.info.number).unwrap_or_default();
        PortStats {
            rx_frames: stats.rx_frames,
            rx_bytes: stats.rx_bytes,
            tx_frames: stats.tx_frames,
            tx_bytes: stats.tx_bytes,
            rx_missed: stats.rx_missed,
            rx_no_buffer: stats.rx_no_buffer,
            rx_errors: stats.rx_errors,
            tx_errors: stats.tx_errors,
        }
    }
}

impl Drop for Open {
    /// Closes the port: nobody has a queue of it any more.
    fn drop(&mut self) {
        let number = self.info.number;
        if self.rules > 0 && raw::flow_flush(number).is_err() {
            tracing::warn!(target: "dpdk", "port {number}: its flow rules could not be taken back");
        }
        if self.started {
            crate::queue::drain(number, self.queues);
        }
        let origin = raw::port_origin(number);
        if let Err(code) = raw::port_close(number, self.started) {
            let why = raw::error_text(code);
            tracing::warn!(target: "dpdk", "port {number} does not close cleanly: {why}");
        }
        let name = self.info.name.clone();
        // Our rings go with their port.
        if let Some(origin) = origin.filter(|_| !name.contains(ring::PREFIX)) {
            lock(&FORMER).push(Former {
                number,
                name,
                origin,
            });
        }
        lock(&self.estate).closed(number);
        lock(&OPEN).retain(|&other| other != number);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn step(port: &str, step: &str, code: i32) -> Error {
    Error::Step {
        port: port.to_owned(),
        step: step.to_owned(),
        reason: raw::error_text(code),
    }
}

/// The port of that name or number; one that was closed comes to life again.
fn find(eal: &Eal, wanted: &PortName) -> Result<u16, Error> {
    look_up(wanted).or_else(|| revived(wanted)).ok_or_else(|| {
        let have = Port::list(eal);
        let have = have
            .iter()
            .map(|port| format!("{} ({})", port.number, port.name));
        Error::NoPort {
            wanted: wanted.to_string(),
            heard: eal.heard(),
            have: have.collect(),
        }
    })
}

fn revived(wanted: &PortName) -> Option<u16> {
    let mut former = lock(&FORMER);
    let at = former.iter().rposition(|port| match wanted {
        PortName::Number(number) => port.number == *number,
        PortName::Name(name) => port.name == *name,
        PortName::Ring(_) => false,
    })?;
    let Former { name, origin, .. } = former.remove(at);
    if let Err(code) = raw::port_revive(&origin) {
        let why = raw::error_text(code);
        tracing::warn!(target: "dpdk", "{name} was closed and does not come back: {why}");
        return None;
    }
    look_up(&PortName::Name(name))
}

fn look_up(wanted: &PortName) -> Option<u16> {
    let ours = |number: &u16| match raw::port_info(*number) {
        Ok(info) => raw::array_text(&info.name).contains(ring::PREFIX),
        Err(_) => false,
    };
    match wanted {
        PortName::Number(number) => raw::ports()
            .contains(number)
            .then_some(*number)
            .filter(|n| !ours(n)),
        PortName::Name(name) => raw::port_by_name(name).ok().filter(|number| !ours(number)),
        PortName::Ring(end) => Some(end.port()),
    }
}
