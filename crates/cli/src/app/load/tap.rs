//! `--tap`: records the packets of the generator's devices, from before the first handshake to the end of the last connection.

use std::path::PathBuf;

use hioload_device::Device;
use hioload_device::tap::{Tap, TapOptions, TapSwitch};
use hioload_report::Run;

use crate::Failure;
use crate::cli::load::LoadArgs;

/// Bytes of the ring of each queue. The writer shares the CPUs with lcores that may never sleep. The ring holds one second at 200,000
/// echoes of 64 bytes a second. Pages that are not used cost no memory.
const RING: usize = 64 << 20;

/// A running capture.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    switch: TapSwitch,
    path: PathBuf,
}

impl Recording {
    /// Creates the file; `None` without --tap.
    ///
    /// # Errors
    /// Code 2 if the transport is sockets, or the file exists or cannot be created.
    pub(super) fn begin(arguments: &LoadArgs) -> Result<Option<Self>, Failure> {
        let Some(path) = arguments.tap.clone() else {
            return Ok(None);
        };
        if arguments.transport.is_sockets() {
            return Err(Failure::usage(
                "--tap records the packets of the user-space TCP: it needs --transport af-xdp, dpdk or memory (with sockets, use tcpdump)",
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

    /// Ends the capture and writes its counters into the last run. Lost packets are also reported on standard error.
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
            eprintln!(
                "hioload: --tap {path}: {} packets were lost because the writer was too slow, {} were written",
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
