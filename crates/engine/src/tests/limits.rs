//! Every limit: its effect when it is reached, its counter, and that other connections are not affected.

use super::*;
use crate::{Limits, Network, SendPolicy};
use hioload_transport::Connections;

fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    change(&mut config.tunables.limits);
    config
}

#[test]
fn connections_over_the_total_get_503_until_one_ends() {
    let mut lab = Lab::new(limited(|l| l.max_connections = 2));
    let a = lab.open();
    lab.open();
    let refused = lab.dial(b"");
    assert!(lab.text(refused).starts_with("HTTP/1.1 503"));
    assert!(lab.io().finished(refused));
    assert_eq!(lab.totals().rejected_connections, 1);
    lab.io().reset(a);
    lab.turn();
    lab.open();
}

#[test]
fn connections_over_the_source_bound_get_503() {
    let mut lab = Lab::new(limited(|l| l.max_connections_per_source = 1));
    lab.open();
    let refused = lab.dial(REQUEST);
    assert!(lab.text(refused).starts_with("HTTP/1.1 503"));
    assert_eq!(lab.totals().rejected_source, 1);
    let other = lab.io().accept(Peer::Ip(([10, 0, 0, 2], 1).into()));
    lab.io().deliver(other, REQUEST);
    lab.turn();
    assert!(lab.text(other).starts_with("HTTP/1.1 101"));
}

#[test]
fn a_source_that_connects_too_fast_gets_503_until_its_rate_allows_more() {
    let mut lab = Lab::new(limited(|l| l.connection_rate_per_source = 2));
    lab.open();
    lab.open();
    let refused = lab.dial(REQUEST);
    assert!(lab.text(refused).starts_with("HTTP/1.1 503"));
    assert_eq!(lab.totals().rejected_rate, 1);
    lab.pass(600);
    let admitted = lab.dial(REQUEST);
    assert!(lab.text(admitted).starts_with("HTTP/1.1 101"));
}

#[test]
fn connections_from_excluded_networks_are_reset() {
    let network = |text: &str| [text.parse::<Network>().unwrap()].into_iter().collect();
    for (allow, deny) in [
        ("192.0.2.0/24", "198.51.100.0/24"),
        ("10.0.0.0/8", "10.0.0.1"),
    ] {
        let mut config = Config::default();
        config.tunables.allow = network(allow);
        config.tunables.deny = network(deny);
        let mut lab = Lab::new(config);
        let refused = lab.dial(REQUEST);
        assert!(!lab.io().is_open(refused));
        assert_eq!(lab.text(refused), "");
        assert_eq!((lab.totals().rejected_network, lab.totals().opened), (1, 0));
        let unix = lab.io().accept(Peer::Unix);
        lab.io().deliver(unix, REQUEST);
        lab.turn();
        assert!(
            lab.text(unix).starts_with("HTTP/1.1 101"),
            "a Unix socket has no network"
        );
    }
}

#[test]
fn connections_over_the_accept_rate_wait_and_are_not_refused() {
    let mut lab = Lab::new(limited(|l| l.accept_rate = 10));
    let ids: Vec<_> = (0..15)
        .map(|_| {
            let id = lab.io().accept(peer(1));
            lab.io().deliver(id, REQUEST);
            id
        })
        .collect();
    lab.turn();
    assert_eq!(lab.totals().opened, 10);
    lab.pass(250);
    assert_eq!(lab.totals().opened, 12);
    lab.pass(1000);
    assert_eq!(lab.totals().opened, 15);
    assert!(lab.totals().accept_throttled > 0);
    assert!(ids.iter().all(|id| lab.lcore.io.is_open(*id)));
}

#[test]
fn a_message_over_the_limit_is_refused_by_its_header() {
    let mut lab = Lab::new(limited(|l| l.max_message = 1000));
    let (a, b) = (lab.open(), lab.open());
    lab.send(a, OpCode::Binary, &[0; 1000]);
    assert_eq!(lab.frames(a), ["binary 1000"]);
    lab.io().deliver(a, &[0x82, 0xfe, 0x03, 0xe9]);
    lab.turn();
    // The decoder may refuse the frame at its length, or only when the masking key is complete.
    lab.io().deliver(a, &[0; 4]);
    lab.turn();
    assert_eq!(lab.frames(a), ["close 1009 frame too big"]);
    let mut bytes = Vec::new();
    encode::fragment_into(
        &mut bytes,
        false,
        false,
        OpCode::Binary,
        &[0; 600],
        Some([0; 4]),
    );
    encode::fragment_into(
        &mut bytes,
        true,
        false,
        OpCode::Continuation,
        &[0; 401],
        Some([0; 4]),
    );
    lab.io().deliver(b, &bytes);
    lab.turn();
    assert_eq!(lab.frames(b), ["close 1009 message too big"]);
    assert_eq!(lab.totals().messages_too_big, 2);
}

#[test]
fn too_many_fragments_are_1008() {
    let mut lab = Lab::new(limited(|l| l.max_fragments = 5));
    let id = lab.open();
    let mut bytes = Vec::new();
    encode::fragment_into(&mut bytes, false, false, OpCode::Binary, b"", Some([0; 4]));
    for _ in 0..5 {
        encode::fragment_into(
            &mut bytes,
            false,
            false,
            OpCode::Continuation,
            b"",
            Some([0; 4]),
        );
    }
    lab.io().deliver(id, &bytes);
    lab.turn();
    assert_eq!(lab.frames(id), ["close 1008 too many fragments"]);
    assert_eq!(lab.totals().messages_too_fragmented, 1);
}

#[test]
fn unfinished_messages_share_a_budget() {
    let mut lab = Lab::new(limited(|l| l.reassembly_memory = 100_000));
    let ids: Vec<_> = (0..8).map(|_| lab.open()).collect();
    let mut part = Vec::new();
    encode::fragment_into(
        &mut part,
        false,
        false,
        OpCode::Binary,
        &[0; 20_000],
        Some([0; 4]),
    );
    for id in &ids {
        lab.io().deliver(*id, &part);
        lab.turn();
    }
    let refused = ids
        .iter()
        .filter(|id| !lab.lcore.io.peek_sent(**id).is_empty())
        .count();
    assert!((5..8).contains(&refused), "{refused} refused");
    assert_eq!(
        lab.frames(ids[7]),
        ["close 1013 too many unfinished messages"]
    );
    assert_eq!(lab.totals().reassembly_exhausted, refused as u64);
    let bystander = lab.open();
    lab.say(bystander, "small ones are fine");
    assert_eq!(lab.frames(bystander), ["text small ones are fine"]);
}

#[test]
fn a_full_send_queue_closes_with_1013() {
    let mut lab = Lab::new(limited(|l| l.send_queue = 5_000));
    let id = lab.open();
    lab.log();
    lab.io().set_window(id, 0);
    lab.say(id, "flood 10");
    let log = lab.log();
    assert_eq!(log[0], "send 5: send queue is full");
    assert_eq!(log[1], "send 6: connection is closed");
    assert_eq!(
        (lab.totals().send_queue_full, lab.totals().closed_slow),
        (1, 1)
    );
    lab.io().set_window(id, usize::MAX);
    lab.turn();
    let frames = lab.frames(id);
    assert_eq!(frames.len(), 6);
    assert_eq!(frames[5], "close 1013 send queue is full");
}

#[test]
fn a_full_send_queue_drops_the_newest_message() {
    let mut lab = Lab::new(limited(|l| {
        l.send_queue = 5_000;
        l.send_policy = SendPolicy::DropNew;
    }));
    let id = lab.open();
    lab.io().set_window(id, 0);
    lab.say(id, "flood 10");
    lab.io().set_window(id, usize::MAX);
    lab.turn();
    assert_eq!(lab.frames(id), ["binary 1000"; 5]);
    assert_eq!(lab.totals().dropped_new, 5);
    lab.say(id, "goes on");
    assert_eq!(lab.frames(id), ["text goes on"]);
}

#[test]
fn a_full_send_queue_drops_the_oldest_messages() {
    let mut lab = Lab::new(limited(|l| {
        l.send_queue = 5_000;
        l.send_policy = SendPolicy::DropOldest;
    }));
    let (id, other) = (lab.open(), lab.open());
    lab.say(id, "sub t");
    lab.io().set_window(id, 1);
    // The first is sent in part, so it stays in the queue. Of the others the last ones remain.
    for n in 0..20 {
        lab.say(other, &format!("pub t {n:0>900}"));
    }
    lab.io().set_window(id, usize::MAX);
    lab.turn();
    let frames = lab.frames(id);
    let numbers: Vec<u32> = frames
        .iter()
        .map(|f| f.trim_start_matches("text ").parse().unwrap())
        .collect();
    assert_eq!(numbers[0], 0);
    assert_eq!(*numbers.last().unwrap(), 19);
    assert!(
        numbers.windows(2).all(|w| w[0] < w[1]) && numbers.len() < 8,
        "{numbers:?}"
    );
    assert_eq!(lab.totals().dropped_oldest as usize, 20 - numbers.len());
}

#[test]
fn a_peer_that_does_not_read_is_not_read() {
    let mut lab = Lab::new(limited(|l| l.send_queue = 10_000));
    let id = lab.open();
    lab.io().set_window(id, 0);
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Binary, &[7; 1000], Some([1; 4]));
    for _ in 0..1000 {
        lab.io().deliver(id, &frame);
        lab.turn();
    }
    assert!(
        lab.lcore.io.queued(id) < 11_100,
        "{} queued",
        lab.lcore.io.queued(id)
    );
    assert!(
        lab.io().unread(id) > 900_000,
        "its bytes stay in the receive window"
    );
    // Nothing is lost: all echoes arrive after it reads again.
    lab.io().set_window(id, usize::MAX);
    for _ in 0..200 {
        lab.turn();
    }
    assert_eq!(lab.frames(id).len(), 1000);
    assert!(lab.log().contains(&"writable".to_owned()));
}

#[test]
fn too_many_messages_per_second_are_1008() {
    let mut lab = Lab::new(limited(|l| l.message_rate = 10));
    let (a, b) = (lab.open(), lab.open());
    for n in 0..12 {
        lab.say(a, &n.to_string());
        lab.pass(100);
        lab.say(b, "x");
    }
    assert_eq!(
        lab.frames(a).len(),
        12,
        "10 messages a second are within the limit"
    );
    for _ in 0..12 {
        lab.say(a, "y");
    }
    assert_eq!(
        lab.frames(a).last().unwrap(),
        "close 1008 too many messages"
    );
    assert_eq!(lab.totals().rate_exceeded, 1);
    assert_eq!(lab.frames(b).len(), 12);
}

#[test]
fn a_silent_connection_is_pinged_and_then_closed() {
    let mut lab = Lab::new(limited(|l| {
        l.ping_interval = Duration::from_millis(300);
        l.idle_timeout = Duration::from_millis(1000);
    }));
    let (silent, alive) = (lab.open(), lab.open());
    for _ in 0..10 {
        lab.pass(290);
        lab.send(alive, OpCode::Pong, b"");
    }
    let frames = lab.frames(silent);
    assert_eq!(frames, ["ping ", "ping ", "ping ", "close 1001 idle"]);
    assert_eq!(
        lab.frames(alive),
        [""; 0],
        "a connection that sends is not pinged"
    );
    assert_eq!(
        (lab.totals().pings_sent, lab.totals().idle_timeouts),
        (3, 1)
    );
}

#[test]
fn a_connection_is_closed_at_its_max_lifetime() {
    let mut lab = Lab::new(limited(|l| l.max_lifetime = Duration::from_secs(3)));
    let id = lab.open();
    for _ in 0..5 {
        lab.pass(500);
        lab.say(id, "hi");
    }
    assert_eq!(lab.frames(id), ["text hi"; 5]);
    lab.pass(1_500);
    assert_eq!(lab.frames(id), ["close 1001 connection is too old"]);
    assert_eq!(lab.totals().lifetime_reached, 1);
}

#[test]
fn the_message_rate_counts_fractions_of_a_message() {
    let mut lab = Lab::new(limited(|l| l.message_rate = 10));
    let id = lab.open();
    for _ in 0..10 {
        lab.say(id, "burst");
    }
    // 0.21 s allow two messages, however the time is divided.
    lab.pass(150);
    lab.say(id, "one");
    lab.pass(60);
    lab.say(id, "two");
    assert_eq!(lab.frames(id)[10..], ["text one", "text two"]);
    lab.say(id, "three");
    assert_eq!(lab.frames(id), ["close 1008 too many messages"]);
}

#[test]
fn the_accept_rate_does_not_depend_on_how_often_the_loop_turns() {
    let mut lab = Lab::new(limited(|l| l.accept_rate = 900));
    for _ in 0..1000 {
        lab.io().accept(peer(1));
    }
    lab.pass(100);
    let accepted = lab.totals().accepted;
    assert!(
        (989..=990).contains(&accepted),
        "{accepted}: a burst of 900, and 90 in 100 ms"
    );
}

#[test]
fn peers_that_do_not_read_leave_send_memory_to_those_that_do() {
    let mut lab = Lab::new(Config::default());
    let bystander = lab.open();
    // Full send queues of this many connections would exceed the pool.
    let stalled: Vec<_> = (0..60).map(|_| lab.open()).collect();
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Binary, &[7; 60_000], Some([1; 4]));
    for id in &stalled {
        lab.io().set_window(*id, 0);
    }
    for round in 0..20 {
        for id in &stalled {
            lab.io().deliver(*id, &frame);
        }
        lab.turn();
        lab.say(bystander, "fine");
        assert_eq!(lab.frames(bystander), ["text fine"], "round {round}");
    }
    assert!(
        lab.totals().closed_slow > 0,
        "connections above their share of the pool are closed"
    );
}

#[test]
fn a_few_large_replies_that_are_not_read_leave_send_memory_to_the_rest() {
    // The pool of the fake has 16 MiB. The replies are queued before anything shows that their peers do not read.
    let mut lab = Lab::new(limited(|l| {
        l.send_queue = 4 << 20;
        l.max_message = 4 << 20;
    }));
    let bystander = lab.open();
    let stalled: Vec<_> = (0..16).map(|_| lab.open()).collect();
    for id in &stalled {
        lab.io().set_window(*id, 0);
        lab.send(*id, OpCode::Binary, &vec![7; 3 << 20]);
        lab.say(bystander, "fine");
        assert_eq!(lab.frames(bystander), ["text fine"]);
        lab.send(bystander, OpCode::Binary, &[7; 50_000]);
        assert_eq!(lab.frames(bystander), ["binary 50000"]);
    }
    assert!(lab.totals().closed_slow > 0, "those that found no room");
    assert!(lab.io().is_open(bystander));
}

#[test]
fn a_peer_that_does_not_read_costs_no_system_call_for_each_message() {
    let mut lab = Lab::new(Config::default());
    let (id, other) = (lab.open(), lab.open());
    lab.say(id, "sub t");
    lab.io().set_window(id, 0);
    for n in 0..20 {
        lab.say(other, &format!("pub t {n}"));
    }
    assert_eq!(lab.totals().transport.blocked, 1);
    lab.io().set_window(id, usize::MAX);
    lab.turn();
    assert_eq!(lab.frames(id).len(), 20);
}

#[test]
fn a_peer_that_reads_slowly_is_not_idle_and_one_that_does_not_read_is() {
    let mut lab = Lab::new(limited(|l| {
        l.send_queue = 5_000;
        l.send_policy = SendPolicy::DropNew;
        l.ping_interval = Duration::from_millis(300);
        l.idle_timeout = Duration::from_millis(1000);
    }));
    let (slow, stuck, publisher) = (lab.open(), lab.open(), lab.open());
    for id in [slow, stuck] {
        lab.say(id, "sub t");
    }
    lab.io().set_window(slow, 20);
    lab.io().set_window(stuck, 0);
    // The queue of the slow peer is never empty: a ping would wait behind it, and the engine would not read the pong.
    for n in 0..3000 {
        lab.pass(1);
        lab.say(publisher, &format!("pub t {n:0>900}"));
        assert!(lab.lcore.io.is_blocked(slow), "after {n} ms");
    }
    assert_eq!(lab.totals().idle_timeouts, 1);
    lab.io().set_window(slow, usize::MAX);
    lab.turn();
    lab.say(slow, "still here");
    assert_eq!(lab.frames(slow).last().unwrap(), "text still here");
}
