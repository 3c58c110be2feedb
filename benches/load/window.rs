//! The measured window: the server's CPU time, the client's idle time and the messages between two instants.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::hist::Histogram;
use crate::process::CpuMark;

/// The window of a run.
pub(crate) struct Window {
    server: Option<u32>,
    starts: Instant,
    length: Duration,
    opened: Option<Opened>,
}

struct Opened {
    at: Instant,
    cpu: Option<CpuMark>,
    count: u64,
    client_idle: u64,
}

/// The phase of a run.
#[derive(PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing changes.
    Running,
    /// The measured part begins now: the caller clears the latencies of the warm-up.
    Opened,
    /// The measured part is over.
    Over,
}

impl Window {
    pub(crate) fn new(server: Option<u32>, warmup: Duration, length: Duration) -> Self {
        Self {
            server,
            starts: Instant::now() + warmup,
            length,
            opened: None,
        }
    }

    /// Call it once per turn with the messages counted so far.
    pub(crate) fn turn(&mut self, now: Instant, count: u64, client_idle: u64) -> io::Result<Phase> {
        match &self.opened {
            None if now >= self.starts => {
                let cpu = self.server.map(CpuMark::now).transpose()?;
                self.opened = Some(Opened {
                    at: Instant::now(),
                    cpu,
                    count,
                    client_idle,
                });
                Ok(Phase::Opened)
            }
            Some(opened) if now >= opened.at + self.length => Ok(Phase::Over),
            _ => Ok(Phase::Running),
        }
    }

    /// Returns the figures of the window, which ends now.
    pub(crate) fn report(
        &self,
        count: u64,
        client_idle: u64,
        latency: &Histogram,
    ) -> io::Result<Value> {
        let Some(opened) = &self.opened else {
            return Err(io::Error::other("the window was never opened"));
        };
        let cpu = opened.cpu.as_ref().map(CpuMark::elapsed).transpose()?;
        let seconds = opened.at.elapsed().as_secs_f64();
        let counted = count - opened.count;
        let per_message = cpu.map(|nanos| nanos as f64 / counted.max(1) as f64);
        Ok(json!({
            "messages": counted,
            "seconds": seconds,
            "messages_per_second": counted as f64 / seconds,
            "server_cpu_ns": cpu,
            "server_cpu_ns_per_message": per_message,
            "server_busy": cpu.map(|nanos| nanos as f64 / seconds / 1e9),
            "client_idle": (client_idle - opened.client_idle) as f64 / seconds / 1e9,
            "latency_us": {
                "p50": latency.percentile(0.5) as f64 / 1e3,
                "p90": latency.percentile(0.9) as f64 / 1e3,
                "p99": latency.percentile(0.99) as f64 / 1e3,
                "p999": latency.percentile(0.999) as f64 / 1e3,
            },
        }))
    }
}
