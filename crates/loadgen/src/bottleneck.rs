//! The side that limited a run.

use crate::job::{Job, Scenario};
use hioload_report::Run;

/// A side with less headroom than this is at its limit.
const LEAST_HEADROOM: f64 = 0.05;
/// Share of the requested rate from which the rate counts as reached.
const RATE_REACHED: f64 = 0.98;

/// The side that limited the rate: `generator`, `server` or `neither`. If both are at their limit it is the generator, because the
/// server may be capable of more than was measured.
pub(crate) fn bottleneck(run: &Run, job: &Job) -> &'static str {
    if job.scenario == Scenario::Hold {
        return "neither";
    }
    let requested = match job.scenario {
        Scenario::Fanout => job
            .rate
            .map(|rate| rate * job.connections as f64 / job.topics.max(1) as f64),
        _ => job.rate,
    };
    if requested.is_some_and(|requested| run.rate >= requested * RATE_REACHED) {
        return "neither";
    }
    let at_limit =
        |headroom: Option<f64>| headroom.is_some_and(|headroom| headroom < LEAST_HEADROOM);
    if at_limit(run.generator.headroom) {
        return "generator";
    }
    match &run.server {
        Some(server) if at_limit(server.headroom) => "server",
        // A closed loop with few messages in flight waits for the round trip.
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
    fn the_side_without_headroom_is_the_bottleneck() {
        let mut job = crate::job::tests::job(Scenario::Echo);
        for (generator, server, side) in [
            (0.5, Some(0.01), "server"),
            (0.01, Some(0.5), "generator"),
            (0.01, Some(0.01), "generator"),
            (0.01, None, "generator"),
            (0.5, Some(0.5), "neither"),
            (0.5, None, "neither"),
        ] {
            assert_eq!(bottleneck(&run(generator, server), &job), side);
        }
        job.rate = Some(1010.0);
        assert_eq!(bottleneck(&run(0.0, Some(0.0)), &job), "neither");
        job.rate = Some(2000.0);
        assert_eq!(bottleneck(&run(0.5, Some(0.0)), &job), "server");
    }
}
