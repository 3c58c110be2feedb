//! The state that a port and its queues share. The last of them closes the port.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hioload_device::Burst;

use crate::errno::Errno;
use crate::info::{LinkState, PortInfo};
use crate::options::PortOptions;
use crate::pool::PortMemory;
use crate::raw::{self, Events, hl_queue};
use crate::setup::Offloads;
use crate::{frame, registry};

/// An open port. The drop closes it and undoes the steps that were carried out.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) info: PortInfo,
    pub(crate) mtu: u16,
    pub(crate) offloads: Offloads,
    pub(crate) events: Option<Events>,
    /// The network interface below a virtual device has been removed. The driver does not report that.
    pub(crate) removed: AtomicBool,
    pub(crate) queues: u16,
    pub(crate) rules: usize,
    pub(crate) started: bool,
    /// Freed after the port is closed: `drop` runs before the fields are dropped.
    pub(crate) memory: Arc<Mutex<PortMemory>>,
}

impl Open {
    pub(crate) fn memory(&self) -> MutexGuard<'_, PortMemory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the port receive frames for the MAC addresses of the options. An error has the failed step.
    pub(crate) fn take_addresses(
        &self,
        options: &PortOptions,
        label: &str,
    ) -> Result<(), (&'static str, Errno)> {
        let number = self.info.number;
        let mut promiscuous = options.promiscuous;
        if let Some(mac) = options.mac.filter(|&mac| mac != self.info.mac)
            && let Err(errno) = raw::port_add_mac(number, mac)
        {
            tracing::info!(
                target: "dpdk",
                "port {label} cannot add a MAC address ({errno}), and is made promiscuous"
            );
            promiscuous = true;
        }
        if !promiscuous {
            return Ok(());
        }
        match raw::port_set_promiscuous(number) {
            // A device without a filter receives every frame.
            Err(errno) if !errno.is_unsupported() => Err(("enter promiscuous mode", errno)),
            _ => Ok(()),
        }
    }

    pub(crate) fn link(&self) -> Option<LinkState> {
        LinkState::read(self.info.number)
    }

    /// Waits until the link is up, or until `limit` has passed.
    pub(crate) fn await_link(&self, limit: Duration, label: &str) {
        let until = Instant::now() + limit;
        while self.link().is_some_and(|link| !link.up) {
            if Instant::now() >= until {
                tracing::warn!(target: "dpdk", "port {label} has no link");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the device has been removed.
    #[inline]
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed) || self.events.is_some_and(Events::removed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let number = self.info.number;
        if self.rules > 0 && raw::flow_flush(number).is_err() {
            tracing::warn!(target: "dpdk", "port {number}: its flow rules cannot be removed");
        }
        if self.started {
            drain(number, self.queues);
        }
        let origin = raw::port_origin(number);
        if let Err(errno) = raw::port_close(number, self.started) {
            tracing::warn!(target: "dpdk", "port {number} does not close cleanly: {errno}");
        }
        self.memory().port_closed(number);
        registry::release(number, &self.info.name, origin);
    }
}

/// Receives and drops the frames in all queues of a started port, which the caller closes next. The driver keeps the frames that
/// arrive after that.
fn drain(port: u16, queues: u16) {
    /// The largest number of bursts: more than a ring holds.
    const MAX_BURSTS: usize = 1024;
    let mut burst = Burst::new();
    for queue in 0..queues {
        let mut queue = hl_queue {
            port,
            queue,
            ..hl_queue::default()
        };
        for _ in 0..MAX_BURSTS {
            if raw::rx_burst(&mut queue, &mut burst) == 0 {
                break;
            }
            burst.clear();
        }
        frame::count_received(queue.rx_frames);
    }
    frame::flush();
}
