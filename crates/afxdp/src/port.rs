//! A port: an interface with the XDP program on it, and the queues of that interface.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use hioload_device::Capabilities;
use hioload_mem::frames::{FrameArena, FrameArenaOptions, RxMark};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::xdp::SocketAddrXdpFlags as Flags;

use crate::kernel::netlink::LinkEvents;
use crate::kernel::socket::XskSocket;
use crate::nic::{self, Nic};
use crate::options::{BindMode, Ownership, PortOptions, RxChecksum, XdpMode};
use crate::program::{Attached, RETRY, listened_endpoints};
use crate::queue::{METADATA, Queue, State};
use crate::stats::XdpCounters;
use crate::umem::Umem;
use crate::{OpenError, diagnose};

/// The capacity of the program's maps.
const MAX_ADDRESSES: usize = 1024;
const MAX_LISTENED: usize = 4096;
/// The possible numbers of slots of a ring.
const RINGS: std::ops::RangeInclusive<u32> = 64..=32768;

/// An interface with the XDP program on it. The program is detached when the port and all its queues have been dropped.
pub struct Port {
    nic: Nic,
    queues: Vec<u32>,
    attached: Arc<Attached>,
}

/// A bound queue that no lcore owns yet. The lcore's thread calls [`claim`](Self::claim).
pub struct PendingQueue {
    queue: u32,
    node: Option<u32>,
    umem: Umem,
    socket: XskSocket,
    capabilities: Capabilities,
    mark: RxMark,
    to_receive: u32,
    metadata: bool,
    busy_poll: bool,
    links: LinkEvents,
    wake: Arc<OwnedFd>,
    interface: String,
    attached: Arc<Attached>,
}

impl Port {
    /// Attaches the program to the interface and binds a socket to each queue. A packet for the port is dropped until the queue
    /// on which it arrives is claimed.
    ///
    /// # Errors
    /// [`OpenError`] has the reason, the party at fault, and the command that fixes it.
    pub fn open(options: &PortOptions) -> Result<(Self, Vec<PendingQueue>), OpenError> {
        check(options)?;
        let nic = Nic::find(&options.interface)
            .map_err(|cause| diagnose::find(&options.interface, cause))?;
        let queues = queues(options, &nic)?;
        if nic.chunk_sizes().is_none() {
            return Err(OpenError::environment(
                format!(
                    "{} has an MTU of {}, and the largest frame holds an MTU of {}",
                    nic.name,
                    nic.mtu,
                    nic::largest_mtu()
                ),
                format!(
                    "ip link set {} mtu {}",
                    nic.name,
                    nic::largest_mtu().min(9000)
                ),
            ));
        }
        let most = queues.iter().max().map_or(1, |queue| queue + 1);
        let attached = Arc::new(Attached::new(options, &nic, most.max(nic.queues))?);
        let pending = queues
            .iter()
            .map(|&queue| PendingQueue::new(options, &nic, queue, &attached))
            .collect::<Result<_, _>>()?;
        Ok((
            Self {
                nic,
                queues,
                attached,
            },
            pending,
        ))
    }

    /// The place where the program runs: `Native` or `Skb`.
    #[must_use]
    pub fn mode(&self) -> XdpMode {
        self.attached.mode
    }

    /// The interface as it was when the port was opened.
    #[must_use]
    pub fn nic(&self) -> &Nic {
        &self.nic
    }

    /// The queues of the interface that the port does not have. Packets for the port that arrive on them are dropped, so there
    /// should be none; `ethtool -L` reduces the number of queues, and `ethtool -X` narrows the RSS table.
    pub fn uncovered_queues(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.nic.queues).filter(|queue| !self.queues.contains(queue))
    }

    /// The program's counters.
    ///
    /// # Errors
    /// The errors of reading a BPF map.
    pub fn counters(&self) -> io::Result<XdpCounters> {
        self.attached.counters()
    }
}

fn check(options: &PortOptions) -> Result<(), OpenError> {
    let wrong = |what: String| Err(OpenError::caller(what, ""));
    if options.addresses.is_empty() || options.addresses.len() > MAX_ADDRESSES {
        return wrong(format!(
            "{} addresses: a port has 1 to {MAX_ADDRESSES}",
            options.addresses.len()
        ));
    }
    if !options.ring.is_power_of_two() || !RINGS.contains(&options.ring) {
        return wrong(format!(
            "a ring of {} slots: the number must be a power of two, {} to {}",
            options.ring,
            RINGS.start(),
            RINGS.end()
        ));
    }
    if let Some(vlan) = options.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
        return wrong(format!("VLAN {vlan}: the number must be 1 to 4094"));
    }
    if let Some(frames) = options.frames
        && frames < 2 * options.ring as usize
    {
        return wrong(format!(
            "{frames} frames: rings of {} slots need at least twice as many",
            options.ring
        ));
    }
    if options.ownership == Ownership::Shared {
        let count = listened_endpoints(options).len();
        if count == 0 || count > MAX_LISTENED {
            return wrong(format!(
                "{count} listened addresses and ports: a shared address needs 1 to {MAX_LISTENED}"
            ));
        }
    }
    Ok(())
}

/// The queues that the options name, or all queues of the interface.
fn queues(options: &PortOptions, nic: &Nic) -> Result<Vec<u32>, OpenError> {
    if options.queues.is_empty() {
        return Ok((0..nic.queues).collect());
    }
    let mut seen = Vec::new();
    for &queue in &options.queues {
        if seen.contains(&queue) {
            return Err(OpenError::caller(
                format!("the options name queue {queue} twice"),
                "name each queue once",
            ));
        }
        if queue >= nic.queues {
            return Err(diagnose::no_queue(nic, queue));
        }
        seen.push(queue);
    }
    Ok(seen)
}

impl PendingQueue {
    fn new(
        options: &PortOptions,
        nic: &Nic,
        queue: u32,
        attached: &Arc<Attached>,
    ) -> Result<Self, OpenError> {
        let (frame, piece) = nic.chunk_sizes().unwrap_or((2048, 2048));
        let jumbo = frame > piece;
        let ring = options.ring;
        let frames = options
            .frames
            .unwrap_or(ring as usize * if jumbo { 2 } else { 4 });
        let arena = FrameArena::new(
            &FrameArenaOptions::new(frames, frame)
                .huge_pages(options.huge_pages)
                .node(nic.node),
        )
        .map_err(|cause| diagnose::allocate(frames, frame, cause))?;
        let socket = XskSocket::new().map_err(diagnose::socket)?;
        let share = |cause| diagnose::share(arena.bytes(), cause);
        // A piece of a large frame has no room for metadata.
        let metadata = register(&socket, &arena, piece, options.tx_checksum && !jumbo);
        let metadata = metadata.map_err(share)?;
        let rings = socket.rings(ring, ring).map_err(share)?;
        socket.tune(ring);
        bind(&socket, options, nic, queue, attached.mode, jumbo)?;
        let zero_copy = socket.zero_copy().map_err(diagnose::socket)?;
        if let Some(how) = options.busy_poll {
            socket.busy_poll(how).map_err(diagnose::busy_poll)?;
        }
        let trust = match options.rx_checksum {
            RxChecksum::Auto => nic.is_virtual_cable(),
            RxChecksum::Verify => false,
            RxChecksum::Trust => true,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|cause| diagnose::socket(cause.into()))?;
        Ok(Self {
            queue,
            node: nic.node,
            umem: Umem::new(arena, rings, piece),
            socket,
            capabilities: Capabilities {
                name: "af-xdp",
                mtu: nic.mtu,
                // In copy mode the kernel fills in checksums, whatever the driver supports. In zero-copy mode the driver would
                // have to, and no interface reports whether it does.
                tx_checksum: metadata && !zero_copy,
                rx_checksum: trust,
                zero_copy,
                can_block: true,
                mac: nic.mac,
            },
            mark: if trust { RxMark::Good } else { RxMark::None },
            to_receive: ring,
            metadata,
            busy_poll: options.busy_poll.is_some(),
            links: LinkEvents::new().map_err(diagnose::socket)?,
            wake: Arc::new(wake),
            interface: nic.name.clone(),
            attached: Arc::clone(attached),
        })
    }

    /// The queue's number on its interface.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.queue
    }

    /// The NUMA node of the NIC. The frames are on it.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.node
    }

    /// The capabilities that the queue will have.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Makes the calling thread the owner of the queue. From now on the queue receives the packets for the port.
    ///
    /// # Errors
    /// [`OpenError`], if the socket cannot be entered in the program's map.
    pub fn claim(self) -> Result<Queue, OpenError> {
        let arena = self.umem.arena();
        let pool = arena
            .pool(arena.chunks())
            .ok_or_else(|| OpenError::environment("the frames are already in use", ""))?;
        let mut queue = Queue {
            umem: self.umem,
            pool,
            socket: self.socket,
            capabilities: self.capabilities,
            mark: self.mark,
            to_receive: self.to_receive,
            metadata: self.metadata,
            busy_poll: self.busy_poll,
            links: self.links,
            wake: self.wake,
            interface: self.interface,
            number: self.queue,
            state: State::default(),
            _attached: Arc::clone(&self.attached),
        };
        queue.refill();
        self.attached
            .steer(self.queue, queue.socket.as_raw_fd())
            .map_err(diagnose::socket)?;
        Ok(queue)
    }
}

/// Registers the frames' memory, with room for metadata if `metadata` is set and the kernel supports it. Returns whether there is
/// room for metadata.
fn register(
    socket: &XskSocket,
    arena: &FrameArena,
    piece: usize,
    metadata: bool,
) -> io::Result<bool> {
    if metadata && socket.register(arena, piece, METADATA as u32).is_ok() {
        return Ok(true);
    }
    socket.register(arena, piece, 0)?;
    Ok(false)
}

/// Binds a socket in the first way that works, and waits up to `busy_timeout` for the previous owner to release the queue.
fn bind(
    socket: &XskSocket,
    options: &PortOptions,
    nic: &Nic,
    queue: u32,
    mode: XdpMode,
    jumbo: bool,
) -> Result<(), OpenError> {
    let mut flags = Flags::XDP_USE_NEED_WAKEUP;
    flags.set(Flags::XDP_USE_SG, jumbo);
    // A program in the kernel's stack never sees a packet that the driver writes into the frames.
    let tries: &[Flags] = match (options.bind, mode) {
        (BindMode::ZeroCopy, _) => &[Flags::XDP_ZEROCOPY],
        (BindMode::Auto, XdpMode::Native) => &[Flags::XDP_ZEROCOPY, Flags::XDP_COPY],
        _ => &[Flags::XDP_COPY],
    };
    let start = Instant::now();
    let mut last = io::Error::from(io::ErrorKind::Unsupported);
    for &how in tries {
        loop {
            match socket.bind(nic.index, queue, flags | how) {
                Ok(()) => return Ok(()),
                Err(cause) => last = cause,
            }
            let busy = last.raw_os_error() == Some(libc::EBUSY);
            if !busy || start.elapsed() >= options.busy_timeout {
                break;
            }
            thread::sleep(RETRY);
        }
    }
    Err(diagnose::bind(
        nic,
        queue,
        options.bind,
        start.elapsed(),
        last,
    ))
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("nic", &self.nic)
            .field("queues", &self.queues)
            .field("mode", &self.mode())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingQueue")
            .field("interface", &self.interface)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
