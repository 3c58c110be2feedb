//! Peers that make no progress, and slow ones that do. One second stands for the limit under test; a bystander never notices.

use super::*;
use crate::{Limits, SendPolicy};
use hioload_transport::Connections;

const SECOND: Duration = Duration::from_secs(1);
const MASK: [u8; 4] = [0; 4];

fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    let limits = &mut config.tunables.limits;
    limits.ping_interval = Duration::ZERO;
    limits.idle_timeout = Duration::ZERO;
    change(limits);
    config
}

fn messages(min_rate: usize) -> Config {
    limited(|l| {
        l.message_timeout = SECOND;
        l.message_min_rate = min_rate;
    })
}

fn fragment(fin: bool, opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode::fragment_into(&mut bytes, fin, false, opcode, payload, Some(MASK));
    bytes
}

/// The bytes with which a message begins, and those that the peer sends every 100 ms afterwards.
fn endless() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let long = fragment(true, OpCode::Binary, &[7; 60_000]);
    let nothing = fragment(false, OpCode::Continuation, b"");
    let one = fragment(false, OpCode::Continuation, b"x");
    vec![
        ("half a header", vec![0x82], Vec::new()),
        ("a header", long[..8].to_vec(), Vec::new()),
        ("a byte at a time", long[..8].to_vec(), vec![7]),
        (
            "much at once, then a byte at a time",
            long[..50_000].to_vec(),
            vec![7],
        ),
        (
            "empty fragments",
            fragment(false, OpCode::Binary, b"x"),
            nothing,
        ),
        (
            "fragments of a byte",
            fragment(false, OpCode::Text, b"x"),
            one,
        ),
        (
            "pings between fragments",
            fragment(false, OpCode::Text, b"x"),
            fragment(true, OpCode::Ping, &[7; 125]),
        ),
        (
            "half a ping",
            fragment(true, OpCode::Ping, &[7; 125])[..20].to_vec(),
            vec![7],
        ),
    ]
}

#[test]
fn a_message_that_does_not_arrive_in_time_is_1008_and_releases_its_memory() {
    for (what, first, then) in endless() {
        let mut lab = Lab::new(messages(1000));
        let (id, bystander) = (lab.open(), lab.open());
        lab.io().deliver(id, &first);
        lab.turn();
        assert_eq!(lab.lcore.app.assembler.stats().unfinished, 1, "{what}");
        for tenth in 1..10 {
            lab.pass(100);
            lab.io().deliver(id, &then);
            lab.turn();
            lab.say(bystander, "fine");
            assert_eq!(lab.frames(bystander), ["text fine"]);
            assert_eq!(lab.totals().message_timeouts, 0, "{what}, {tenth}");
        }
        lab.pass(101);
        let frames = lab.frames(id);
        assert_eq!(
            frames.last().map(String::as_str),
            Some("close 1008 message took too long"),
            "{what}"
        );
        assert_eq!(lab.totals().message_timeouts, 1, "{what}");
        let stats = lab.lcore.app.assembler.stats();
        assert_eq!((stats.unfinished, stats.bytes), (0, 0), "{what}");
    }
}

#[test]
fn a_large_message_on_a_slow_line_arrives() {
    for (min_rate, arrives) in [(1000, true), (3000, false), (0, false)] {
        let mut lab = Lab::new(messages(min_rate));
        let id = lab.open();
        // 2,000 bytes per second, with a pause between them.
        for part in fragment(true, OpCode::Binary, &[7; 8000]).chunks(200) {
            lab.io().deliver(id, part);
            lab.pass(100);
        }
        let frames = lab.frames(id);
        if arrives {
            assert_eq!(frames, ["binary 8000"]);
        } else {
            assert_eq!(frames, ["close 1008 message took too long"], "{min_rate}");
        }
        assert_eq!(lab.totals().message_timeouts, u64::from(!arrives));
    }
}

#[test]
fn each_message_has_its_own_time() {
    let mut lab = Lab::new(messages(0));
    let id = lab.open();
    // The end of a message arrives together with the beginning of the next: there is no moment without one.
    let mut bytes = Vec::new();
    for _ in 0..5 {
        bytes.extend(fragment(true, OpCode::Binary, &[7; 100]));
    }
    for part in bytes.chunks(12) {
        lab.io().deliver(id, part);
        lab.pass(90);
    }
    assert_eq!(lab.frames(id), ["binary 100"; 5]);
    assert_eq!(lab.totals().message_timeouts, 0);
}

#[test]
fn the_time_of_a_message_does_not_pass_while_the_connection_is_not_read() {
    let mut lab = Lab::new(messages(0));
    let id = lab.open();
    // The probe resumes after 50 ms; then the application pauses again, for longer than the message may take.
    lab.say(id, "pause");
    lab.io()
        .deliver(id, &fragment(true, OpCode::Binary, &[7; 100])[..20]);
    lab.pass(60);
    let Lcore { io, app, .. } = &mut lab.lcore;
    app.core.sessions[id.index as usize].set(crate::session::SessionFlags::PAUSED);
    io.pause(id);
    lab.pass(5000);
    assert_eq!(lab.totals().message_timeouts, 0);
    let Lcore { io, app, .. } = &mut lab.lcore;
    app.call(io, id, |_, _, cx| cx.resume());
    lab.pass(900);
    assert_eq!(
        lab.totals().message_timeouts,
        0,
        "it has a whole second again"
    );
    lab.pass(101);
    assert_eq!(lab.totals().message_timeouts, 1);
}

#[test]
fn limits_of_progress_follow_a_change_while_running() {
    let mut lab = Lab::new(limited(|l| {
        l.message_timeout = Duration::ZERO;
        l.send_timeout = Duration::ZERO;
    }));
    let (slow, stuck) = (lab.open(), lab.open());
    lab.io().deliver(slow, &[0x82]);
    lab.io().set_window(stuck, 0);
    lab.say(stuck, "flood 1");
    lab.pass(5000);
    assert!(lab.io().is_open(slow) && lab.io().is_open(stuck));
    let mut tunables = Tunables::default();
    tunables.limits.message_timeout = 6 * SECOND;
    tunables.limits.send_timeout = 6 * SECOND;
    lab.lcore.reconfigure(tunables).unwrap();
    lab.pass(999);
    assert_eq!(
        (lab.totals().message_timeouts, lab.totals().send_timeouts),
        (0, 0)
    );
    lab.pass(10);
    assert_eq!(
        (lab.totals().message_timeouts, lab.totals().send_timeouts),
        (1, 1)
    );
}

#[test]
fn one_connection_holds_at_most_a_quarter_of_the_reassembly_memory() {
    let mut lab = Lab::new(limited(|l| l.reassembly_memory = 400_000));
    let (greedy, honest) = (lab.open(), lab.open());
    lab.io()
        .deliver(greedy, &fragment(false, OpCode::Binary, &[7; 100_001]));
    lab.turn();
    assert_eq!(
        lab.frames(greedy),
        ["close 1013 too many unfinished messages"]
    );
    lab.send(honest, OpCode::Binary, &[7; 99_000]);
    assert_eq!(lab.frames(honest), ["binary 99000"]);
    assert_eq!(lab.totals().reassembly_exhausted, 1);
}

#[test]
fn a_head_that_trickles_gets_408() {
    let mut lab = Lab::new(limited(|l| l.handshake_timeout = SECOND));
    let id = lab.dial(b"");
    for byte in REQUEST.iter().take(11) {
        lab.io().deliver(id, &[*byte]);
        lab.pass(100);
    }
    assert!(lab.text(id).starts_with("HTTP/1.1 408"));
    assert_eq!(lab.totals().handshake_timeouts, 1);
}

#[test]
fn a_close_that_trickles_ends_with_a_reset() {
    let mut lab = Lab::new(limited(|l| l.close_timeout = SECOND));
    let id = lab.open();
    lab.say(id, "close 1000");
    let close = fragment(true, OpCode::Close, b"\x03\xe8 a long reason");
    for byte in close.iter().take(11) {
        lab.io().deliver(id, &[*byte]);
        lab.pass(100);
    }
    assert!(!lab.io().is_open(id));
    assert_eq!(lab.totals().close_timeouts, 1);
}

fn sending() -> Config {
    limited(|l| l.send_timeout = SECOND)
}

#[test]
fn queued_bytes_that_do_not_leave_in_time_reset_the_connection() {
    // In bytes per millisecond: nothing, and a trickle that would be a sign of life.
    for window in [0, 1] {
        let mut lab = Lab::new(sending());
        let (id, bystander) = (lab.open(), lab.open());
        lab.log();
        lab.io().set_window(id, window);
        lab.say(id, "flood 100");
        lab.pass(990);
        assert!(lab.io().is_open(id));
        lab.pass(20);
        assert!(!lab.io().is_open(id), "window {window}");
        assert_eq!(lab.totals().send_timeouts, 1);
        assert_eq!(lab.log(), ["close 1006 \"\" by Engine"]);
        lab.say(bystander, "fine");
        assert_eq!(lab.frames(bystander), ["text fine"]);
    }
}

#[test]
fn a_slow_peer_that_drains_its_queue_in_time_stays() {
    let mut lab = Lab::new(sending());
    let id = lab.open();
    lab.io().set_window(id, 100);
    // It is never unblocked for long: the next flood comes before the last one has left.
    for _ in 0..5 {
        lab.say(id, "flood 80");
        lab.pass(900);
    }
    lab.pass(5000);
    assert_eq!(lab.totals().send_timeouts, 0);
    assert_eq!(lab.frames(id).len(), 400);
}

#[test]
fn a_message_above_the_send_queue_needs_its_bytes_in_each_period() {
    for (window, stays) in [(12, true), (5, false)] {
        let mut lab = Lab::new(limited(|l| {
            l.send_timeout = SECOND;
            l.send_queue = 10_000;
        }));
        let id = lab.open();
        lab.io().set_window(id, window);
        lab.send(id, OpCode::Binary, &[7; 60_000]);
        lab.pass(7000);
        assert_eq!(lab.totals().send_timeouts, u64::from(!stays), "{window}");
        if stays {
            lab.io().set_window(id, usize::MAX);
            lab.turn();
            assert_eq!(lab.frames(id), ["binary 60000"]);
        }
    }
}

#[test]
fn messages_that_are_dropped_for_newer_ones_do_not_keep_a_stuck_peer() {
    for (window, stays) in [(0, false), (1, true)] {
        let mut lab = Lab::new(limited(|l| {
            l.send_timeout = SECOND;
            l.send_queue = 5000;
            l.publish_policy = SendPolicy::DropOldest;
        }));
        let (id, publisher) = (lab.open(), lab.open());
        lab.say(id, "sub t");
        lab.io().set_window(id, window);
        for n in 0..1500 {
            lab.pass(1);
            lab.say(publisher, &format!("pub t {n:0>900}"));
        }
        assert_eq!(lab.io().is_open(id), stays, "{window}");
        assert!(lab.totals().dropped_oldest > 0);
    }
}

#[test]
fn a_connection_that_is_blocked_when_it_opens_has_a_limit_too() {
    let mut lab = Lab::new(sending());
    let id = lab.io().accept(peer(1));
    lab.io().set_window(id, 0);
    lab.io().deliver(id, REQUEST);
    lab.pass(1010);
    assert!(!lab.io().is_open(id));
    assert_eq!(lab.totals().send_timeouts, 1);
}
