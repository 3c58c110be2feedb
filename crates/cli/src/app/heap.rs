//! Memory that handshakes have left goes back to the system.
//!
//! A handshake of rustls makes hundreds of short-lived objects, and each expanded key is one. After a burst of them, the heap of an lcore
//! is mostly free, and glibc keeps its pages.

use std::io;
use std::thread;
use std::time::Duration;

use hioload_engine::CountersHandle;

/// The time between two looks at the counters.
const EVERY: Duration = Duration::from_secs(5);
/// Handshakes and freed keys since the last time that make it worth while.
const MANY: u64 = 1000;
/// Those since the last look, above which it waits: a handshake that allocates while the pages are returned would wait for them.
const FEW: u64 = 50;
/// The counters that are added up.
const FREED: [&str; 4] = [
    "tls_handshakes",
    "tls_handshake_failures",
    "tls_handshake_timeouts",
    "tls_keys_freed",
];

/// Starts the thread that returns the memory. It ends with the process.
///
/// # Errors
/// The thread could not be started.
pub(super) fn watch(counters: CountersHandle) -> io::Result<()> {
    thread::Builder::new()
        .name("heap".to_owned())
        .spawn(move || {
            let mut pace = Pace::default();
            loop {
                thread::sleep(EVERY);
                let totals = counters.totals();
                if pace.is_due(FREED.iter().filter_map(|name| totals.get(name)).sum()) {
                    hioload_mem::heap::release_free_pages();
                }
            }
        })?;
    Ok(())
}

/// When memory is returned: after many objects were freed, once few more are.
#[derive(Default)]
struct Pace {
    released_at: u64,
    seen: u64,
}

impl Pace {
    /// `freed`: handshakes and keys so far.
    fn is_due(&mut self, freed: u64) -> bool {
        let is_quiet = freed - self.seen <= FEW;
        self.seen = freed;
        if !is_quiet || freed - self.released_at < MANY {
            return false;
        }
        self.released_at = freed;
        true
    }
}

#[cfg(test)]
mod tests {
    use hioload_tls::TlsStats;

    use super::*;

    #[test]
    fn memory_is_returned_once_after_a_burst_and_not_during_it() {
        let mut pace = Pace::default();
        let looks = [0, 10, 900, 2000, 2000, 2000, 2050, 2990, 3000, 3049, 3050];
        let due: Vec<bool> = looks.map(|freed| pace.is_due(freed)).to_vec();
        let wanted = [
            false, false, false, false, true, false, false, false, true, false, false,
        ];
        assert_eq!(due, wanted);
    }

    #[test]
    fn the_counters_exist() {
        let names: Vec<&str> = TlsStats::META.iter().map(|meta| meta.name).collect();
        for name in FREED {
            assert!(names.contains(&name), "{name}");
        }
    }
}
