//! Binding a thread to a CPU.

use std::io;

/// Binds the calling thread to one CPU.
///
/// # Errors
/// `InvalidInput` if there is no such CPU, or the process may not use it because its cpuset (for instance a container's)
/// excludes it; `Unsupported` where the system has no such call.
#[cfg(target_os = "linux")]
pub fn pin_to(cpu: usize) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_setaffinity};

    let refuse = |reason: &str| {
        let text = format!("cannot run on CPU {cpu}: {reason}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    if cpu >= CpuSet::MAX_CPU {
        return Err(refuse("no such CPU"));
    }
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).map_err(|error| match error {
        rustix::io::Errno::INVAL => {
            refuse("it does not exist, or the cpuset of this process excludes it")
        }
        other => other.into(),
    })
}

/// Binds the calling thread to one CPU.
///
/// # Errors
/// `Unsupported`: this system has no such call.
#[cfg(not(target_os = "linux"))]
pub fn pin_to(cpu: usize) -> io::Result<()> {
    let text = format!("cannot bind a thread to CPU {cpu} on this system");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::Topology;

    #[test]
    fn a_pinned_thread_may_use_that_cpu_alone() {
        let id = Topology::detect().cpus().last().expect("a CPU").id;
        // In a thread of its own, whose affinity ends with it.
        let seen = std::thread::spawn(move || {
            pin_to(id).expect("an allowed CPU");
            Topology::detect()
                .cpus()
                .iter()
                .map(|cpu| cpu.id)
                .collect::<Vec<_>>()
        });
        assert_eq!(seen.join().expect("no panic"), [id]);
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused_by_its_number() {
        for cpu in [1023, 1024, usize::MAX] {
            let error = pin_to(cpu).expect_err("there is no such CPU");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(&cpu.to_string()));
        }
    }
}
