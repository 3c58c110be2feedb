//! Seeds of the target `topics`.

use super::{SPLITS, Seed, seed};

/// The numbers of the words `a`, `b`, `*`, `>` and `c` in a topic.
const A: u8 = 0;
const B: u8 = 1;
const ANY: u8 = 2;
const REST: u8 = 4;
const C: u8 = 6;

/// A step with a topic. A count beyond 240 stands for five tokens or more.
fn with_topic(what: u8, who: u8, tokens: &[u8]) -> Vec<u8> {
    let count = match tokens.len() {
        n @ 1..=4 => n as u8 - 1,
        n => n as u8 + 237,
    };
    [&[what, who, count], tokens].concat()
}

fn subscribe(who: u8, tokens: &[u8]) -> Vec<u8> {
    with_topic(0, who, tokens)
}

fn unsubscribe(who: u8, tokens: &[u8]) -> Vec<u8> {
    with_topic(3, who, tokens)
}

fn publish(who: u8, tokens: &[u8]) -> Vec<u8> {
    with_topic(5, who, tokens)
}

fn rest() -> Vec<u8> {
    vec![11, 0]
}

fn script(name: &str, options: u8, steps: &[Vec<u8>]) -> Seed {
    seed(name, &[&[options], SPLITS, &steps.concat()])
}

pub fn seeds() -> Vec<Seed> {
    // Options: at rest after each step (1), 4 lcores (6), the limits in bits 3 and 4.
    let to_all = |options: u8, name: &str| {
        let mut steps: Vec<_> = (0..8).map(|who| subscribe(who, &[A, ANY])).collect();
        steps.extend((0..8).map(|who| publish(who, &[A, B])));
        steps.push(rest());
        steps.extend((0..8).map(|who| unsubscribe(who, &[A, ANY])));
        steps.extend((0..8).map(|who| publish(who, &[A, B])));
        script(name, options, &steps)
    };
    let deep: Vec<u8> = [A, ANY].into_iter().cycle().take(16).collect();
    vec![
        to_all(7, "to-all-at-rest"),
        to_all(6, "to-all"),
        to_all(0, "one-lcore"),
        to_all(14, "few-subscriptions"),
        to_all(22, "few-bytes"),
        to_all(30, "one-message-in-a-turn"),
        script(
            "overlapping",
            6,
            &[
                subscribe(1, &[A, B]),
                subscribe(1, &[A, ANY]),
                subscribe(1, &[REST]),
                publish(0, &[A, B]),
                unsubscribe(1, &[REST]),
                publish(2, &[A, B]),
                rest(),
                unsubscribe(1, &[A, B]),
                publish(0, &[A, B]),
            ],
        ),
        script(
            "changes-under-way",
            6,
            &[
                subscribe(1, &[A]),
                publish(0, &[A]),
                unsubscribe(1, &[A]),
                subscribe(2, &[A]),
                publish(0, &[A]),
                subscribe(1, &[A]),
                vec![10, 0, 2],
                publish(3, &[A]),
            ],
        ),
        script(
            "leaving",
            6,
            &[
                subscribe(1, &[C, REST]),
                subscribe(2, &[C, REST]),
                publish(0, &[C, A]),
                vec![8, 1, 3],
                publish(0, &[C, A]),
                vec![9, 2, 0],
                subscribe(2, &[C, A]),
                publish(0, &[C, A]),
            ],
        ),
        script(
            "refused",
            7,
            &[
                publish(0, &[A, ANY]),
                subscribe(0, &[REST, A]),
                subscribe(0, &deep),
                subscribe(0, &[A; 17]),
                unsubscribe(0, &[B]),
                publish(0, &[A; 17]),
                publish(0, &[A; 16]),
                vec![4, 0, 5],
            ],
        ),
    ]
}
