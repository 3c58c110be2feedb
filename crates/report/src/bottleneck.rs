//! The side that limited a part, as text.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::data::Plan;
use crate::format;
use crate::metric::Metric;
use crate::spread::Part;

/// The side that limited a part, as a sentence: the result of most of its repeats.
pub(crate) fn bottleneck_text(part: &Part<'_>, plan: &Plan) -> Option<String> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for side in part.runs.iter().filter_map(|run| run.bottleneck.as_deref()) {
        *votes.entry(side).or_default() += 1;
    }
    let (side, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
    let left = |side: &str| {
        let headroom = Metric::named(&format!("{side}.headroom"))?;
        let spread = part.spread(plan, &headroom)?;
        Some(format::percent(spread.median))
    };
    let mut text = match side {
        "generator" => {
            let busy = left("generator").map_or(String::new(), |left| {
                format!(" (headroom of its busiest lcore: {left})")
            });
            format!(
                "The generator was the bottleneck{busy}. The server may reach a higher rate: repeat the load with more --lcores."
            )
        }
        "server" => {
            let left = left("generator").map_or(String::new(), |left| {
                format!("; the headroom of the generator was {left}")
            });
            format!("The server was the bottleneck{left}.")
        }
        "neither" => no_side_text(part, plan, left("generator")),
        other => format!("The bottleneck was: {}.", format::printable(other)),
    };
    if count < part.runs.len() {
        let _ = write!(text, " (In {count} of {} repeats.)", part.runs.len());
    }
    Some(text)
}

/// The sentence if no side was at its limit.
fn no_side_text(part: &Part<'_>, plan: &Plan, left: Option<String>) -> String {
    let left = left.map_or(String::new(), |left| {
        format!(" The headroom of the generator was {left}.")
    });
    let known = part.runs.iter().all(|run| run.server.is_some());
    let asked = Metric::named("rate").and_then(|rate| rate.as_share());
    let reached = asked.and_then(|rate| part.spread(plan, &rate));
    match (reached, known) {
        _ if matches!(plan.scenario.as_str(), "hold") => {
            format!("Neither side was at its limit.{left}")
        }
        // The rate of a fan-out is in publications, and the figure counts deliveries.
        (Some(share), _) if share.median >= 0.98 || plan.scenario == "fanout" => {
            format!("Neither side was at its limit: the requested rate was reached.{left}")
        }
        (_, false) => format!(
            "The generator was not the bottleneck.{left} The headroom of the server is not known: use --server-pid for a server on this machine."
        ),
        (Some(share), true) => format!(
            "Neither side was at its limit, but the rate was {} of the requested rate.{left}",
            format::percent(share.median)
        ),
        (None, true) => format!(
            "Neither side was at its limit: messages in flight waited for the round trip. More --in-flight or --connections may raise the rate.{left}"
        ),
    }
}
