//! EAL for tests: without huge pages or PCI devices, under a file prefix of its own.
#![allow(dead_code, unreachable_pub)]

use std::sync::OnceLock;

use hioload_dpdk::{Eal, split_arguments};

/// Arguments that need neither root nor huge pages, and `more`.
pub fn arguments(more: &str) -> String {
    let prefix = std::process::id();
    format!("--no-pci --no-huge -m 512 --no-telemetry --file-prefix=hl{prefix} {more}")
}

/// This process's EAL, started by whoever comes first, never ended.
pub fn eal(more: &str) -> &'static Eal {
    static EAL: OnceLock<Eal> = OnceLock::new();
    EAL.get_or_init(|| {
        let arguments = split_arguments(&arguments(more)).expect("arguments");
        Eal::init(&arguments).unwrap_or_else(|error| panic!("{error}"))
    })
}
