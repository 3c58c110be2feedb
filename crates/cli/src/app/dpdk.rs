//! `--transport dpdk`: the queues of a port that DPDK drives, with one lcore and one TCP stack for each.

#[cfg(all(feature = "dpdk", target_os = "linux"))]
mod with;
#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub(super) use with::{client, serve};

#[cfg(not(all(feature = "dpdk", target_os = "linux")))]
mod without;
#[cfg(not(all(feature = "dpdk", target_os = "linux")))]
pub(super) use without::{client, serve};
