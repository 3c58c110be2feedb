//! Closed loops in which few of many connections are active.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::{Job, Scenario};
use lab::{Lab, echo, job};

fn run(active: usize, silent: usize) -> Lab {
    let few = Job {
        connections: 10,
        in_flight: 1,
        active,
        silent,
        ..job(Scenario::Echo)
    };
    let mut lab = Lab::new(few, Box::new(|_, message| echo(message)));
    lab.delay = Duration::from_millis(1);
    lab.go();
    lab.turns(Duration::from_secs(1));
    lab.report();
    lab
}

#[test]
fn all_take_their_turns_and_no_more_are_under_way_than_asked_for() {
    let mut lab = run(3, 0);
    assert_eq!(lab.interval.sent - lab.interval.done, 3);
    let counts = lab.messages();
    // Three in a turn come in the order of their numbers, so that one may get ahead of its neighbour again and again.
    let (least, most) = (counts.iter().min(), counts.iter().max());
    assert!(
        least > Some(&100) && most < least.map(|n| 2 * n).as_ref(),
        "{counts:?}"
    );
    lab.halt();
    assert_eq!(lab.failure, None);
}

#[test]
fn the_silent_say_nothing() {
    for (active, talk) in [(0, 3), (2, 3)] {
        let mut lab = run(active, 7);
        let under_way = if active == 0 { talk } else { active };
        assert_eq!(lab.interval.sent - lab.interval.done, under_way as u64);
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
