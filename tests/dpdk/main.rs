//! The whole stack on DPDK ports without hardware: `serve` and `connect` on virtual devices, and the library within one process. The
//! tests need libdpdk with its drivers. They need neither root nor huge pages, unless a test says so.
#![cfg(all(feature = "dpdk", target_os = "linux"))]

mod command;
mod ends;
mod processes;
mod ring;

/// EAL without PCI devices, huge pages, or files.
const EAL: &str = "--no-pci --no-huge --no-shconf --no-telemetry -m 256";
