//! The figures of a run, from what the lcores counted and what both ends used.

use std::time::Instant;

use hioload_report::{Latency, Run, Tick};

use crate::job::{Job, Scenario};
use crate::meter::{Interval, Times};
use crate::process;
use crate::usage::{self, ServerProbe};

/// What both ends have used up to a moment.
#[derive(Clone)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) own: usage::LcoreUsage,
    pub(crate) server: Option<usage::ServerUsage>,
}

/// The sum of one interval of all lcores.
pub(crate) struct Moment {
    pub(crate) interval: Interval,
    pub(crate) open: usize,
    pub(crate) mark: Mark,
}

/// The figures of an interval, for the series of a run.
pub(crate) fn tick_of(moment: &Moment, last: &Mark, start: Instant, offset: f64) -> Tick {
    let Moment {
        interval,
        open,
        mark,
    } = moment;
    let span = (mark.at - last.at).as_secs_f64();
    let wall = span * 1e9;
    let at = |quantile| match interval.times.len() {
        0 => 0,
        _ => interval.times.value_at_quantile(quantile),
    };
    Tick {
        at: (last.at - start).as_secs_f64() + offset,
        span,
        done: interval.done,
        errors: interval.error_count(),
        open: *open as u64,
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        generator_cpu: mark.own.since(&last.own, wall).0,
        server_cpu: last
            .server
            .as_ref()
            .zip(mark.server.as_ref())
            .map(|(last, now)| now.since(last, wall).0),
    }
}

/// A distribution as it is reported; `None` if nothing was recorded.
pub(crate) fn latency(times: &Times, from_due: bool) -> Option<Latency> {
    (!times.is_empty()).then(|| Latency::of(times, from_due))
}

/// Resident memory of both ends.
pub(crate) struct Memory {
    own: u64,
    server: Option<u64>,
}

impl Memory {
    pub(crate) fn now(probe: &ServerProbe) -> Self {
        Self {
            own: process::rss(std::process::id()).unwrap_or(0),
            server: match probe {
                ServerProbe::Process(pid) => process::rss(*pid),
                _ => None,
            },
        }
    }

    /// The larger of each.
    pub(crate) fn max(&self, other: &Self) -> Self {
        Self {
            own: self.own.max(other.own),
            server: self.server.max(other.server),
        }
    }

    /// Writes the difference to `before` into the figures, and that of `peak`, the largest seen.
    pub(crate) fn write(
        &self,
        before: &Self,
        peak: &Self,
        run: &mut Run,
        job: &Job,
        probe: &ServerProbe,
    ) {
        let connections = job.connections.max(1) as f64;
        let each = |after: u64, before: u64| (after as f64 - before as f64) / connections;
        let holds = matches!(job.scenario, Scenario::Hold | Scenario::Ramp);
        run.generator.rss = self.own;
        let both = matches!(probe, ServerProbe::Lcores { .. });
        if holds {
            let own = each(self.own, before.own);
            if both {
                run.extra
                    .insert("rss_per_connection_both_ends".to_owned(), own);
            } else {
                run.generator.rss_per_connection = Some(own);
            }
        }
        if let Some(rss) = self.server {
            let usage = run.server.get_or_insert_default();
            usage.rss = rss;
            let growth = peak.server.max(self.server).zip(before.server);
            usage.rss_growth = growth.map(|(peak, before)| peak.saturating_sub(before) as f64);
            if let (true, Some(before)) = (holds, before.server) {
                usage.rss_per_connection = Some(each(rss, before));
            }
        }
    }
}
