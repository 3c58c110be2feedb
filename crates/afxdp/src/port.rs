//! An interface with our program on it, and its queues.

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
use crate::program::{Attached, RETRY, listened_endpoints};
use crate::queue::{METADATA, Queue, State};
use crate::umem::Umem;
use crate::{BindMode, OpenError, Ownership, PortOptions, RxChecksum, XdpCounters, XdpMode, blame};

/// Addresses and endpoints that the program's maps hold.
const MAX_ADDRESSES: usize = 1024;
const MAX_LISTENED: usize = 4096;
/// Slots of a ring.
const RINGS: std::ops::RangeInclusive<u32> = 64..=32768;

/// An interface with our program on it. The program goes when the port and all its queues have gone.
pub struct Port {
    nic: Nic,
    queues: Vec<u32>,
    attached: Arc<Attached>,
}

/// One bound queue, on its way to the lcore that is to own it.
pub struct QueueSeed {
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
    /// Attaches the program to the interface and binds a socket to each queue. Until its queue is opened, what is ours is
    /// dropped.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    pub fn open(options: &PortOptions) -> Result<(Self, Vec<QueueSeed>), OpenError> {
        check(options)?;
        let nic =
            Nic::find(&options.interface).map_err(|why| blame::find(&options.interface, why))?;
        let queues = queues(options, &nic)?;
        if nic.chunk_sizes().is_none() {
            return Err(OpenError::environment(
                format!(
                    "no frame holds a packet of {}, the MTU of {}",
                    nic.mtu, nic.name
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
        let seeds = queues
            .iter()
            .map(|&queue| QueueSeed::new(options, &nic, queue, &attached))
            .collect::<Result<_, _>>()?;
        Ok((
            Self {
                nic,
                queues,
                attached,
            },
            seeds,
        ))
    }

    /// Where the program runs: `Native` or `Skb`.
    #[must_use]
    pub fn mode(&self) -> XdpMode {
        self.attached.mode
    }

    /// The interface as it was when the port was opened.
    #[must_use]
    pub fn nic(&self) -> &Nic {
        &self.nic
    }

    /// Its queues that are not ours. What is ours and arrives there is dropped, so there should be none; fewer queues
    /// (`ethtool -L`) or a narrower RSS table (`ethtool -X`) see to that.
    pub fn uncovered_queues(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.nic.queues).filter(|queue| !self.queues.contains(queue))
    }

    /// What the program counted.
    ///
    /// # Errors
    /// What the system says.
    pub fn counters(&self) -> io::Result<XdpCounters> {
        self.attached.counters()
    }
}

fn check(options: &PortOptions) -> Result<(), OpenError> {
    let wrong = |what: String| Err(OpenError::options(what, ""));
    if options.addresses.is_empty() || options.addresses.len() > MAX_ADDRESSES {
        return wrong(format!(
            "{} addresses: there must be 1 to {MAX_ADDRESSES}",
            options.addresses.len()
        ));
    }
    if !options.ring.is_power_of_two() || !RINGS.contains(&options.ring) {
        return wrong(format!(
            "a ring of {} slots: they must be a power of two, {} to {}",
            options.ring,
            RINGS.start(),
            RINGS.end()
        ));
    }
    if options.vlan.is_some_and(|vlan| !(1..=4094).contains(&vlan)) {
        return wrong("a VLAN is a number from 1 to 4094".to_owned());
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

/// The queues asked for, or all there are.
fn queues(options: &PortOptions, nic: &Nic) -> Result<Vec<u32>, OpenError> {
    if options.queues.is_empty() {
        return Ok((0..nic.queues).collect());
    }
    let mut seen = Vec::new();
    for &queue in &options.queues {
        if seen.contains(&queue) {
            return Err(OpenError::options(
                format!("queue {queue} twice"),
                "name each once",
            ));
        }
        if queue >= nic.queues {
            return Err(blame::no_queue(nic, queue));
        }
        seen.push(queue);
    }
    Ok(seen)
}

impl QueueSeed {
    fn new(
        options: &PortOptions,
        nic: &Nic,
        queue: u32,
        attached: &Arc<Attached>,
    ) -> Result<Self, OpenError> {
        let (frame, piece) = nic.chunk_sizes().unwrap_or((2048, 2048));
        let jumbo = frame > piece;
        let ring = options.ring;
        let chunks = options
            .frames
            .unwrap_or(ring as usize * if jumbo { 2 } else { 4 });
        let arena = FrameArena::new(
            &FrameArenaOptions::new(chunks, frame)
                .huge_pages(options.huge_pages)
                .node(nic.node),
        )
        .map_err(|why| blame::memory(0, why))?;
        let socket = XskSocket::new().map_err(blame::socket)?;
        // A piece of a large frame has no room for metadata of its own.
        let metadata = register(&socket, &arena, piece, options.tx_checksum && !jumbo)
            .map_err(|why| blame::memory(arena.bytes(), why))?;
        let memory = |why| blame::memory(arena.bytes(), why);
        let rings = socket.rings(ring, ring).map_err(memory)?;
        socket.tune(ring);
        bind(&socket, options, nic, queue, attached.mode, jumbo)?;
        let zero_copy = socket.zero_copy().map_err(blame::socket)?;
        if let Some(how) = options.busy_poll {
            socket.busy_poll(how).map_err(blame::busy_poll)?;
        }
        let trust = match options.rx_checksum {
            RxChecksum::Auto => nic.is_virtual_cable(),
            RxChecksum::Verify => false,
            RxChecksum::Trust => true,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|why| blame::socket(why.into()))?;
        Ok(Self {
            queue,
            node: nic.node,
            umem: Umem::new(arena, rings, piece),
            socket,
            capabilities: Capabilities {
                name: "af-xdp",
                mtu: nic.mtu,
                // In copy mode the kernel takes care of it, whatever the driver can; otherwise the driver would have to.
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
            links: LinkEvents::new().map_err(blame::socket)?,
            wake: Arc::new(wake),
            interface: nic.name.clone(),
            attached: Arc::clone(attached),
        })
    }

    /// The queue's number on its interface.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// The NUMA node of the NIC, where the frames are.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        self.node
    }

    /// What the queue will be able to do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// The queue, to be used on the calling thread only. From now on its traffic of ours comes here.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(self) -> Result<Queue, OpenError> {
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
            .map_err(blame::socket)?;
        Ok(queue)
    }
}

/// Registers the frames, with room for metadata if that is wanted and the kernel knows of it: whether it does.
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

/// Binds a socket, the best way that works, and waits for the queue's last owner if need be.
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
    // A program in the stack never sees what the driver writes into our frames.
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
                Err(why) => last = why,
            }
            let busy = last.raw_os_error() == Some(libc::EBUSY);
            if !busy || start.elapsed() >= options.patience {
                break;
            }
            thread::sleep(RETRY);
        }
    }
    Err(blame::bind(nic, queue, options.bind, start.elapsed(), last))
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

impl fmt::Debug for QueueSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueSeed")
            .field("interface", &self.interface)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
