//! What a run reports: the file that `--json` writes and `hioload load compare` reads. Fields are added over time and never
//! change their meaning; a reader ignores what it does not know.
//!
//! Times are nanoseconds, CPU shares are parts of one core (1.0 is a core that was busy all the time), rates are per second.

#![forbid(unsafe_code)]

pub mod compare;
pub mod file;
mod latency;
pub mod metric;
mod page;
mod plot;
pub mod plots;
pub mod require;
mod summary;
#[cfg(test)]
mod synthetic;
mod table;
pub mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use latency::{BadHistogram, DIGITS, LONGEST, histogram, merge};

/// The only format there is so far.
pub const FORMAT: u32 = 1;

/// Everything about one invocation of `hioload load`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of hioload that made it.
    pub hioload: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// Where it ran.
    pub machine: Machine,
    /// What was asked for.
    pub plan: Plan,
    /// One for each repeat, in the order they were run.
    pub runs: Vec<Run>,
}

/// The machine of the generator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model name of the CPU.
    pub cpu: String,
    /// CPUs this process may use.
    pub cpus: usize,
    /// `uname -sr`.
    pub kernel: String,
    /// Memory, in bytes.
    pub memory: u64,
    /// Load average over one minute, before the run.
    pub load_before: f64,
}

/// What was asked for, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The URL, or empty with the memory transport.
    pub url: String,
    /// `sockets`, `af-xdp`, `dpdk`, `memory`.
    pub transport: String,
    /// `echo`, `rate`, `ramp`, `hold`, `churn`, `fanout`, `bulk`.
    pub scenario: String,
    /// Connections (with `fanout`: subscribers).
    pub connections: usize,
    /// Messages under way at once on each connection.
    pub in_flight: usize,
    /// Sizes of messages as they were written on the command line, such as `64` or `64..4096`.
    pub size: String,
    /// `binary` or `text`.
    pub kind: String,
    /// Messages, opens or publications per second that were asked for, if the scenario has a rate.
    pub rate: Option<f64>,
    /// Seconds measured in each repeat.
    pub duration: f64,
    /// Seconds before that, which count for nothing.
    pub warmup: f64,
    /// Generator lcores.
    pub lcores: usize,
    /// Attack beside the load, if any, as it was written on the command line.
    pub attack: Option<String>,
}

/// One repeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Which part of a comparison it is: empty, or `quiet` and `attacked` where a load is measured without and with an attack.
    pub part: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages that came back (echoes), were delivered (fan-out), or connections opened (ramp, churn).
    pub done: u64,
    /// `done` per second.
    pub rate: f64,
    /// Payload bytes received per second.
    pub bytes_rate: f64,
    /// Of messages: from sent (closed loop) or due (open loop) to answered; of deliveries: from published to delivered.
    pub latency: Option<Latency>,
    /// From connect to the 101.
    pub handshake: Option<Latency>,
    /// What went wrong, by what: `refused`, `reset`, `timeout`, `wrong length`, ... Not there if it did not happen.
    pub errors: BTreeMap<String, u64>,
    /// One for each second or part of one, in order.
    pub series: Vec<Tick>,
    /// What the generator used.
    pub generator: Usage,
    /// What the server used, if it is local and known.
    pub server: Option<Usage>,
    /// What limited the rate, as far as one can tell: `generator`, `server`, or `neither` (the load was as asked for).
    pub bottleneck: Option<String>,
    /// Figures that only some scenarios and transports have, by name: counters of an attack, `rx_bytes_in_place`, ...
    pub extra: BTreeMap<String, f64>,
}

/// A distribution of times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// How many were recorded.
    pub count: u64,
    /// Arithmetic mean, ns.
    pub mean: f64,
    /// Standard deviation, ns.
    pub stdev: f64,
    /// The smallest, ns.
    pub min: u64,
    /// The largest, ns.
    pub max: u64,
    /// Percentiles, ns.
    pub p50: u64,
    /// 75th.
    pub p75: u64,
    /// 90th.
    pub p90: u64,
    /// 99th.
    pub p99: u64,
    /// 99.9th.
    pub p999: u64,
    /// 99.99th.
    pub p9999: u64,
    /// All of it: an HdrHistogram in its V2 serialisation, base64, nanoseconds with three digits.
    pub histogram: String,
    /// Whether times count from when a message was due, so that a slow server cannot hide them (coordinated omission).
    pub from_due: bool,
}

/// What one moment of a run looked like.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tick {
    /// Seconds since the measured part began; negative in the warm-up.
    pub at: f64,
    /// Seconds it spans.
    pub span: f64,
    /// As [`Run::done`], in this span.
    pub done: u64,
    /// Errors in this span.
    pub errors: u64,
    /// Open connections at its end.
    pub open: u64,
    /// Latency percentiles of the span, ns; 0 where nothing was recorded.
    pub p50: u64,
    /// 99th.
    pub p99: u64,
    /// 99.9th.
    pub p999: u64,
    /// The largest.
    pub max: u64,
    /// Share of a core the generator's lcores had work in, all together.
    pub generator_cpu: f64,
    /// Share of a core the server used, if known.
    pub server_cpu: Option<f64>,
}

/// What one side used of the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Cores kept busy with work, on average. Polling in vain does not count where it can be told apart.
    pub cores: f64,
    /// CPU time for each of [`Run::done`], ns.
    pub cpu_per_done: f64,
    /// Part of its time the side had nothing to do in, 0 to 1, of the busiest lcore; `None` if it cannot be known.
    pub headroom: Option<f64>,
    /// Resident memory at the end, bytes.
    pub rss: u64,
    /// Resident memory that each open connection added, bytes; with `hold`.
    pub rss_per_connection: Option<f64>,
}
