//! `--tap`: the packets of the generator's devices, recorded from before the first handshake until the last connection has ended.

use std::path::PathBuf;

use hioload_device::Device;
use hioload_device::tap::{Tap, TapOptions, TapSwitch};
use hioload_report::Run;

use crate::Failure;
use crate::cli::load::LoadArgs;

/// Bytes of the ring of each queue. The writer shares the CPUs with lcores that may never sleep, so it may be away for long: at
/// 200,000 echoes of 64 bytes a second this is one second. Untouched it costs no memory.
const RING: usize = 64 << 20;

/// A capture that is running.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    switch: TapSwitch,
    path: PathBuf,
}

impl Recording {
    /// Makes the file, if there is to be one.
    ///
    /// # Errors
    /// Code 2: the load has no packets of ours, or the file is there or cannot be made.
    pub(super) fn begin(arguments: &LoadArgs) -> Result<Option<Self>, Failure> {
        let Some(path) = arguments.tap.clone() else {
            return Ok(None);
        };
        if arguments.transport.is_sockets() {
            return Err(Failure::usage(
                "--tap records the packets of a TCP of our own: it needs --transport af-xdp, dpdk or memory; with sockets the kernel makes them, and tcpdump sees them",
            ));
        }
        if !arguments.attack.is_empty() {
            return Err(Failure::usage(
                "--tap records a load without attacks: leave out --attack, or record at the server (hioload tap)",
            ));
        }
        let switch = TapSwitch::new();
        switch
            .start_file(&path, &TapOptions::default())
            .map_err(|why| {
                Failure::usage(format!("--tap cannot write {}: {why}", path.display()))
            })?;
        Ok(Some(Self { switch, path }))
    }

    /// A device whose packets are recorded; `name` is that of the interface in the file.
    pub(super) fn around<D: Device>(&self, device: D, name: &str) -> Tap<D> {
        Tap::with_ring(device, &self.switch, name, RING)
    }

    /// Ends it, and writes into the last run what became of it. What is missing in the file is also told on standard error.
    ///
    /// # Errors
    /// Code 1: the file could not be written.
    pub(super) fn end(self, last: Option<&mut Run>) -> Result<(), Failure> {
        let path = self.path.display();
        let report = self
            .switch
            .stop()
            .map_err(|why| Failure::run(format!("--tap {path}: {why}")))?
            .unwrap_or_default();
        if report.dropped > 0 {
            eprintln!(
                "hioload: --tap {path}: {} packets came too fast and are not in it, {} are",
                report.dropped, report.written
            );
        }
        if let Some(run) = last {
            let counts = [
                ("tap_packets", report.written),
                ("tap_lost", report.dropped),
            ];
            let counts = counts.map(|(name, n)| (name.to_owned(), n as f64));
            run.extra.extend(counts);
        }
        Ok(())
    }
}
