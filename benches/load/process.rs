//! CPU time and memory of a server process, from /proc.

use std::collections::HashMap;
use std::io;
use std::{fs, thread, time::Duration};

/// The run time of each thread of a process.
pub(crate) struct CpuMark {
    pid: u32,
    threads: HashMap<String, u64>,
}

impl CpuMark {
    /// Reads `/proc/PID/task/*/schedstat`, whose first number is the time spent on a CPU in nanoseconds (the ticks
    /// of `/proc/PID/stat` are too coarse).
    pub(crate) fn now(pid: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?;
            // A thread may end after it was listed.
            let Ok(stat) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let nanos = stat
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or(0);
            threads.insert(task.file_name().to_string_lossy().into_owned(), nanos);
        }
        Ok(Self { pid, threads })
    }

    /// Returns the nanoseconds that all threads have run since this mark.
    pub(crate) fn elapsed(&self) -> io::Result<u64> {
        let now = Self::now(self.pid)?;
        let ran = |(tid, nanos): (&String, &u64)| {
            nanos.saturating_sub(self.threads.get(tid).copied().unwrap_or(0))
        };
        Ok(now.threads.iter().map(ran).sum())
    }
}

/// User-space memory of a process in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// `VmRSS`: all resident memory, code and shared mappings included.
    pub(crate) rss: u64,
    /// Resident anonymous memory that no other process shares: heap, stacks, arenas.
    pub(crate) private_anonymous: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Self {
            rss: kib_field(&status, "VmRSS:")? * 1024,
            private_anonymous: kib_field(&rollup, "Anonymous:")? * 1024,
        })
    }

    /// Reads until two consecutive readings agree to one thousandth, or three seconds have passed.
    pub(crate) fn settled(pid: u32) -> io::Result<Self> {
        let mut last = Self::of(pid)?;
        for _ in 0..15 {
            thread::sleep(Duration::from_millis(200));
            let next = Self::of(pid)?;
            if next.rss.abs_diff(last.rss) <= next.rss / 1000 {
                return Ok(next);
            }
            last = next;
        }
        Ok(last)
    }
}

fn kib_field(text: &str, name: &str) -> io::Result<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} field in /proc")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_proc_are_found_by_their_whole_name() {
        let text = "VmHWM:\t  99 kB\nVmRSS:\t    1234 kB\nRssAnon:\t 7 kB\n";
        assert_eq!(kib_field(text, "VmRSS:").expect("field"), 1234);
        assert!(kib_field(text, "Rss:").is_err());
    }
}
