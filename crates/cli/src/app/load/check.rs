//! Combinations of flags that are not possible.

use hioload_loadgen::{Dialect, Scenario, Sizes};

use crate::Failure;
use crate::cli::load::LoadArgs;

/// Checks that the arguments agree.
pub(super) fn check(
    arguments: &LoadArgs,
    connections: usize,
    lcores: usize,
    sizes: &Sizes,
) -> Result<(), Failure> {
    let wrong = |text: String| Err(Failure::usage(text));
    let scenario = arguments.scenario();
    if !arguments.source.is_empty() && !arguments.transport.is_sockets() {
        return wrong(
            "--source needs --transport sockets; user-space TCP connects from the addresses of --ip"
                .to_owned(),
        );
    }
    if scenario == Scenario::Rate && arguments.rate().is_none() {
        return wrong("--scenario rate needs a --rate, in messages per second".to_owned());
    }
    if arguments.rate.is_some()
        && matches!(scenario, Scenario::Echo | Scenario::Bulk | Scenario::Hold)
    {
        return wrong(format!(
            "--scenario {scenario} takes no --rate; the open loop is --scenario rate"
        ));
    }
    if connections < lcores {
        return wrong(format!(
            "{connections} connections are too few for {lcores} lcores"
        ));
    }
    let topics = (arguments.topics.0.max(arguments.publishers.0)) as usize;
    if scenario == Scenario::Fanout && (topics < lcores || connections < topics) {
        return wrong(format!(
            "fanout needs at least one topic for each lcore and one subscriber for each topic: {connections} subscribers, {topics} topics, {lcores} lcores"
        ));
    }
    if scenario == Scenario::Fanout && arguments.dialect != Dialect::Topics && topics > 1 {
        return wrong(format!(
            "--dialect {} has one topic and one publisher",
            arguments.dialect
        ));
    }
    turns(arguments, connections, lcores)?;
    let in_flight = arguments.in_flight.as_ref().map_or(1, |n| n.0 as usize);
    let in_flight_bytes = in_flight.saturating_mul(sizes.largest());
    if !matches!(scenario, Scenario::Rate | Scenario::Hold | Scenario::Ramp)
        && in_flight_bytes > 1 << 30
    {
        return wrong(format!(
            "{in_flight} messages of {} bytes in flight on a connection: the limit is 1 GiB",
            sizes.largest()
        ));
    }
    Ok(())
}

/// Messages in flight on connections that take turns; 0: they do not take turns.
pub(super) fn active(arguments: &LoadArgs) -> usize {
    arguments.active.as_ref().map_or(0, |n| n.0 as usize)
}

/// Checks --active and --silent.
fn turns(arguments: &LoadArgs, connections: usize, lcores: usize) -> Result<(), Failure> {
    let (active, silent) = (active(arguments), arguments.silent as usize);
    let one = arguments.in_flight.as_ref().is_none_or(|n| n.0 == 1) && arguments.max_errors == 0;
    let wrong = if active == 0 && silent == 0 {
        return Ok(());
    } else if arguments.scenario() != Scenario::Echo {
        "--active and --silent need --scenario echo".to_owned()
    } else if silent + active.max(lcores) > connections {
        format!(
            "{connections} connections are too few for {silent} silent and {active} active ones"
        )
    } else if active > 0 && (active < lcores || !one) {
        "--active needs at least one message for each lcore, --in-flight 1, and no --max-errors"
            .to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::usage(wrong))
}
