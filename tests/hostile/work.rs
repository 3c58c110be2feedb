//! Little input that costs much work: topics, compressed messages, churn, and publications that nobody can hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CONTINUATION, FIN, TEXT};
use crate::common::{Client, Got, Server};
use crate::floods::compressing;
use crate::topics::{PROTOCOL, connect, hear, say, subscribe};

const RSV1: u8 = 0x40;
/// Two lcores where the test chooses their number.
const TWO: [&str; 2] = ["--lcores", "2"];
/// Subscribers that are spread over the lcores.
const SUBSCRIBERS: usize = 8;
/// Tokens of a deep topic.
const DEPTH: usize = 16;

/// Sends commands without ids in one write.
fn say_all<'a>(client: &mut Client, texts: impl IntoIterator<Item = &'a String>) {
    let frames = texts
        .into_iter()
        .flat_map(|text| wire::frame(FIN | TEXT, text.as_bytes()));
    client.write(&frames.collect::<Vec<_>>());
}

/// Connections that have subscribed to `topic`.
fn subscribers(server: &Server, topic: &str) -> Vec<Client> {
    let mut all: Vec<_> = (0..SUBSCRIBERS).map(|_| connect(server)).collect();
    all.iter_mut().for_each(|one| subscribe(one, topic));
    all
}

/// Publishes `count` numbers, each after the server has confirmed the one before it.
fn publish(publisher: &mut Client, topic: &str, count: u64) {
    for number in 0..count {
        say(
            publisher,
            &json!({"pub": topic, "data": number, "id": number}),
        );
        assert_eq!(hear(publisher), json!({"ok": number}));
    }
}

/// Each of them has received all numbers, in order.
fn expect_all(subscribers: &mut [Client], topic: &str, count: u64) {
    for subscriber in subscribers {
        for number in 0..count {
            assert_eq!(hear(subscriber), json!({"msg": topic, "data": number}));
        }
    }
}

/// A pattern of sixteen tokens: those in `set` are `*`, the others `a`.
fn pattern(set: u32) -> String {
    let tokens = (0..DEPTH).map(|at| if set >> at & 1 == 1 { "*" } else { "a" });
    tokens.collect::<Vec<_>>().join(".")
}

/// Subscribes 64 connections to what `patterns` gives each of them, and publishes to `topics`. Meanwhile the bystander is served,
/// and other subscribers miss nothing.
fn flood_with_matches(patterns: impl Fn(u32) -> Vec<String>, topics: &[String]) {
    const PUBLICATIONS: u64 = 200;
    beside_a_bystander(&TWO, |server, bystander| {
        let mut faithful = subscribers(server, "faithful");
        let mut greedy: Vec<_> = (0..64).map(|_| connect(server)).collect();
        for (n, client) in greedy.iter_mut().enumerate() {
            let commands = patterns(n as u32);
            let commands: Vec<_> = commands
                .iter()
                .map(|pattern| json!({"sub": pattern}).to_string())
                .collect();
            say_all(client, &commands);
            // After all answers to what was refused.
            say(client, &json!({"unsub": "none", "id": "done"}));
            while hear(client) != json!({"ok": "done"}) {}
        }
        let (mut publisher, before) = (connect(server), bystander.echoes());
        let drains = greedy
            .iter()
            .map(Client::reader)
            .map(|mut client| thread::spawn(move || while let Got::Frame(_) = client.next() {}));
        let drains: Vec<_> = drains.collect();
        // Publications go on until the bystander has had ten echoes, which a slow machine may take longer to give it than a fast one
        // takes for all publications.
        let mut number = 0;
        while number < PUBLICATIONS || bystander.echoes() - before < 10 {
            let topic = &topics[number as usize % topics.len()];
            say(&mut publisher, &json!({"pub": topic, "data": 0}));
            say(
                &mut publisher,
                &json!({"pub": "faithful", "data": number, "id": number}),
            );
            assert_eq!(hear(&mut publisher), json!({"ok": number}));
            number += 1;
            assert!(number < 10 * PUBLICATIONS, "the bystander has no turn");
        }
        expect_all(&mut faithful, "faithful", number);
        assert_eq!(server.counter("commands_dropped"), 0);
        assert_eq!(server.counter("closed_slow"), 0);
        for mut client in greedy {
            client.write(&wire::close(1000, ""));
        }
        for drain in drains {
            drain.join().expect("they stayed open until now");
        }
    });
}

#[test]
fn overlapping_wildcards_do_not_multiply() {
    let share = |n: u32| (0..1024).map(|k| pattern(k * 64 + n)).collect();
    flood_with_matches(share, &[pattern(0)]);
}

/// Each token is a wildcard, a word or the end in one of the patterns, so that every prefix of the topic has several branches.
#[test]
fn patterns_that_end_at_every_depth_do_not_multiply() {
    let share = |n: u32| {
        let mut all = Vec::new();
        for depth in 1..DEPTH {
            for set in [0, 1, 3, 5, 1 << (depth - 1)] {
                let head: Vec<_> = (0..depth)
                    .map(|at| {
                        let at = (at + n as usize) % depth;
                        if set >> at & 1 == 1 { "*" } else { "a" }
                    })
                    .collect();
                all.push(format!("{}.>", head.join(".")));
                all.push(head.join("."));
            }
        }
        all.push(">".to_owned());
        all
    };
    let topics: Vec<_> = (1..=DEPTH)
        .map(|depth| vec!["a"; depth].join("."))
        .collect();
    flood_with_matches(share, &topics);
}

/// Many subscriptions share their first tokens with a topic and differ in the last.
#[test]
fn wide_branches_do_not_slow_a_publication() {
    let share = |n: u32| {
        let words = (0..500).map(|k| format!("w.{}.{k}", n % 2));
        let wild = (0..500).map(|k| format!("*.*.{}", k * 64 + n));
        words.chain(wild).collect()
    };
    let topics: Vec<_> = (0..64).map(|n| format!("w.{}.{}", n % 2, n * 7)).collect();
    flood_with_matches(share, &topics);
}

/// Sends `count` compressed messages of `size` bytes at once, in the forms that a message can have. The bystander has to be served at
/// least `least` times meanwhile.
fn inflate_beside_a_bystander(flags: &[&str], size: usize, count: u64, least: u64) {
    let bomb = wire::tight_bomb(b"", size, b"");
    assert!(bomb.len() < size / 900, "{} bytes", bomb.len());
    let fragmented = {
        let mut parts = bomb.chunks(bomb.len() / 5).peekable();
        let first = parts.next().expect("it is not empty");
        let mut frames = wire::frame(RSV1 | TEXT, first);
        while let Some(part) = parts.next() {
            let fin = if parts.peek().is_none() { FIN } else { 0 };
            frames.extend(wire::frame(fin | CONTINUATION, part));
        }
        frames
    };
    for form in [
        wire::frame(FIN | RSV1 | BINARY, &bomb),
        wire::frame(FIN | RSV1 | TEXT, &bomb),
        fragmented,
    ] {
        beside_a_bystander(flags, |server, bystander| {
            let mut client = compressing(server);
            let mut reader = client.reader();
            let all = form.repeat(count as usize);
            let writer = thread::spawn(move || {
                client.write(&all);
                client
            });
            let echoed = |reader: &mut Client| match reader.next() {
                // It is longer than `deflate_max`, and so it comes back uncompressed.
                Got::Frame(echo) => {
                    assert_eq!(echo.first & (FIN | RSV1), FIN);
                    assert!(echo.payload.len() >= size, "{}", echo.payload.len());
                }
                end => panic!("wanted an echo, got {end:?}"),
            };
            echoed(&mut reader);
            let before = bystander.echoes();
            (1..count).for_each(|_| echoed(&mut reader));
            let echoes = bystander.echoes() - before;
            assert!(
                echoes >= least,
                "{echoes} echoes beside {count} messages of {size} bytes"
            );
            drop(writer.join().expect("all was sent"));
        });
    }
}

#[test]
fn compressed_messages_take_turns_with_other_connections() {
    // A message takes about as long as the bystander's thread may wait for a CPU.
    inflate_beside_a_bystander(&[], 1_000_000, 60, 5);
}

#[test]
fn very_large_compressed_messages_take_turns_with_other_connections() {
    inflate_beside_a_bystander(&["--max-message", "16MiB"], 16_000_000, 8, 8);
}

/// Runs `churn` on three connections over and over, while 300 messages are published from one lcore to all.
fn churn_beside_publications(churn: fn(&Server, &mut Client, u64)) {
    beside_a_bystander(&TWO, |server, _| {
        let mut faithful = subscribers(server, "faithful");
        let mut publishers: Vec<_> = (0..4).map(|_| connect(server)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        thread::scope(|scope| {
            for n in 0..3 {
                let stop = Arc::clone(&stop);
                scope.spawn(move || {
                    let mut client = connect(server);
                    for round in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        churn(server, &mut client, round * 3 + n);
                    }
                });
            }
            // The publishers are on several lcores.
            for number in 0..300 {
                let publisher = &mut publishers[number % 4];
                say(
                    publisher,
                    &json!({"pub": "faithful", "data": number, "id": 1}),
                );
                assert_eq!(hear(publisher), json!({"ok": 1}));
            }
            stop.store(true, Ordering::Relaxed);
        });
        // Messages of one publisher are in order.
        for subscriber in &mut faithful {
            let mut got: Vec<u64> = (0..300)
                .map(|_| hear(subscriber)["data"].as_u64().expect("a number"))
                .collect();
            got.sort_unstable();
            assert_eq!(got, (0..300).collect::<Vec<_>>());
        }
        assert_eq!(server.counter("commands_dropped"), 0);
    });
}

/// Sends 500 changes in one write, and waits until they have taken place.
fn change(client: &mut Client, topic: impl Fn(u64) -> String) {
    let changes = (0..250).flat_map(|n| {
        [
            json!({"sub": topic(n)}).to_string(),
            json!({"unsub": topic(n)}).to_string(),
        ]
    });
    say_all(client, &changes.collect::<Vec<_>>());
    say(client, &json!({"unsub": "none", "id": 0}));
    while hear(client) != json!({"ok": 0}) {}
}

#[test]
fn churn_on_other_topics_loses_no_publication() {
    churn_beside_publications(|_, client, round| {
        change(client, |n| format!("churn.{round}.{n}"));
    });
}

#[test]
fn churn_on_the_same_topic_loses_no_publication() {
    churn_beside_publications(|_, client, _| {
        change(client, |n| {
            if n % 2 == 0 { "faithful" } else { "*" }.to_owned()
        });
    });
}

/// The end of a connection ends its subscriptions.
#[test]
fn subscribers_that_come_and_go_lose_no_publication_of_others() {
    churn_beside_publications(|server, _, round| {
        let mut client = connect(server);
        let topics: Vec<_> = (0..100).map(|n| format!("fleeting.{round}.{n}")).collect();
        say_all(
            &mut client,
            &topics
                .iter()
                .map(|topic| json!({"sub": topic}).to_string())
                .collect::<Vec<_>>(),
        );
        subscribe(&mut client, "faithful");
        client.reset();
    });
}

/// Subscribers that read, and publications that are larger than any send queue: the subscribers stay, and the publisher gets an
/// error.
#[test]
fn a_publication_that_no_subscriber_can_hold_is_refused_to_its_publisher() {
    let flags = [&TWO[..], &["--max-message", "16MiB"]].concat();
    beside_a_bystander(&flags, |server, _| {
        let mut healthy = subscribers(server, "healthy");
        // Compressed: 32 KB that become 32 MB.
        let mut compressed = Client::connect(server).upgraded(
            "/topics",
            &[PROTOCOL, "Sec-WebSocket-Extensions: permessage-deflate"],
        );
        let bomb = wire::tight_bomb(
            br#"{"pub":"healthy","id":1,"data":"x"#,
            15_000_000,
            br#""}"#,
        );
        for _ in 0..2 {
            compressed.write(&wire::frame(FIN | RSV1 | TEXT, &bomb));
        }
        for _ in 0..2 {
            assert!(hear(&mut compressed)["error"].is_string());
        }
        // Just above the default send queue of 1 MiB, uncompressed and in fragments.
        let mut plain = connect(server);
        let text = json!({"pub": "healthy", "data": "x".repeat(1_100_000), "id": 2}).to_string();
        plain.write(&wire::frame(FIN | TEXT, text.as_bytes()));
        assert!(hear(&mut plain)["error"].is_string());
        let (head, tail) = text.as_bytes().split_at(70_000);
        plain.write(&wire::frame(TEXT, head));
        plain.write(&wire::frame(FIN | CONTINUATION, tail));
        assert!(hear(&mut plain)["error"].is_string());

        publish(&mut plain, "healthy", 10);
        expect_all(&mut healthy, "healthy", 10);
        assert_eq!(server.counter("publishes_refused"), 4);
        assert_eq!(server.counter("closed_slow"), 0);
    });
}

/// Publications that each fit a send queue, and together do not: subscribers that read stay open, whatever they miss.
#[test]
fn large_publications_close_no_subscriber_that_reads() {
    beside_a_bystander(&TWO, |server, _| {
        let healthy = subscribers(server, "large.*");
        let readers = healthy.into_iter().map(|mut client| {
            thread::spawn(move || {
                while hear(&mut client)["data"] != json!("end") {}
                client
            })
        });
        let readers: Vec<_> = readers.collect();
        let mut publisher = connect(server);
        let data = "x".repeat(900_000);
        for n in 0..30 {
            say(
                &mut publisher,
                &json!({"pub": format!("large.{n}"), "data": data, "id": n}),
            );
            assert_eq!(hear(&mut publisher), json!({"ok": n}));
        }
        // A message may be dropped for a subscriber that is behind, until it has caught up.
        while readers.iter().any(|reader| !reader.is_finished()) {
            say(
                &mut publisher,
                &json!({"pub": "large.end", "data": "end", "id": 0}),
            );
            assert_eq!(hear(&mut publisher), json!({"ok": 0}));
            thread::yield_now();
        }
        for reader in readers {
            drop(reader.join().expect("it stayed open"));
        }
        assert_eq!(server.counter("closed_slow"), 0);
    });
}
