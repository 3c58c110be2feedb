//! `--transport dpdk`: the queues of a port that DPDK drives, an lcore for each, and TCP of our own on them.

#[cfg(all(feature = "dpdk", target_os = "linux"))]
mod with;
#[cfg(all(feature = "dpdk", target_os = "linux"))]
pub(super) use with::{Started, client, serve};

#[cfg(not(all(feature = "dpdk", target_os = "linux")))]
mod without;
#[cfg(not(all(feature = "dpdk", target_os = "linux")))]
pub(super) use without::{Started, client, serve};
