//! Little input that takes much memory, or holds it for long: subscriptions, mail between lcores, unfinished messages, slow readers.
//! Growth is compared in bytes, with room for the allocator.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::beside_a_bystander;
use crate::common::wire::{self, BINARY, CONTINUATION, FIN, PING, TEXT};
use crate::common::{Client, Got, Server, eventually, over_sockets};
use crate::floods::compressing;
use crate::topics::{PROTOCOL, connect, hear, say, subscribe};

const MIB: u64 = 1 << 20;
const RSV1: u8 = 0x40;
/// Two lcores where the test chooses their number.
const TWO: [&str; 2] = ["--lcores", "2"];

/// Runs `scenario` and asserts that the server grew by less than `most` bytes.
fn grows_less_than(server: &Server, most: u64, scenario: impl FnOnce()) {
    let before = server.memory();
    scenario();
    let grown = server.peak_memory().saturating_sub(before);
    assert!(grown < most, "the server grew by {} KiB", grown >> 10);
}

/// 32 connections subscribe to as much as the server takes. What `topic` gives is different for each pair of numbers.
fn subscribe_a_lot(topic: impl Fn(usize, usize) -> String) {
    // Those that wait for their turn read nothing, so they answer no ping.
    let flags = [&TWO[..], &["--idle-timeout", "0"]];
    beside_a_bystander(&flags.concat(), |server, _| {
        let mut early = connect(server);
        subscribe(&mut early, "early");
        let mut greedy: Vec<_> = (0..32).map(|_| connect(server)).collect();
        // The bound of a connection is 256 KiB, and the share of an lcore contains all of them.
        grows_less_than(server, 48 * MIB, || {
            for (n, client) in greedy.iter_mut().enumerate() {
                let commands = (0..3000)
                    .map(|k| json!({"sub": topic(n, k)}).to_string())
                    .flat_map(|text| wire::frame(FIN | TEXT, text.as_bytes()));
                client.write(&commands.collect::<Vec<_>>());
                say(client, &json!({"unsub": "none", "id": "done"}));
                let mut refused = 0;
                while hear(client) != json!({"ok": "done"}) {
                    refused += 1;
                }
                assert!(refused >= 1000, "only {refused} of 3000 were refused");
            }
        });
        assert!(server.counter("subscriptions_refused") >= 32_000);
        // Others subscribe and receive as before.
        let mut late = connect(server);
        subscribe(&mut late, "late");
        for topic in ["early", "late"] {
            say(&mut late, &json!({"pub": topic, "data": 1}));
        }
        assert_eq!(hear(&mut early)["msg"], "early");
        assert_eq!(hear(&mut late)["msg"], "late");
    });
}

#[test]
fn long_subscriptions_are_bounded_in_bytes() {
    subscribe_a_lot(|n, k| {
        let tokens = (0..16).map(|at| format!("{:014x}", (n * 3000 + k) * 16 + at));
        tokens.collect::<Vec<_>>().join(".")
    });
}

#[test]
fn short_subscriptions_are_bounded_in_number() {
    subscribe_a_lot(|n, k| format!("{:x}", n * 3000 + k));
}

#[test]
fn subscriptions_with_wildcards_are_bounded_in_bytes() {
    subscribe_a_lot(|n, k| {
        format!(
            "*.{}.*.{}.*.>",
            n,
            "y".repeat(200 + k % 20) + &k.to_string()
        )
    });
}

/// A subscription that is ended gives its memory back: the same bytes can be subscribed to again and again.
#[test]
fn ended_subscriptions_leave_nothing_behind() {
    beside_a_bystander(&TWO, |server, _| {
        let mut client = connect(server);
        let round = |client: &mut Client, round: usize| {
            for verb in ["sub", "unsub"] {
                let commands = (0..500)
                    .map(|n| format!("{round}.{n}.{}", "z".repeat(150)))
                    .map(|topic| json!({verb: topic}).to_string())
                    .flat_map(|text| wire::frame(FIN | TEXT, text.as_bytes()));
                client.write(&commands.collect::<Vec<_>>());
                say(client, &json!({"unsub": "none", "id": 0}));
                assert_eq!(hear(client), json!({"ok": 0}), "nothing was refused");
            }
        };
        (0..5).for_each(|n| round(&mut client, n));
        grows_less_than(server, 4 * MIB, || {
            (5..60).for_each(|n| round(&mut client, n));
        });
    });
}

/// Publications of 900 KB to subscribers that do not read, as fast as four publishers can send them.
#[test]
fn mail_between_lcores_is_bounded_in_bytes() {
    let flags = [
        &TWO[..],
        &["--mailbox-bytes", "8MiB", "--published-memory", "8MiB"],
    ];
    beside_a_bystander(&flags.concat(), |server, bystander| {
        let mut stuck: Vec<_> = (0..8)
            .map(|_| {
                Client::connect_as(server, server.source(1), 16 << 10)
                    .upgraded("/topics", &[PROTOCOL])
            })
            .collect();
        stuck.iter_mut().for_each(|one| subscribe(one, "mail"));
        // Both lcores: 8 MiB of mail and 8 MiB of publications each, 1 MiB in the queue of each subscriber and publisher, and what
        // one message costs while it is handled.
        grows_less_than(server, 128 * MIB, || {
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut publisher = connect(server);
                        let text = json!({"pub": "mail", "data": "x".repeat(900_000)}).to_string();
                        let frame = wire::frame(FIN | TEXT, text.as_bytes());
                        (0..50).for_each(|_| publisher.write(&frame));
                        say(&mut publisher, &json!({"unsub": "none", "id": 0}));
                        assert_eq!(hear(&mut publisher), json!({"ok": 0}));
                    });
                }
            });
        });
        bystander.is_served();
    });
}

/// Messages that are begun in several forms, and then grow by a byte now and then.
#[test]
fn an_unfinished_message_is_given_up_after_a_time() {
    let flags = [
        "--message-timeout",
        "1s",
        "--message-min-rate",
        "1KiB",
        "--reassembly-memory",
        "8MiB",
        "--max-message",
        "1MiB",
    ];
    beside_a_bystander(&flags, |server, bystander| {
        let announced = wire::header(FIN | BINARY, MIB);
        let compressed = wire::tight_bomb(b"", 500_000, b"");
        let forms: [(Vec<u8>, Vec<u8>); 5] = [
            // Only a header, and one that is filled up to its last byte.
            (announced.clone(), b"x".to_vec()),
            (
                [&announced[..], &vec![0; MIB as usize - 4096][..]].concat(),
                b"x".to_vec(),
            ),
            // Fragments without an end, with and without control frames between them.
            (wire::frame(TEXT, b"first"), wire::frame(CONTINUATION, b"y")),
            (
                wire::frame(BINARY, &vec![1; 100_000]),
                [
                    wire::frame(FIN | PING, b"alive"),
                    wire::frame(CONTINUATION, b""),
                ]
                .concat(),
            ),
            // A compressed message of which the last byte is missing.
            (
                {
                    let frame = wire::frame(FIN | RSV1 | BINARY, &compressed);
                    frame[..frame.len() - 50].to_vec()
                },
                b"z".to_vec(),
            ),
        ];
        let mut attackers = Vec::new();
        for (begin, _) in &forms {
            let mut client = compressing(server);
            client.write(begin);
            attackers.push(client);
        }
        // 50 ms apart, a byte is far less than 1 KiB per second.
        let mut open: Vec<_> = attackers.iter_mut().zip(&forms).collect();
        eventually("every unfinished message is given up", || {
            open.retain_mut(|(client, (_, more))| {
                let _ = client.try_write(more);
                !is_closed_1008(client)
            });
            thread::sleep(Duration::from_millis(50));
            open.is_empty()
        });
        assert_eq!(server.counter("message_timeouts"), 5);
        bystander.is_served();
        // A message that keeps the rate may take longer: about 4 s here.
        let mut steady = Client::open(server, "/echo");
        let payload = wire::noise(7, 400_000);
        let frame = wire::frame(FIN | BINARY, &payload);
        for piece in frame.chunks(frame.len() / 40) {
            steady.write(piece);
            thread::sleep(Duration::from_millis(100));
        }
        steady.expect(FIN | BINARY, &payload);
    });
}

/// Whether the server has closed it with 1008. Reads past pongs; does not wait.
fn is_closed_1008(client: &mut Client) -> bool {
    while client.has_news() {
        match client.next() {
            Got::Frame(frame) if frame.first == FIN | wire::CLOSE => {
                assert_eq!(frame.payload.first_chunk(), Some(&1008_u16.to_be_bytes()));
                return true;
            }
            Got::Frame(_) => {}
            end => panic!("closed without a reason: {end:?}"),
        }
    }
    false
}

/// Unfinished messages of a few connections take a part of the memory, and the others find room for theirs.
#[test]
fn one_connection_has_a_share_of_the_reassembly_memory() {
    let flags = ["--reassembly-memory", "16MiB", "--max-message", "16MiB"];
    beside_a_bystander(&flags, |server, _| {
        let unfinished = [wire::header(FIN | BINARY, 16 * MIB), vec![0; 11 << 20]].concat();
        let mut greedy = Client::open(server, "/echo");
        let _ = greedy.try_write(&unfinished);
        // Together they exceed the part of the memory that long messages may use.
        let mut modest = Client::open(server, "/echo");
        let payload = wire::noise(3, 3 << 20);
        let frame = wire::frame(FIN | BINARY, &payload);
        let mut reader = modest.reader();
        let writer = thread::spawn(move || {
            modest.write(&frame);
            modest
        });
        reader.expect(FIN | BINARY, &payload);
        drop(writer.join().expect("it was sent"));
    });
}

/// Peers that request much and then read 200 bytes per second, or a topic's messages in that way, or nothing.
#[test]
fn a_peer_that_reads_too_slowly_is_reset_after_a_time() {
    let flags = ["--send-timeout", "1s", "--send-buffer", "65536"];
    beside_a_bystander(&flags, |server, bystander| {
        let small = || Client::connect_as(server, server.source(1), 8 << 10);
        let request = wire::frame(FIN | BINARY, &vec![0; 1 << 20]);
        let mut slow = Vec::new();
        for _ in 0..6 {
            let mut client = small().upgraded("/echo", &[]);
            client.write(&request);
            // On a slow machine the bytes move for so long that the server resets it meanwhile.
            let _ = client.try_write_until_stuck(&request, 8 << 20, Duration::from_millis(200));
            slow.push(client);
        }
        let mut subscriber = small().upgraded("/topics", &[PROTOCOL]);
        subscribe(&mut subscriber, "much");
        let mut publisher = connect(server);
        for n in 0..40 {
            let data = "x".repeat(100_000);
            say(
                &mut publisher,
                &json!({"pub": "much", "data": data, "id": n}),
            );
            assert_eq!(hear(&mut publisher), json!({"ok": n}));
        }
        slow.push(subscriber);
        let count = slow.len() as u64;
        eventually("every slow reader is reset", || {
            // Half of them read a little.
            for client in slow.iter_mut().step_by(2) {
                client.sip(20);
            }
            thread::sleep(Duration::from_millis(100));
            server.counter("send_timeouts") >= count
        });
        bystander.is_served();
        // One that reads a large reply without haste stays.
        let mut calm = Client::open(server, "/echo");
        let payload = wire::noise(1, 300_000);
        calm.write(&wire::frame(FIN | BINARY, &payload));
        thread::sleep(Duration::from_millis(300));
        calm.expect(FIN | BINARY, &payload);
        assert_eq!(server.counter("send_timeouts"), count);
    });
}

/// In user-space TCP: the rings of connections that request much and read nothing stay within `ring_memory`.
#[test]
fn connections_that_do_not_read_stay_within_the_ring_memory() {
    if over_sockets() {
        // The kernel has these buffers, and net.ipv4.tcp_mem bounds them.
        return;
    }
    // The bound is that of an lcore, and there are at most two. Without it the rings of all would hold 100 MiB.
    let flags = ["--ring-memory", "8MiB", "--tx-ring", "256KiB"];
    beside_a_bystander(&flags, |server, bystander| {
        let request = wire::frame(FIN | BINARY, &vec![0; 60_000]);
        let mut clients = Vec::new();
        grows_less_than(server, 2 * 8 * MIB + 40 * MIB, || {
            for _ in 0..400 {
                let mut client = Client::connect_as(server, server.source(1), 4 << 10);
                // When no memory is left for a request, or for a handshake of TLS, its client is not served.
                let answer = client.ask_gently(&wire::upgrade("/echo", &[]));
                if answer.is_none_or(|answer| answer.status != 101) {
                    break;
                }
                client.write_until_stuck(&request, 200_000, Duration::from_millis(5));
                clients.push(client);
            }
            bystander.is_served();
        });
        assert!(clients.len() >= 20, "only {} were served", clients.len());
        drop(clients);
        let refused = ["tcp_ring_drops", "tcp_ring_waits"].map(|name| server.counter(name));
        assert!(refused[0] + refused[1] > 0, "the bound was not reached");
    });
}
