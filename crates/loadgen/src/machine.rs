//! The machine of the generator.

use std::fs;
use std::thread::available_parallelism;

use crate::process::kib_field;
use hioload_report::Machine;

/// Reads the properties and the load average of this machine from `/proc`. Missing values are empty or 0.
pub fn detect() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(String::new, |(_, name)| name.trim().to_owned());
    let [system, release] =
        ["ostype", "osrelease"].map(|name| read(&format!("/proc/sys/kernel/{name}")));
    let load = read("/proc/loadavg");
    Machine {
        cpu,
        cpus: available_parallelism().map_or(1, usize::from),
        kernel: format!("{} {}", system.trim(), release.trim()),
        memory: kib_field(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) * 1024,
        load_before: load
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or(0.0),
    }
}
