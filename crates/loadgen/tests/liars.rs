//! Every wrong answer of a server is detected: the run fails, and its error names the fault.
#![allow(missing_docs)]

mod lab;

use std::time::Duration;

use hioload_loadgen::{Job, Scenario, Sizes, Verify};
use hioload_ws_proto::{Kind, OpCode};
use lab::{Answer, Lab, echo, frame, job};

const TIME: Duration = Duration::from_millis(50);

/// The job with one connection, so that the server's count is the connection's.
fn one(sizes: &str) -> Job {
    let mut job = job(Scenario::Echo);
    job.connections = 1;
    job.in_flight = 4;
    job.sizes = sizes.parse::<Sizes>().expect("sizes");
    job
}

/// The failure of a run whose server answers message `at` with `lie`, and all others correctly.
fn lied(job: Job, at: usize, mut lie: impl FnMut(&[u8]) -> Vec<Vec<u8>> + 'static) -> String {
    let answer: Answer = Box::new(
        move |n, message| {
            if n == at { lie(message) } else { echo(message) }
        },
    );
    let mut lab = Lab::new(job, answer);
    lab.run(TIME);
    lab.failure.expect("the fault is detected")
}

fn binary(payload: &[u8]) -> Vec<Vec<u8>> {
    vec![frame(OpCode::Binary, payload)]
}

#[test]
fn a_correct_server_passes() {
    for sizes in ["0", "1", "64", "5000", "0..300", "64:9,70000:1"] {
        for fragments in [1, 3] {
            let mut job = one(sizes);
            job.fragments = fragments;
            let mut lab = Lab::new(job, Box::new(|_, message| echo(message)));
            lab.run(TIME);
            assert_eq!(lab.failure, None, "{sizes}");
            assert!(lab.interval.done > 100, "{sizes}: {}", lab.interval.done);
            assert_eq!(lab.interval.errors.len(), 0);
            let [parts, ends] = lab.frames;
            let fixed = sizes == "64" || sizes == "5000";
            assert!(!fixed || parts == ends * (fragments - 1), "{parts} {ends}");
        }
    }
}

#[test]
fn a_wrong_length_fails_the_run() {
    for at in [0, 1, 17, 100] {
        let line = lied(one("64"), at, |message| binary(&message[..63]));
        assert!(line.contains("wrong length"), "{line}");
        let line = lied(one("64"), at, |message| binary(&[message, b"x"].concat()));
        assert!(line.contains("wrong length"), "{line}");
        let line = lied(one("64"), at, |_| binary(b""));
        assert!(line.contains("wrong length"), "{line}");
    }
}

#[test]
fn any_wrong_byte_fails_the_run() {
    for place in 0..64 {
        let line = lied(one("64"), 9, move |message| {
            let mut message = message.to_vec();
            message[place] ^= 1 << (place % 8);
            binary(&message)
        });
        let caught = ["wrong byte", "wrong order"];
        assert!(caught.iter().any(|name| line.contains(name)), "{line}");
    }
    for place in [0, 16_000, 69_999] {
        let line = lied(one("70000"), 3, move |message| {
            let mut message = message.to_vec();
            message[place] ^= 0x80;
            binary(&message)
        });
        assert!(line.contains("wrong byte"), "{line}");
    }
}

#[test]
fn a_missing_answer_fails_the_run() {
    let line = lied(one("64"), 9, |_| Vec::new());
    assert!(
        line.contains("wrong order") && line.contains("1 later"),
        "{line}"
    );
    // With one message in flight no later answer shows the gap: the timeout does.
    let mut job = one("64");
    job.in_flight = 1;
    let line = lied(job, 9, |_| Vec::new());
    assert!(line.contains("missing"), "{line}");
}

#[test]
fn a_repeated_answer_fails_the_run() {
    for in_flight in [1, 4] {
        let mut job = one("64");
        job.in_flight = in_flight;
        let line = lied(job, 9, |message| [echo(message), echo(message)].concat());
        assert!(line.contains("wrong order"), "{line}");
    }
}

#[test]
fn a_missing_or_repeated_last_answer_fails_the_run() {
    // Of an open loop, whose last message is known: 100 in a second.
    let paced = || {
        let mut job = one("64");
        job.scenario = Scenario::Rate;
        job.rate = Some(100.0);
        job
    };
    for (lie, name) in [(0, "missing"), (2, "unasked")] {
        let answer: Answer = Box::new(move |n, message| match n {
            99 => vec![frame(OpCode::Binary, message); lie],
            _ => echo(message),
        });
        let mut lab = Lab::new(paced(), answer);
        lab.delay = Duration::from_millis(1);
        // The hundredth is due at 990 ms.
        lab.go();
        lab.turns(Duration::from_micros(990_100));
        lab.halt();
        let line = lab.failure.expect("the fault is detected");
        assert!(line.contains(name), "{line}");
    }
}

#[test]
fn answers_out_of_order_fail_the_run() {
    let mut kept = Vec::new();
    let answer: Answer = Box::new(move |n, message| match n {
        9 => {
            kept = message.to_vec();
            Vec::new()
        }
        10 => [echo(message), echo(&kept)].concat(),
        _ => echo(message),
    });
    let mut lab = Lab::new(one("64"), answer);
    lab.run(TIME);
    let line = lab.failure.expect("the fault is detected");
    assert!(line.contains("wrong order"), "{line}");
}

#[test]
fn an_answer_of_the_wrong_kind_fails_the_run() {
    let line = lied(one("64"), 9, |message| {
        // The text is UTF-8, so that the engine accepts it.
        vec![frame(OpCode::Text, &vec![b'x'; message.len()])]
    });
    assert!(line.contains("wrong kind"), "{line}");
    let mut job = one("64");
    job.kind = Kind::Text;
    let mut lab = Lab::new(job, Box::new(|_, message| binary(message)));
    lab.run(TIME);
    let line = lab.failure.expect("the fault is detected");
    assert!(line.contains("wrong kind"), "{line}");
}

#[test]
fn answers_on_the_wrong_connection_fail_the_run() {
    let mut job = one("64");
    job.connections = 2;
    let mut kept: Option<Vec<u8>> = None;
    // Each connection gets the message of the other.
    let answer: Answer = Box::new(move |n, message| match (n, kept.take()) {
        (9, Some(other)) => echo(&other),
        (9, None) => {
            kept = Some(message.to_vec());
            echo(message)
        }
        (_, other) => {
            kept = other;
            echo(message)
        }
    });
    let mut lab = Lab::new(job, answer);
    lab.run(TIME);
    assert!(lab.failure.is_some());
}

#[test]
fn verify_length_ignores_wrong_bytes() {
    let wrong_byte = |verify| {
        let mut job = one("64");
        job.verify = verify;
        let answer: Answer = Box::new(|_, message| {
            let mut message = message.to_vec();
            message[40] ^= 1;
            binary(&message)
        });
        let mut lab = Lab::new(job, answer);
        lab.run(TIME);
        lab.failure
    };
    assert_eq!(wrong_byte(Verify::Length), None);
    assert!(wrong_byte(Verify::Content).is_some());
}

#[test]
fn a_lost_connection_is_counted_and_opened_again() {
    let mut job = one("64");
    job.max_errors = 10;
    let mut lab = Lab::new(job, Box::new(|_, message| echo(message)));
    lab.go();
    lab.turns(TIME);
    lab.end_one();
    lab.turns(TIME);
    lab.report();
    assert_eq!(lab.interval.errors.get("lost"), Some(&1));
    let before = lab.interval.done;
    lab.turns(TIME);
    lab.halt();
    assert_eq!(lab.failure, None);
    assert!(lab.interval.done > before / 4);
}
