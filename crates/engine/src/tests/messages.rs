//! Messages, control frames, timers and jobs.

use super::*;

#[test]
fn replies_to_the_messages_of_one_segment_leave_in_one_write() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    let mut bytes = Vec::new();
    for n in 0..16 {
        encode::frame_into(
            &mut bytes,
            OpCode::Text,
            format!("m{n}").as_bytes(),
            Some([7; 4]),
        );
    }
    let writes = lab.io().stats().writes;
    lab.io().deliver(id, &bytes);
    lab.turn();
    let expected: Vec<_> = (0..16).map(|n| format!("text m{n}")).collect();
    assert_eq!(lab.frames(id), expected);
    assert_eq!(lab.io().stats().writes, writes + 1);
}

#[test]
fn replies_do_not_depend_on_the_segmentation() {
    let mut bytes = REQUEST.to_vec();
    encode::frame_into(&mut bytes, OpCode::Text, b"one", Some([1, 2, 3, 4]));
    encode::fragment_into(&mut bytes, false, false, OpCode::Text, b"tw", Some([5; 4]));
    encode::frame_into(&mut bytes, OpCode::Ping, b"p", Some([6; 4]));
    encode::fragment_into(
        &mut bytes,
        true,
        false,
        OpCode::Continuation,
        b"o",
        Some([7; 4]),
    );
    encode::frame_into(
        &mut bytes,
        OpCode::Close,
        &1000u16.to_be_bytes(),
        Some([8; 4]),
    );
    for step in 1..bytes.len() {
        let mut lab = Lab::new(Config::default());
        let id = lab.io().accept(peer(1));
        for part in bytes.chunks(step) {
            lab.io().deliver(id, part);
            lab.turn();
        }
        let sent = lab.io().sent(id);
        let end = sent.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(
            parse(Role::Client, &sent[end..]),
            ["text one", "pong p", "text two", "close 1000 "],
            "in steps of {step}"
        );
    }
}

#[test]
fn pings_are_answered_and_not_passed_to_the_handler() {
    // RFC 6455 §5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already
    // received a Close frame."
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.log();
    lab.send(id, OpCode::Ping, b"abc");
    lab.send(id, OpCode::Pong, b"def");
    assert_eq!(lab.frames(id), ["pong abc"]);
    assert_eq!(lab.log(), ["pong def"]);
    lab.say(id, "count");
    assert_eq!(lab.frames(id), ["text 1"]);
}

#[test]
fn messages_larger_than_any_buffer_are_echoed_whole() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    for size in [4096, 65_536, 70_000, 1 << 20] {
        let payload: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
        lab.send(id, OpCode::Binary, &payload);
        for _ in 0..40 {
            lab.turn();
        }
        let mut expected = Vec::new();
        encode::frame_into(&mut expected, OpCode::Binary, &payload, None);
        assert!(lab.io().sent(id) == expected, "{size} bytes");
    }
}

#[test]
fn a_panic_of_the_handler_closes_only_its_connection() {
    let mut lab = Lab::new(Config::default());
    let (a, b) = (lab.open(), lab.open());
    let mut bytes = Vec::new();
    for text in ["before", "panic", "after"] {
        encode::frame_into(&mut bytes, OpCode::Text, text.as_bytes(), Some([3; 4]));
    }
    lab.io().deliver(a, &bytes);
    lab.turn();
    assert_eq!(lab.frames(a), ["text before", "close 1011 internal error"]);
    lab.say(b, "still here");
    assert_eq!(lab.frames(b), ["text still here"]);
    assert_eq!(lab.totals().handler_panics, 1);
}

#[test]
fn a_timer_fires_once_unless_it_is_cancelled_or_its_connection_ends() {
    let mut lab = Lab::new(Config::default());
    let (a, b) = (lab.open(), lab.open());
    lab.log();
    lab.say(a, "timer 20");
    lab.say(a, "timers 30");
    lab.say(b, "timer 25");
    lab.io().reset(b);
    lab.pass(100);
    assert_eq!(
        lab.log(),
        ["close 1006 \"\" by Network", "timer 20", "timer 2"]
    );
}

#[test]
fn a_job_posts_its_result_and_its_panic_to_its_connection() {
    let mut lab = Lab::new(Config::default());
    let (a, b) = (lab.open(), lab.open());
    lab.say(a, "job done");
    lab.say(b, "job panic");
    let (mut from_a, mut from_b) = (Vec::new(), Vec::new());
    // The executor is a separate thread: the test waits for it without moving the clock.
    for _ in 0..10_000 {
        lab.turn();
        from_a.extend(lab.frames(a));
        from_b.extend(lab.frames(b));
        if !from_a.is_empty() && !from_b.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(from_a, ["text done"]);
    assert_eq!(from_b, ["close 1011 internal error"]);
}

#[test]
fn a_paused_connection_is_not_read_and_loses_nothing() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    let mut bytes = Vec::new();
    for text in ["a", "pause", "b", "c"] {
        encode::frame_into(&mut bytes, OpCode::Text, text.as_bytes(), Some([3; 4]));
    }
    lab.io().deliver(id, &bytes);
    lab.turn();
    lab.say(id, "d");
    assert_eq!(lab.frames(id), ["text a"]);
    lab.pass(51);
    assert_eq!(lab.frames(id), ["text b", "text c", "text d"]);
}

#[test]
fn turn_messages_bounds_the_messages_of_one_connection_in_a_turn() {
    let mut lab = Lab::new(Config::new(Tunables {
        turn_messages: 10,
        ..Tunables::default()
    }));
    let (a, b) = (lab.open(), lab.open());
    let mut bytes = Vec::new();
    for _ in 0..100 {
        encode::frame_into(&mut bytes, OpCode::Text, b"x", Some([3; 4]));
    }
    lab.io().deliver(a, &bytes);
    lab.io().deliver(b, &bytes[..7]);
    lab.lcore.io.wait(Some(Duration::ZERO)).unwrap();
    lab.lcore.turn(lab.now);
    assert_eq!((lab.frames(a).len(), lab.frames(b).len()), (10, 1));
    for _ in 0..9 {
        lab.lcore.io.wait(Some(Duration::ZERO)).unwrap();
        lab.lcore.turn(lab.now);
    }
    assert_eq!(lab.frames(a).len(), 90);
}
