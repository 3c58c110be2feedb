//! The whole stack on ports of DPDK that need no hardware: `serve` and `connect` as they are, on virtual devices, and the library
//! within one process. Needs libdpdk with its drivers; no root and no huge pages, but where a test says so.
#![cfg(all(feature = "dpdk", target_os = "linux"))]

mod command;
mod ends;
mod processes;
mod ring;

/// EAL without PCI devices, huge pages, or files.
const EAL: &str = "--no-pci --no-huge --no-shconf --no-telemetry -m 256";
