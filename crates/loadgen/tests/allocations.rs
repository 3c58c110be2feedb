//! In a running load, a message costs the generator no allocation to send, check and time it.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::{Job, Scenario};
use hioload_testkit::counting::{Counting, allocations};
use lab::{Lab, echo, job};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations in the generator's turns while it exchanges messages, and the number of the messages.
fn exchanged(job: Job) -> (u64, u64) {
    let mut lab = Lab::new(job, Box::new(|_, message| echo(message)));
    lab.go();
    lab.turns(Duration::from_millis(300));
    lab.report();
    let mut count = 0;
    for _ in 0..250 {
        count += lab.counted_turn(allocations);
    }
    lab.report();
    assert_eq!(lab.failure, None);
    (count, lab.interval.done)
}

#[test]
fn a_message_costs_no_allocation() {
    for (scenario, sizes, fragments) in [
        (Scenario::Echo, "64", 1),
        (Scenario::Echo, "0..3000", 1),
        (Scenario::Echo, "64", 4),
        (Scenario::Bulk, "20000", 1),
        (Scenario::Rate, "64", 1),
    ] {
        let mut job = job(scenario);
        job.sizes = sizes.parse().expect("sizes");
        job.fragments = fragments;
        job.rate = (scenario == Scenario::Rate).then_some(20_000.0);
        let (count, done) = exchanged(job);
        assert!(done > 100, "{scenario} {sizes}: {done}");
        assert_eq!(count, 0, "{scenario} {sizes}, for {done} messages");
    }
}
