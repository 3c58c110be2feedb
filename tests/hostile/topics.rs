//! `/topics`: subscribers that do not read, and messages that are not commands.

use serde_json::{Value, json};

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CLOSE, FIN, TEXT};
use crate::common::{Client, Got, Server};

/// Small buffers everywhere, so that a subscriber falls behind soon.
const SMALL: [&str; 6] = [
    "--send-queue",
    "65536",
    "--send-buffer",
    "65536",
    // The subscriber reads what it got when all has been published, which takes a while on a busy machine.
    "--close-timeout",
    "2m",
];
pub(crate) const PROTOCOL: &str = "Sec-WebSocket-Protocol: hioload.topics.v1";
const MESSAGES: u64 = 400;

pub(crate) fn connect(server: &Server) -> Client {
    Client::connect(server).upgraded("/topics", &[PROTOCOL])
}

pub(crate) fn say(client: &mut Client, what: &Value) {
    client.write(&wire::frame(FIN | TEXT, what.to_string().as_bytes()));
}

pub(crate) fn hear(client: &mut Client) -> Value {
    serde_json::from_slice(&client.message()).expect("JSON")
}

pub(crate) fn subscribe(client: &mut Client, topic: &str) {
    say(client, &json!({"sub": topic, "id": "s"}));
    assert_eq!(hear(client), json!({"ok": "s"}));
}

/// A subscriber that does not read, and one that reads and must miss nothing.
fn publish_to_a_slow_subscriber(server: &Server) -> Client {
    let mut slow =
        Client::connect_as(server, server.source(1), 16 << 10).upgraded("/topics", &[PROTOCOL]);
    let (mut quick, mut publisher) = (connect(server), connect(server));
    subscribe(&mut slow, "flood.*");
    subscribe(&mut quick, "flood.>");
    let padding = "x".repeat(16 << 10);
    for number in 0..MESSAGES {
        say(
            &mut publisher,
            &json!({"pub": "flood.a", "data": [number, padding], "id": number}),
        );
        assert_eq!(hear(&mut publisher), json!({"ok": number}));
        let message = hear(&mut quick);
        assert_eq!(message["msg"], "flood.a");
        assert_eq!(message["data"][0], number);
    }
    slow
}

/// The numbers of the messages that got through, up to the end of the connection or to `last`.
fn numbers(client: &mut Client, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        match client.next() {
            Got::Frame(frame) if frame.first == FIN | TEXT => {
                let message: Value = serde_json::from_slice(&frame.payload).expect("JSON");
                numbers.push(message["data"][0].as_u64().expect("a number"));
            }
            Got::Frame(frame) => assert_eq!(frame.first, FIN | CLOSE, "{frame:?}"),
            Got::End | Got::Reset => return numbers,
        }
        if numbers.last() == Some(&last) {
            return numbers;
        }
    }
}

#[test]
fn a_subscriber_that_falls_behind_is_closed_1013() {
    beside_a_bystander(
        &[&SMALL[..], &["--publish-policy", "close"]].concat(),
        |server, _| {
            let mut slow = publish_to_a_slow_subscriber(server);
            slow.expect_close(1013);
            assert_eq!(server.counter("closed_slow"), 1);
        },
    );
}

#[test]
fn drop_new_drops_the_newest_messages_of_a_slow_subscriber() {
    beside_a_bystander(
        &[&SMALL[..], &["--publish-policy", "drop-new"]].concat(),
        |server, _| {
            let mut slow = publish_to_a_slow_subscriber(server);
            // "the end" is published once it reads again, and follows the messages that were in the queue.
            let mut reader = slow.reader();
            let collected = std::thread::spawn(move || numbers(&mut reader, u64::MAX));
            let mut publisher = connect(server);
            while !collected.is_finished() {
                say(
                    &mut publisher,
                    &json!({"pub": "flood.a", "data": [u64::MAX], "id": 0}),
                );
                assert_eq!(hear(&mut publisher), json!({"ok": 0}));
            }
            let mut got = collected.join().expect("it reads");
            assert_eq!(got.pop(), Some(u64::MAX));
            assert!(
                !got.is_empty() && got.len() < MESSAGES as usize,
                "{} messages got through",
                got.len()
            );
            // User-space TCP repeats bytes that the peer's kernel had no room for: then a later message may fit.
            let in_row = got.iter().zip(0..).take_while(|(got, n)| *got == n);
            assert!(
                in_row.count() >= if server.has_sockets() { got.len() } else { 1 }
                    && got.is_sorted_by(|a, b| a < b),
                "the oldest, without a gap: {got:?}"
            );
            assert!(server.counter("dropped_new") > 0);
            let _ = slow.try_write(&wire::close(1000, ""));
        },
    );
}

#[test]
fn drop_oldest_drops_the_oldest_messages_of_a_slow_subscriber() {
    beside_a_bystander(
        &[&SMALL[..], &["--publish-policy", "drop-oldest"]].concat(),
        |server, _| {
            let mut slow = publish_to_a_slow_subscriber(server);
            let got = numbers(&mut slow, MESSAGES - 1);
            assert_eq!(
                got.last(),
                Some(&(MESSAGES - 1)),
                "the newest is among them"
            );
            assert!(
                got.len() < MESSAGES as usize,
                "{} messages got through",
                got.len()
            );
            assert!(
                got.is_sorted_by(|a, b| a < b),
                "in order, none twice: {got:?}"
            );
            assert_eq!(
                server.counter("dropped_oldest"),
                MESSAGES - got.len() as u64
            );
        },
    );
}

#[test]
fn a_message_that_is_not_a_command_gets_an_error() {
    let wrong = [
        "",
        "x",
        "{",
        "null",
        "[]",
        "17",
        r#""sub""#,
        "{}",
        r#"{"sub":1}"#,
        r#"{"sub":""}"#,
        r#"{"sub":"a..b"}"#,
        r#"{"sub":"a.>.b"}"#,
        r#"{"pub":"a.*","data":1}"#,
        r#"{"pub":"a"}"#,
        r#"{"sub":"a","pub":"b","data":1}"#,
        r#"{"sub":"a"} {"sub":"b"}"#,
        r#"{"dance":"a"}"#,
    ];
    beside_a_bystander(&[], |server, _| {
        let mut client = connect(server);
        for text in wrong {
            client.write(&wire::frame(FIN | TEXT, text.as_bytes()));
            let answer = hear(&mut client);
            assert!(
                answer["error"].is_string(),
                "{answer} to {}",
                &text[..text.len().min(50)]
            );
        }
        for id in [json!("a string"), json!(17), json!(-1.5)] {
            say(&mut client, &json!({"dance": 1, "id": id}));
            assert_eq!(hear(&mut client)["id"], id);
        }
        // The server may accept or refuse this, but must answer, without an overflow of the stack.
        let deep = format!(
            r#"{{"pub":"a","data":{}{},"id":1}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        client.write(&wire::frame(FIN | TEXT, deep.as_bytes()));
        hear(&mut client);
        subscribe(&mut client, "after.all.*");

        // The protocol is text.
        let mut client = connect(server);
        client.write(&wire::frame(FIN | BINARY, br#"{"sub":"a"}"#));
        match client.next() {
            Got::Frame(frame) if frame.first == FIN | TEXT => {
                assert!(frame.payload.starts_with(b"{\"error\""));
            }
            Got::Frame(frame) => {
                assert_eq!(frame.payload.first_chunk(), Some(&1003_u16.to_be_bytes()));
            }
            end => panic!("wanted an answer, got {end:?}"),
        }
    });
}

#[test]
fn subscriptions_are_limited() {
    beside_a_bystander(&["--max-subscriptions", "10"], |server, _| {
        let mut client = connect(server);
        for n in 0..10 {
            subscribe(&mut client, &format!("topic.{n}"));
        }
        say(&mut client, &json!({"sub": "one.too.many", "id": 11}));
        let answer = hear(&mut client);
        assert!(
            answer["error"].is_string() && answer["id"] == 11,
            "{answer}"
        );
        assert_eq!(server.counter("subscriptions_refused"), 1);
        // A repeated subscription does not count again.
        subscribe(&mut client, "topic.3");
        say(&mut client, &json!({"unsub": "topic.3", "id": "u"}));
        assert_eq!(hear(&mut client), json!({"ok": "u"}));
        subscribe(&mut client, "one.too.many");
    });
}

/// Subscribers that vanish are forgotten while messages for them are under way.
#[test]
fn subscribers_can_disconnect_at_any_time() {
    beside_a_bystander(&[], |server, bystander| {
        let (mut publisher, mut faithful) = (connect(server), connect(server));
        subscribe(&mut faithful, "news");
        for number in 0..300 {
            let mut fleeting = connect(server);
            subscribe(&mut fleeting, "news");
            subscribe(&mut fleeting, "*");
            say(&mut publisher, &json!({"pub": "news", "data": number}));
            if number % 2 == 0 {
                fleeting.reset();
            }
        }
        for number in 0..300 {
            assert_eq!(hear(&mut faithful), json!({"msg": "news", "data": number}));
        }
        bystander.is_served();
    });
}
