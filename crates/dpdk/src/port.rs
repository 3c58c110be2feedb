//! Ports: opens them, reports on them, and closes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::errno::Errno;
use crate::error::CREATE_POOL;
use crate::info::{LinkState, PortInfo, PortStats};
use crate::open::Open;
use crate::options::{PortName, PortOptions};
use crate::pool::{Pools, PortMemory};
use crate::queue::PendingQueue;
use crate::raw::{self, Events};
use crate::setup::{Offloads, PortSetup};
use crate::steering::{self, Steering};
use crate::{Eal, Error, frame, log, registry};

/// Drivers that keep the frames in their rings when they are closed.
const DRIVERS_THAT_KEEP_FRAMES: [&str; 1] = ["net_af_xdp"];

/// An open port. It is closed when the port and all its queues have been dropped, and can then be opened again.
#[derive(Debug)]
pub struct Port(Arc<Open>);

/// The frames of a port after it was closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed {
    /// Frames of the port's pools that are still in use; `None` if the other end of its rings is still open and may have some.
    pub frames_in_use: Option<usize>,
    /// Frames of all ports of this process that the application still holds; exact if no other port has queues in use. The driver
    /// has the other frames that are in use.
    pub frames_held: usize,
}

impl Closed {
    /// Whether the driver has all frames that are in use, because it does not return the frames in its rings.
    #[must_use]
    pub fn kept_by_driver(&self, driver: &str) -> bool {
        self.frames_held == 0 && DRIVERS_THAT_KEEP_FRAMES.contains(&driver)
    }
}

impl Port {
    /// The ports that EAL has.
    #[must_use]
    pub fn list(_eal: &Eal) -> Vec<PortInfo> {
        registry::list()
    }

    /// Opens a port and starts it. Returns the port and its queues, each to be claimed by its lcore's thread.
    ///
    /// # Errors
    /// If there is no such port, it is open, it does not support an option, or a step fails. Then the port is closed again.
    pub fn open(eal: &Eal, options: &PortOptions) -> Result<(Self, Vec<PendingQueue>), Error> {
        let number = registry::find(eal, &options.port)?;
        let label = options.port.to_string();
        log::start_capture();
        let opened = Self::set_up(eal, options, number, &label);
        let logged = log::end_capture();
        opened.map_err(|error| error.with_log(logged))
    }

    fn set_up(
        eal: &Eal,
        options: &PortOptions,
        number: u16,
        label: &str,
    ) -> Result<(Self, Vec<PendingQueue>), Error> {
        let info = raw::port_info(number);
        let info = info.map_err(|errno| failed(label, "read its properties", errno))?;
        let mut setup = PortSetup::new(label, &info, options, raw::headroom())?;
        if !registry::reserve(number) {
            return Err(Error::InUse(label.to_owned()));
        }
        let isolated = options.steering.is_some() && steering::isolate(number, label);
        let memory = match &options.port {
            PortName::Ring(end) => Arc::clone(end.memory()),
            _ => Arc::new(Mutex::new(PortMemory::new(eal))),
        };
        // From here on, the drop of `open` undoes the steps.
        let mut open = Open {
            info: PortInfo::new(number, &info),
            mtu: setup.config.mtu,
            offloads: setup.offloads,
            events: None,
            removed: AtomicBool::new(false),
            queues: options.queues,
            rules: 0,
            started: false,
            memory,
        };
        let refused = |refused: raw::Refused| failed(label, &refused.step, refused.errno);
        raw::port_configure(number, &mut setup.config).map_err(refused)?;
        let pools = pools(&open, &setup, options, info.socket);
        let pools = pools.map_err(|errno| failed(label, CREATE_POOL, errno))?;
        for (queue, pools) in (0..).zip(&pools) {
            let pool = pools.receive.raw();
            raw::port_queue(number, queue, &setup.config, pool, info.socket).map_err(refused)?;
        }
        open.events = Events::watch(number);
        raw::port_start(number, options.queues).map_err(refused)?;
        open.started = true;
        open.take_addresses(options, label)
            .map_err(|(step, errno)| failed(label, step, errno))?;
        if let Some(steering) = options.steering.as_ref().filter(|_| isolated) {
            open.rules = add_rules(steering, number, &setup.config, label)?;
        }
        open.await_link(options.link_wait, label);
        let open = Arc::new(open);
        let queues = (0..).zip(pools);
        let queues =
            queues.map(|(queue, pools)| PendingQueue::new(Arc::clone(&open), queue, pools));
        let queues = queues.collect();
        Ok((Self(open), queues))
    }

    /// The port's properties when it was opened.
    #[must_use]
    pub fn info(&self) -> &PortInfo {
        &self.0.info
    }

    /// The largest IP packet, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.0.mtu
    }

    /// The offloads in use.
    #[must_use]
    pub fn offloads(&self) -> Offloads {
        self.0.offloads
    }

    /// The number of flow rules in force. With 0 rules, all frames arrive.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.0.rules
    }

    /// Whether the port receives frames to any MAC address. Some drivers do not support another mode.
    #[must_use]
    pub fn is_promiscuous(&self) -> bool {
        raw::port_is_promiscuous(self.0.info.number)
    }

    /// The state of the link now; `None` if the driver does not report it.
    #[must_use]
    pub fn link(&self) -> Option<LinkState> {
        self.0.link()
    }

    /// Whether the device has been removed. The driver of a virtual device does not report that its network interface has been
    /// removed; this method checks. [`wait`](hioload_device::Device::wait) of the queues fails after that.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        if let Some(interface) = self.0.info.interface
            && !raw::interface_exists(interface)
        {
            self.0.removed.store(true, Ordering::Relaxed);
        }
        self.0.is_removed()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> PortStats {
        PortStats::read(self.0.info.number)
    }

    /// The driver's own counters, with its names.
    #[must_use]
    pub fn xstats(&self) -> Vec<(String, u64)> {
        raw::port_xstats(self.0.info.number).unwrap_or_default()
    }

    /// The number of frames that are not in the port's pools now: the device, the queues or the application has them.
    #[must_use]
    pub fn frames_in_use(&self) -> usize {
        self.0.memory().in_use()
    }

    /// The number of all frames of the port's pools.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.0.memory().size()
    }

    /// Stops the port and closes it.
    ///
    /// # Errors
    /// [`Error::InUse`] if the port has queues in use. The drop of the last queue closes it then.
    pub fn close(self) -> Result<Closed, Error> {
        let label = self.0.info.number.to_string();
        let open = Arc::try_unwrap(self.0).map_err(|_| Error::InUse(label))?;
        let memory = Arc::clone(&open.memory);
        drop(open);
        let frames_in_use = Arc::try_unwrap(memory).ok().map(|memory| {
            let mut memory = memory.into_inner().unwrap_or_else(PoisonError::into_inner);
            memory.free()
        });
        Ok(Closed {
            frames_in_use,
            frames_held: frame::held(),
        })
    }
}

fn failed(port: &str, step: &str, cause: Errno) -> Error {
    Error::Step {
        port: port.to_owned(),
        step: step.to_owned(),
        cause,
        log: None,
    }
}

/// Creates the pools of each queue.
fn pools(
    open: &Open,
    setup: &PortSetup,
    options: &PortOptions,
    socket: i32,
) -> Result<Vec<Pools>, Errno> {
    let mut memory = open.memory();
    let (frames, segments) = setup.pools(options);
    let mut create = || {
        let frames = memory.pool(frames, socket)?;
        let receive = match segments {
            Some(segments) => memory.pool(segments, socket)?,
            None => frames,
        };
        Ok(Pools { frames, receive })
    };
    (0..options.queues).map(|_| create()).collect()
}

/// Adds the flow rules of an isolated port, which receives no frame without them. Returns their number.
fn add_rules(
    steering: &Steering,
    number: u16,
    config: &raw::hl_port_config,
    label: &str,
) -> Result<usize, Error> {
    let rules = steering.rules();
    for rule in &rules {
        raw::flow_add(number, rule, config.queues, config).map_err(|(cause, reason)| {
            Error::Step {
                port: label.to_owned(),
                step: format!("add a flow rule for {}", steering::describe(rule)),
                cause,
                log: reason,
            }
        })?;
    }
    Ok(rules.len())
}
