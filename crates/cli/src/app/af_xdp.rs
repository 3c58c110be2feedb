//! `--transport af-xdp`: the queues of an interface, with one lcore and one TCP stack for each.

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod with;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub(super) use with::{client, serve};

#[cfg(not(all(feature = "af-xdp", target_os = "linux")))]
mod without;
#[cfg(not(all(feature = "af-xdp", target_os = "linux")))]
pub(super) use without::{client, serve};
