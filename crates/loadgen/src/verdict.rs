//! What the server used, and what limited a run.

use hioload_engine::CountersHandle;

use crate::control::ServerProbe;
use crate::job::{Job, Scenario};
use crate::process::CpuMark;
use hioload_report::Run;

/// A side with less of its time left than this is taken to be at its limit.
const LITTLE: f64 = 0.05;
/// A load that reaches this part of the rate that was asked for is as it was asked for.
const AS_ASKED: f64 = 0.98;

/// What the server has used so far.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    Process(CpuMark),
    Lcores(Lcores),
}

/// What lcores of this process have used so far.
#[derive(Debug, Clone)]
pub(crate) struct Lcores {
    /// Nanoseconds that each had nothing to do.
    idle: Vec<u64>,
    /// What their threads have run, which is less than the time that passed if they share their CPUs with others.
    ran: Option<CpuMark>,
}

impl Lcores {
    pub(crate) fn now(counters: &CountersHandle, threads: &[u32]) -> Self {
        let lcores = counters.lcores().iter();
        Self {
            idle: lcores.map(|lcore| lcore.idle_nanos.get()).collect(),
            ran: CpuMark::of_threads(threads),
        }
    }

    /// Cores used for work since `earlier`, `wall` nanoseconds ago, and the part of its time that the busiest had work.
    ///
    /// An lcore that spins uses its CPU whether or not there is work. Others may use it too: then it lost that time while it had
    /// work and while it had none, in proportion.
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

impl Server {
    pub(crate) fn now(probe: &ServerProbe) -> Option<Self> {
        match probe {
            ServerProbe::Unknown => None,
            ServerProbe::Process(pid) => CpuMark::now(*pid).map(Self::Process),
            ServerProbe::Lcores { counters, threads } => {
                Some(Self::Lcores(Lcores::now(counters, threads)))
            }
        }
    }

    /// Cores used since `earlier`, `wall` nanoseconds ago, and the part of a core that the busiest thread used.
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

/// `generator`, `server` or `neither`. Where both are at their limit it is the generator: what it measured may not be all that
/// the server can do.
pub(crate) fn bottleneck(run: &Run, job: &Job) -> &'static str {
    if job.scenario == Scenario::Hold {
        return "neither";
    }
    let asked = match job.scenario {
        Scenario::Fanout => job
            .rate
            .map(|rate| rate * job.connections as f64 / job.topics.max(1) as f64),
        _ => job.rate,
    };
    if asked.is_some_and(|asked| run.rate >= asked * AS_ASKED) {
        return "neither";
    }
    let at_limit = |headroom: Option<f64>| headroom.is_some_and(|headroom| headroom < LITTLE);
    if at_limit(run.generator.headroom) {
        return "generator";
    }
    match &run.server {
        Some(server) if at_limit(server.headroom) => "server",
        // A closed loop with few messages under way waits for the way there and back.
        _ => "neither",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hioload_report::Usage;

    fn run(generator: f64, server: Option<f64>) -> Run {
        let usage = |headroom| Usage {
            headroom: Some(headroom),
            ..Usage::default()
        };
        Run {
            rate: 1000.0,
            generator: usage(generator),
            server: server.map(usage),
            ..Run::default()
        }
    }

    #[test]
    fn who_has_no_time_left_is_to_blame() {
        let mut job = crate::job::tests::job(Scenario::Echo);
        for (generator, server, who) in [
            (0.5, Some(0.01), "server"),
            (0.01, Some(0.5), "generator"),
            (0.01, Some(0.01), "generator"),
            (0.01, None, "generator"),
            (0.5, Some(0.5), "neither"),
            (0.5, None, "neither"),
        ] {
            assert_eq!(bottleneck(&run(generator, server), &job), who);
        }
        job.rate = Some(1010.0);
        assert_eq!(bottleneck(&run(0.0, Some(0.0)), &job), "neither");
        job.rate = Some(2000.0);
        assert_eq!(bottleneck(&run(0.5, Some(0.0)), &job), "server");
    }
}
