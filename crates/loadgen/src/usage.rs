//! CPU time used by both ends.

use hioload_engine::CountersHandle;

use crate::process::CpuMark;

/// The source of the server's CPU time and memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerProbe {
    /// They are not known.
    Unknown,
    /// The server is this process of this machine.
    Process(u32),
    /// The server's lcores are in this process. Their counters separate busy from idle time.
    Lcores {
        /// The counters of its lcores.
        counters: CountersHandle,
        /// The threads of its lcores.
        threads: Vec<u32>,
    },
}

/// CPU time used by the server so far.
#[derive(Debug, Clone)]
pub(crate) enum ServerUsage {
    Process(CpuMark),
    Lcores(LcoreUsage),
}

/// CPU time used by lcores of this process so far.
#[derive(Debug, Clone)]
pub(crate) struct LcoreUsage {
    /// Idle time of each lcore, ns.
    idle: Vec<u64>,
    /// CPU time of their threads. It is less than the elapsed time if other threads share their CPUs.
    ran: Option<CpuMark>,
}

impl LcoreUsage {
    pub(crate) fn now(counters: &CountersHandle, threads: &[u32]) -> Self {
        Self {
            idle: counters.each().map(|lcore| lcore.idle_nanos).collect(),
            ran: CpuMark::of_threads(threads),
        }
    }

    /// Cores used for work since `earlier`, `wall` nanoseconds ago, and the busy share of the busiest lcore.
    ///
    /// An lcore that spins uses its CPU whether or not it has work. If other threads share the CPU, the lost time is attributed to
    /// busy and idle time in proportion.
    pub(crate) fn since(&self, earlier: &Self, wall: f64) -> (f64, f64) {
        let wall = wall.max(1.0);
        let pairs = self.idle.iter().zip(&earlier.idle);
        let busy =
            pairs.map(|(now, earlier)| 1.0 - (now.saturating_sub(*earlier) as f64 / wall).min(1.0));
        let (all, most) = busy.fold((0.0, 0.0), |(all, most), busy| {
            (all + busy, f64::max(most, busy))
        });
        let ran = self.ran.as_ref().zip(earlier.ran.as_ref());
        let share = ran.map_or(1.0, |(now, earlier)| {
            now.since(earlier).0 as f64 / (wall * self.idle.len().max(1) as f64)
        });
        (all * share.min(1.0), most)
    }
}

impl ServerUsage {
    pub(crate) fn now(probe: &ServerProbe) -> Option<Self> {
        match probe {
            ServerProbe::Unknown => None,
            ServerProbe::Process(pid) => CpuMark::now(*pid).map(Self::Process),
            ServerProbe::Lcores { counters, threads } => {
                Some(Self::Lcores(LcoreUsage::now(counters, threads)))
            }
        }
    }

    /// Cores used since `earlier`, `wall` nanoseconds ago, and the share of a core that the busiest thread used.
    pub(crate) fn since(&self, earlier: &Self, wall: f64) -> (f64, f64) {
        let wall = wall.max(1.0);
        match (self, earlier) {
            (Self::Process(now), Self::Process(earlier)) => {
                let (all, most) = now.since(earlier);
                (all as f64 / wall, most as f64 / wall)
            }
            (Self::Lcores(now), Self::Lcores(earlier)) => now.since(earlier, wall),
            _ => (0.0, 0.0),
        }
    }
}
