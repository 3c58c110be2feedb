//! The device with attacks in it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Waker};

use super::control::AttackControl;
use super::plan::{AttackPlan, PlanError};

/// What an [`Attacker`] is to do.
#[derive(Clone, Debug)]
pub struct AttackOptions {
    /// Which attacks.
    pub plan: AttackPlan,
    /// Who is attacked: nobody else ever is. See [`AttackPlan::check_target`].
    pub target: SocketAddr,
    /// The load's own addresses, `StackConfig::addresses`; those of the target's family are used if the plan has no pool.
    pub own: Vec<IpAddr>,
    /// Ports of `own` that the load does not use: they have to be outside of `StackConfig::source_ports`, and answers to them are
    /// taken out of what the load receives. With a pool all ports from 1024 on are used.
    pub ports: RangeInclusive<u16>,
    /// Which lcore of the load this is; each takes an equal part of rates, connections and ports.
    pub lcore: usize,
    /// How many there are.
    pub lcores: usize,
}

impl AttackOptions {
    /// For one lcore, and a load that leaves the ports below 32768 alone (as `StackConfig`'s default does).
    #[must_use]
    pub fn new(
        plan: AttackPlan,
        target: SocketAddr,
        own: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            plan,
            target,
            own: own.into_iter().collect(),
            ports: 1024..=32_767,
            lcore: 0,
            lcores: 1,
        }
    }
}

/// A device with attacks beside what is sent over it.
pub struct Attacker<D: Device> {
    device: D,
}

impl<D: Device> Attacker<D> {
    /// Wraps a device.
    ///
    /// # Errors
    /// If there is no address of the target's family to attack from, or there are not enough ports for all attacks.
    pub fn new(
        device: D,
        options: &AttackOptions,
        control: &AttackControl,
    ) -> Result<Self, PlanError> {
        let _ = (options, control);
        Ok(Self { device })
    }
}

impl<D: Device> Device for Attacker<D> {
    type Frame = D::Frame;

    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn rx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        self.device.rx_burst(burst)
    }

    fn tx_burst(&mut self, burst: &mut Burst<D::Frame>) -> usize {
        self.device.tx_burst(burst)
    }

    fn alloc(&mut self) -> Option<D::Frame> {
        self.device.alloc()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.device.wait(timeout)
    }

    fn waker(&self) -> Waker {
        self.device.waker()
    }

    fn stats(&self) -> DeviceStats {
        self.device.stats()
    }
}

impl<D: Device> fmt::Debug for Attacker<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attacker").finish_non_exhaustive()
    }
}
