//! The options of an attacker.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::error::{PlanError, plan_error};
use crate::plan::AttackPlan;
use crate::sources::Sources;

/// The load's own addresses that attacks come from, at most.
const OWN_ADDRESSES: usize = 16;

/// The options of an [`Attacker`](crate::Attacker). Made by [`AttackOptions::new`] and changed field by field.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttackOptions {
    /// The attacks.
    pub plan: AttackPlan,
    /// The only address that is attacked. See [`AttackPlan::check_target`].
    pub target: SocketAddr,
    /// The request target: the path of the load's URL.
    pub path: String,
    /// The load's own addresses, `StackConfig::addresses`; the first 16 of the target's family are used if the plan has no pool.
    pub own: Vec<IpAddr>,
    /// Ports of `own` that the load does not use. They must lie outside of `StackConfig::source_ports`, and frames to them do not
    /// reach the load. With a pool all ports from 1024 on are used.
    pub ports: RangeInclusive<u16>,
    /// The index of the lcore. Each lcore takes an equal part of rates, connections and ports.
    pub lcore: usize,
    /// The number of lcores. An answer to an attack is dropped if it arrives on another queue than the one that sent it.
    pub lcores: usize,
}

impl AttackOptions {
    /// Options for one lcore, the path `/`, and a load that does not use ports below 32768 (the default of `StackConfig`).
    #[must_use]
    pub fn new(
        plan: AttackPlan,
        target: SocketAddr,
        own: impl IntoIterator<Item = IpAddr>,
    ) -> Self {
        Self {
            plan,
            target,
            path: "/".into(),
            own: own.into_iter().collect(),
            ports: 1024..=32_767,
            lcore: 0,
            lcores: 1,
        }
    }

    /// Checks that an [`Attacker`](crate::Attacker) can be made.
    ///
    /// # Errors
    /// As [`Attacker::new`](crate::Attacker::new).
    pub fn check(&self) -> Result<(), PlanError> {
        self.own_sources().map(|_| ())
    }

    /// All sources, whether they are a pool, and the sources of each attack on this lcore.
    pub(crate) fn own_sources(&self) -> Result<(Sources, bool, Vec<Sources>), PlanError> {
        if self.plan.is_messages() {
            return plan_error(format!(
                "{} sends messages over sockets, and no packets",
                self.plan
            ));
        }
        let (all, pool) = self.sources()?;
        let attacks = self.plan.attacks().len();
        let own = all.part(self.lcore, self.lcores.max(1));
        let parts = own.and_then(|own| (0..attacks).map(|i| own.part(i, attacks)).collect());
        match parts {
            Some(parts) => Ok((all, pool, parts)),
            None => plan_error("too few source ports for the attacks: use --attack-source"),
        }
    }

    /// All sources, and whether they are a pool.
    pub(crate) fn sources(&self) -> Result<(Sources, bool), PlanError> {
        let pool = self.plan.addresses();
        let (addresses, ports) = if pool.is_empty() {
            let v6 = self.target.is_ipv6();
            let alike = self.own.iter().filter(|ip| ip.is_ipv6() == v6);
            let alike: Vec<IpAddr> = alike.take(OWN_ADDRESSES).copied().collect();
            (alike, self.ports.clone())
        } else {
            (pool.clone(), 1024..=u16::MAX)
        };
        match Sources::new(&addresses, &ports) {
            Some(sources) => Ok((sources, !pool.is_empty())),
            None => plan_error(format!(
                "no source address for an attack on {}: use --attack-source",
                self.target
            )),
        }
    }

    /// The part of `whole` of this lcore, at least 1.
    pub(crate) fn share(&self, whole: u64) -> u64 {
        let (lcore, lcores) = (self.lcore as u64, self.lcores.max(1) as u64);
        (whole / lcores + u64::from(lcore < whole % lcores)).max(1)
    }
}
