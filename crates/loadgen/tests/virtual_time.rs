//! The open loop in virtual time against a server that stalls: latencies count from the time at which a message was due.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::{Arrival, Job, Scenario};
use lab::{Lab, TURN, echo, job};

const SECOND: Duration = Duration::from_secs(1);

fn paced(arrival: Arrival, in_flight: usize) -> Job {
    let mut job = job(Scenario::Rate);
    job.rate = Some(1000.0);
    job.arrival = arrival;
    job.in_flight = in_flight;
    job.connections = 10;
    job
}

/// Ten seconds at 1000 messages a second, with a stall of one second after four.
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
fn a_stall_delays_every_message_that_was_due_in_it() {
    // This holds for any window: a message that waits to be sent counts too.
    for in_flight in [1, 4, 1024] {
        let lab = stalled(paced(Arrival::Even, in_flight));
        let times = &lab.interval.times;
        assert!((9_990..=10_010).contains(&times.len()), "{}", times.len());
        // A tenth of all messages was due in the stall and waited up to one second for its end.
        let (p50, p88) = (times.value_at_quantile(0.5), times.value_at_quantile(0.88));
        assert!(p50 < 2_000_000 && p88 < 20_000_000, "{p50} {p88}");
        for (quantile, expected) in [(0.95, 500e6), (0.99, 900e6), (0.999, 990e6)] {
            let came = times.value_at_quantile(quantile) as f64;
            assert!(
                (came - expected).abs() < 25e6,
                "{in_flight} in flight, {quantile}: {came}"
            );
        }
        assert!(times.max() <= 1_010_000_000);
    }
}

#[test]
fn a_closed_loop_hides_the_stall() {
    // Of the closed loop, the stall delays one message of each connection.
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
fn an_open_loop_keeps_its_rate_while_answers_are_late() {
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
fn latencies_are_exact_to_a_turn() {
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
