//! Closed loops in which few of many connections are active.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::Scenario;
use lab::{Lab, echo, job};

fn run(active: usize, silent: usize) -> Lab {
    let mut few = job(Scenario::Echo);
    few.connections = 10;
    few.in_flight = 1;
    few.active = active;
    few.silent = silent;
    let mut lab = Lab::new(few, Box::new(|_, message| echo(message)));
    lab.delay = Duration::from_millis(1);
    lab.go();
    lab.turns(Duration::from_secs(1));
    lab.report();
    lab
}

#[test]
fn connections_take_turns_within_the_limit_of_active() {
    let mut lab = run(3, 0);
    assert_eq!(lab.interval.sent - lab.interval.done, 3);
    let counts = lab.messages();
    // Three answers of one turn arrive in the order of their connections, so that a connection may overtake its neighbour repeatedly.
    let (least, most) = (counts.iter().min(), counts.iter().max());
    assert!(
        least > Some(&100) && most < least.map(|n| 2 * n).as_ref(),
        "{counts:?}"
    );
    lab.halt();
    assert_eq!(lab.failure, None);
}

#[test]
fn silent_connections_send_nothing() {
    for (active, talk) in [(0, 3), (2, 3)] {
        let mut lab = run(active, 7);
        let in_flight = if active == 0 { talk } else { active };
        assert_eq!(lab.interval.sent - lab.interval.done, in_flight as u64);
        let counts = lab.messages();
        assert_eq!(
            counts.iter().filter(|&&n| n > 0).count(),
            talk,
            "{counts:?}"
        );
        lab.halt();
        assert_eq!(lab.failure, None);
    }
}
