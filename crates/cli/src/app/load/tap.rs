//! `--tap`: records the packets of the generator's devices, from before the first handshake until the last connection has ended.

use std::path::PathBuf;

use hioload_device::Device;
use hioload_device::tap::{Tap, TapOptions, TapSwitch};
use hioload_report::Run;

use crate::Failure;
use crate::cli::load::LoadArgs;
use crate::streams;

/// Bytes of the ring of each queue. The writer shares the CPUs with lcores that may never sleep, so it may not run for a long time: at
/// 200,000 echoes of 64 bytes per second this is one second. Unused parts cost no memory.
const RING: usize = 64 << 20;

/// A running capture.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    switch: TapSwitch,
    path: PathBuf,
}

impl Recording {
    /// Creates the file, if `--tap` names one.
    ///
    /// # Errors
    /// Code 2: the kernel handles the packets of the load, or the file exists or cannot be created.
    pub(super) fn begin(arguments: &LoadArgs) -> Result<Option<Self>, Failure> {
        let Some(path) = arguments.tap.clone() else {
            return Ok(None);
        };
        if arguments.transport.is_sockets() {
            return Err(Failure::usage(
                "--tap records packets of user-space TCP and needs --transport af-xdp, dpdk or memory; record packets of sockets with tcpdump",
            ));
        }
        if !arguments.attack.is_empty() {
            return Err(Failure::usage(
                "--tap and --attack exclude each other; to record an attack, use hioload tap at the server",
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

    /// Wraps a device whose packets are recorded; `name` is the interface in the file.
    pub(super) fn around<D: Device>(&self, device: D, name: &str) -> Tap<D> {
        Tap::with_ring(device, &self.switch, name, RING)
    }

    /// Stops the recording and adds its counts to the last run. Packets that are missing in the file are reported on standard error.
    ///
    /// # Errors
    /// Code 1 if the file cannot be written.
    pub(super) fn end(self, last: Option<&mut Run>) -> Result<(), Failure> {
        let path = self.path.display();
        let report = self
            .switch
            .stop()
            .map_err(|why| Failure::run(format!("--tap {path}: {why}")))?
            .unwrap_or_default();
        if report.dropped > 0 {
            streams::note(format_args!(
                "hioload: --tap {path}: {} packets were dropped because the writer was too slow; {} are recorded",
                report.dropped, report.written
            ));
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
