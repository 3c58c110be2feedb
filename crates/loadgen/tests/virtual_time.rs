//! The open loop, in virtual time, against a server that stalls: what was due meanwhile counts from when it was due.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::{Arrival, Job, Scenario};
use lab::{Lab, TURN, echo, job};

const SECOND: Duration = Duration::from_secs(1);

fn paced(arrival: Arrival, in_flight: usize) -> Job {
    Job {
        rate: Some(1000.0),
        arrival,
        in_flight,
        connections: 10,
        ..job(Scenario::Rate)
    }
}

/// Ten seconds at 1000 a second, with a stall of one second in the midst.
fn stalled(job: Job) -> Lab {
    let mut lab = Lab::new(job, Box::new(|_, message| echo(message)));
    lab.delay = Duration::from_micros(200);
    lab.go();
    lab.turns(4 * SECOND);
    lab.stalled = lab.now + SECOND;
    lab.turns(6 * SECOND);
    lab.halt();
    assert_eq!(lab.failure, None);
    lab
}

#[test]
fn a_stall_of_a_second_is_seen_by_everything_that_was_due_in_it() {
    // However few messages a connection may have under way: what waits to be sent counts too.
    for in_flight in [1, 4, 1024] {
        let lab = stalled(paced(Arrival::Even, in_flight));
        let times = &lab.interval.times;
        assert!((9_990..=10_010).contains(&times.len()), "{}", times.len());
        // A tenth of all was due in the stall, and waited between nothing and a second for its end.
        let (p50, p88) = (times.value_at_quantile(0.5), times.value_at_quantile(0.88));
        assert!(p50 < 2_000_000 && p88 < 20_000_000, "{p50} {p88}");
        for (quantile, expected) in [(0.95, 500e6), (0.99, 900e6), (0.999, 990e6)] {
            let came = times.value_at_quantile(quantile) as f64;
            assert!(
                (came - expected).abs() < 25e6,
                "{in_flight} under way, {quantile}: {came}"
            );
        }
        assert!(times.max() <= 1_010_000_000);
    }
}

#[test]
fn from_when_it_was_sent_the_stall_would_hide() {
    // The closed loop has a message or so of each connection in it.
    let mut closed = job(Scenario::Echo);
    (closed.connections, closed.in_flight) = (10, 1);
    let mut lab = Lab::new(closed, Box::new(|_, message| echo(message)));
    lab.delay = Duration::from_millis(10);
    lab.go();
    lab.turns(4 * SECOND);
    lab.stalled = lab.now + SECOND;
    lab.turns(6 * SECOND);
    lab.halt();
    let times = &lab.interval.times;
    assert!(times.len() > 5000);
    assert!(times.value_at_quantile(0.99) < 20_000_000);
    assert!(times.max() > 990_000_000);
}

#[test]
fn an_open_loop_sends_at_its_rate_whatever_comes_back() {
    for arrival in [Arrival::Even, Arrival::Poisson] {
        let mut lab = Lab::new(paced(arrival, 1024), Box::new(|_, message| echo(message)));
        lab.delay = Duration::from_millis(700);
        lab.go();
        lab.turns(5 * SECOND);
        lab.report();
        let (sent, done) = (lab.interval.sent as f64, lab.interval.done as f64);
        // Five standard deviations of a Poisson count are 350.
        assert!((sent - 5000.0).abs() < 400.0, "{sent}");
        assert!((done - 4300.0).abs() < 400.0, "{done}");
    }
}

#[test]
fn times_are_exact_to_a_turn() {
    let mut lab = Lab::new(
        paced(Arrival::Even, 1024),
        Box::new(|_, message| echo(message)),
    );
    lab.delay = Duration::from_millis(3);
    lab.run(2 * SECOND);
    let least = Duration::from_millis(3).as_nanos() as u64;
    let most = least + 3 * TURN.as_nanos() as u64;
    let times = &lab.interval.times;
    assert!(times.min() >= least * 999 / 1000, "{}", times.min());
    assert!(times.max() <= most * 1001 / 1000, "{}", times.max());
}
