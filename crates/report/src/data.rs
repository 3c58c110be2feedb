//! The data of a report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The format of reports that this version writes.
pub const FORMAT: u32 = 1;

/// The report of one invocation of `hioload load`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The format, [`FORMAT`].
    pub format: u32,
    /// The version of hioload that wrote the report.
    pub hioload: String,
    /// The start time: RFC 3339, UTC.
    pub started: String,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// The machine of the generator.
    pub machine: Machine,
    /// The plan.
    pub plan: Plan,
    /// The runs, one for each repeat and part, in order.
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

/// The plan of a load, with the defaults filled in.
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
    /// Messages in flight on each connection.
    pub in_flight: usize,
    /// Sizes of messages as on the command line, such as `64` or `64..4096`.
    pub size: String,
    /// `binary` or `text`.
    pub kind: String,
    /// The requested rate in messages, opens or publications per second, if there is one.
    pub rate: Option<f64>,
    /// Seconds measured in each repeat.
    pub duration: f64,
    /// Seconds of load before the measurement.
    pub warmup: f64,
    /// Generator lcores.
    pub lcores: usize,
    /// The attacks beside the load, as on the command line, if there are any.
    pub attack: Option<String>,
}

/// One run: a repeat, or a part of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// The part of the repeat: empty, or `quiet` and `attacked` where a load is measured without and with an attack.
    pub part: String,
    /// Seconds that were measured.
    pub seconds: f64,
    /// Messages sent.
    pub sent: u64,
    /// Messages echoed, messages delivered (fan-out), or connections opened (ramp) or closed (churn).
    pub done: u64,
    /// `done` per second.
    pub rate: f64,
    /// Payload bytes received per second.
    pub bytes_rate: f64,
    /// Latency: of a message from sent (closed loop) or due (open loop) to answered; of a delivery from published to delivered.
    pub latency: Option<Latency>,
    /// Time of a handshake, from connect to the 101 response.
    pub handshake: Option<Latency>,
    /// Of these, the times of connections that made a full handshake of TLS.
    pub full_handshake: Option<Latency>,
    /// Of these, the times of connections that resumed a session of TLS.
    pub resumed_handshake: Option<Latency>,
    /// Errors by name: `refused`, `reset`, `timeout`, `wrong length`, ... Errors that did not occur are absent.
    pub errors: BTreeMap<String, u64>,
    /// The figures of each second, in order; the last one may be shorter.
    pub series: Vec<Tick>,
    /// Usage of the generator.
    pub generator: Usage,
    /// Usage of the server, if it is known.
    pub server: Option<Usage>,
    /// The side that limited the rate: `generator`, `server`, or `neither`.
    pub bottleneck: Option<String>,
    /// Figures that only some scenarios and transports have, by name, such as the counters of attacks.
    pub extra: BTreeMap<String, f64>,
}

/// A distribution of times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Number of recorded times.
    pub count: u64,
    /// Arithmetic mean, ns.
    pub mean: f64,
    /// Standard deviation, ns.
    pub stdev: f64,
    /// The smallest, ns.
    pub min: u64,
    /// The largest, ns.
    pub max: u64,
    /// 50th percentile, ns.
    pub p50: u64,
    /// 75th percentile, ns.
    pub p75: u64,
    /// 90th percentile, ns.
    pub p90: u64,
    /// 99th percentile, ns.
    pub p99: u64,
    /// 99.9th percentile, ns.
    pub p999: u64,
    /// 99.99th percentile, ns.
    pub p9999: u64,
    /// The whole distribution: an HdrHistogram in V2 serialisation as base64, in ns with three significant digits.
    pub histogram: String,
    /// Whether times count from the time a message was due, which avoids coordinated omission.
    pub from_due: bool,
}

/// The figures of a short span of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tick {
    /// Start of the span in seconds since the measurement began; negative in the warm-up.
    pub at: f64,
    /// Length of the span in seconds.
    pub span: f64,
    /// [`Run::done`] of the span.
    pub done: u64,
    /// Errors in the span.
    pub errors: u64,
    /// Open connections at the end of the span.
    pub open: u64,
    /// 50th percentile of the latency, ns; 0 if nothing was recorded, as for the following.
    pub p50: u64,
    /// 99th percentile, ns.
    pub p99: u64,
    /// 99.9th percentile, ns.
    pub p999: u64,
    /// The largest latency, ns.
    pub max: u64,
    /// Cores that the lcores of the generator kept busy, together.
    pub generator_cpu: f64,
    /// Cores that the server used, if known.
    pub server_cpu: Option<f64>,
}

/// CPU time and memory of one side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Cores busy with work, on average. Idle polling does not count where it is known.
    pub cores: f64,
    /// CPU time for each of [`Run::done`], ns.
    pub cpu_per_done: f64,
    /// Idle share of the busiest lcore, 0 to 1; `None` if it is not known.
    pub headroom: Option<f64>,
    /// Resident memory at the end, bytes.
    pub rss: u64,
    /// Resident memory added by each open connection, bytes; with `hold` and `ramp`.
    pub rss_per_connection: Option<f64>,
    /// Largest resident memory seen during the run less that before its first connection, bytes; `None` if it is not known.
    pub rss_growth: Option<f64>,
}
