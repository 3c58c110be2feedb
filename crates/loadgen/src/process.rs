//! CPU time and memory of processes, from `/proc`.

use std::collections::HashMap;
use std::fs;

/// CPU time of each thread of a process at one moment, in nanoseconds: the first number of `/proc/PID/task/*/schedstat`. The clock
/// ticks of `/proc/PID/stat` are too coarse.
#[derive(Debug, Clone)]
pub struct CpuMark(HashMap<u32, u64>);

impl CpuMark {
    /// The CPU times now; `None` if there is no such process, or no /proc.
    pub fn now(pid: u32) -> Option<Self> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
            // A thread may end between the listing and the reading.
            let read = fs::read_to_string(task.path().join("schedstat"));
            let nanos = read
                .ok()
                .and_then(|text| text.split(' ').next()?.parse().ok());
            let name = task.file_name();
            let tid = name.to_str().and_then(|name| name.parse().ok());
            if let (Some(tid), Some(nanos)) = (tid, nanos) {
                threads.insert(tid, nanos);
            }
        }
        (!threads.is_empty()).then_some(Self(threads))
    }

    /// The CPU times now of these threads of this process.
    pub fn of_threads(threads: &[u32]) -> Option<Self> {
        let Self(mut all) = Self::now(std::process::id())?;
        all.retain(|tid, _| threads.contains(tid));
        (!all.is_empty()).then_some(Self(all))
    }

    /// CPU time since `earlier` in nanoseconds: of all threads together, and of the busiest thread.
    pub fn since(&self, earlier: &Self) -> (u64, u64) {
        let ran = |(tid, nanos): (&u32, &u64)| {
            nanos.saturating_sub(earlier.0.get(tid).copied().unwrap_or(0))
        };
        let all = || self.0.iter().map(ran);
        (all().sum(), all().max().unwrap_or(0))
    }
}

/// The threads of this process that are lcores.
pub fn lcore_threads() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lcores = tasks.filter(|task| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.starts_with("lcore-"))
    });
    lcores
        .filter_map(|task| task.file_name().to_str()?.parse().ok())
        .collect()
}

/// Resident memory of a process, in bytes.
pub fn rss(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib_field(&status, "VmRSS:").map(|kib| kib * 1024)
}

/// A field of a file in /proc, in KiB.
pub(crate) fn kib_field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "VmHWM:\t  99 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(kib_field(text, "VmRSS:"), Some(1234));
        assert_eq!(kib_field(text, "Rss:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn cpu_time_and_memory_of_this_process_are_read() {
        let pid = std::process::id();
        let before = CpuMark::now(pid).expect("a mark");
        let spun = (0..20_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n));
        assert!(spun < u64::MAX);
        let (all, most) = CpuMark::now(pid).expect("a mark").since(&before);
        assert!(all >= most && most > 0);
        assert!(rss(pid).expect("memory") > 100_000);
        assert_eq!(rss(u32::MAX), None);
    }
}
