//! The end of a connection, and of an lcore.

use super::*;
use hioload_transport::fake::FakeEnd;
use hioload_ws_proto::deflate::DeflateConfig;

#[test]
fn a_close_is_answered_with_the_same_code() {
    // RFC 6455 §5.5.1: "If an endpoint receives a Close frame and did not previously send a Close frame, the endpoint
    // MUST send a Close frame in response." "After both sending and receiving a Close message, an endpoint considers
    // the WebSocket connection closed and MUST close the underlying TCP connection."
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.log();
    let mut payload = 3001u16.to_be_bytes().to_vec();
    payload.extend_from_slice(b"bye");
    lab.send(id, OpCode::Close, &payload);
    assert_eq!(lab.frames(id), ["close 3001 "]);
    assert_eq!(lab.log(), ["close 3001 \"bye\" by Peer"]);
    // RFC 6455 §5.5.1: "After both sending and receiving a Close message, [...] The server MUST close the underlying TCP
    // connection immediately".
    assert_eq!(lab.io().closed(id), Some(FakeEnd::Closed));
}

#[test]
fn a_close_without_a_code_is_answered_without_one() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.log();
    lab.send(id, OpCode::Close, b"");
    assert_eq!(lab.frames(id), ["close"]);
    assert_eq!(lab.log(), ["close 1005 \"\" by Peer"]);
}

#[test]
fn after_sending_a_close_messages_are_dropped_until_the_peers_close() {
    // RFC 6455 §7.1.2: "an endpoint MUST send a Close control frame, as described in Section 5.5.1, whose status code
    // is set to /code/ and whose close reason is set to /reason/." §5.5.1: "there is no guarantee that the endpoint
    // that has already sent a Close frame will continue to process data."
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.log();
    lab.say(id, "close 4000");
    assert_eq!(lab.frames(id), ["close 4000 as you wish"]);
    lab.say(id, "too late");
    lab.send(id, OpCode::Ping, b"too late");
    assert_eq!(lab.frames(id), [""; 0]);
    assert_eq!(lab.log(), [""; 0]);
    lab.send(id, OpCode::Close, &4000u16.to_be_bytes());
    assert_eq!(lab.log(), ["close 4000 \"\" by Application"]);
    assert_eq!(lab.frames(id), [""; 0], "a Close is not answered twice");
    assert!(lab.io().finished(id));
}

#[test]
fn a_connection_is_reset_if_its_close_is_never_answered() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.log();
    lab.say(id, "close 1000");
    lab.pass(4_990);
    assert!(lab.io().is_open(id));
    lab.pass(20);
    assert_eq!(lab.io().closed(id), Some(FakeEnd::Reset));
    assert_eq!(lab.log(), ["close 1000 \"\" by Application"]);
    assert_eq!(lab.totals().close_timeouts, 1);
}

#[test]
fn a_connection_that_ends_without_a_close_is_1006() {
    let mut lab = Lab::new(Config::default());
    let (a, b, c) = (lab.open(), lab.open(), lab.open());
    lab.log();
    lab.io().end(a);
    lab.turn();
    lab.io().reset(b);
    lab.turn();
    // In the middle of a frame.
    lab.io().deliver(c, &[0x81]);
    lab.io().end(c);
    lab.turn();
    assert_eq!(lab.log(), ["close 1006 \"\" by Network"; 3]);
    assert!(!lab.io().is_open(a) && !lab.io().is_open(b) && !lab.io().is_open(c));
    let totals = lab.totals();
    assert_eq!(
        (totals.opened, totals.closed, totals.abnormal_closures),
        (3, 3, 3)
    );
}

#[test]
fn a_half_closed_peer_still_receives_replies() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Text, b"last words", Some([1; 4]));
    lab.io().deliver(id, &frame);
    lab.io().end(id);
    lab.turn();
    assert_eq!(lab.frames(id), ["text last words"]);
    assert_eq!(lab.io().closed(id), Some(FakeEnd::Closed));
}

#[test]
fn a_violation_is_answered_with_its_close_code_and_nothing_after_it_is_read() {
    // RFC 6455 §7.1.7: "to do so, the server MUST _Close the WebSocket Connection_, and SHOULD log the problem." "An
    // endpoint MUST NOT continue to attempt to process data (including a responding Close frame) from the remote
    // endpoint after being instructed to _Fail the WebSocket Connection_."
    for (bytes, code) in [
        (&[0x81, 0x00][..], "1002"),
        (&[0xc1, 0x80, 0, 0, 0, 0][..], "1002"),
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff][..], "1007"),
        // A 64-bit length whose most significant bit is set (§5.2).
        (
            &[
                0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
            ][..],
            "1002",
        ),
        (
            &[0x82, 0xff, 0, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0][..],
            "1009",
        ),
    ] {
        let mut lab = Lab::new(Config::default());
        let (id, bystander) = (lab.open(), lab.open());
        lab.log();
        let mut stream = bytes.to_vec();
        encode::frame_into(&mut stream, OpCode::Text, b"unheard", Some([1; 4]));
        lab.io().deliver(id, &stream);
        lab.turn();
        let frames = lab.frames(id);
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert!(
            frames[0].starts_with(&format!("close {code} ")),
            "{frames:?}"
        );
        assert!(lab.io().finished(id));
        assert_eq!(lab.log().len(), 1);
        lab.say(bystander, "fine");
        assert_eq!(lab.frames(bystander), ["text fine"]);
    }
}

#[test]
fn an_id_of_an_earlier_connection_does_not_reach_the_next_one_in_its_slot() {
    let mut lab = Lab::new(Config::default());
    let first = lab.open();
    lab.say(first, "timer 50");
    lab.io().reset(first);
    lab.turn();
    let second = lab.open();
    assert_eq!(first.index, second.index);
    lab.log();
    lab.pass(100);
    assert_eq!(
        lab.log(),
        [""; 0],
        "a timer of the first reached the second"
    );
    lab.say(second, "count");
    assert_eq!(lab.frames(second), ["text 1"]);
}

#[test]
fn a_drain_closes_all_connections_within_its_jitter_and_refuses_new_ones() {
    let config = Config::new(Tunables {
        drain_jitter: Duration::from_millis(500),
        ..Tunables::default()
    });
    let mut lab = Lab::new(config);
    let ids: Vec<_> = (0..20).map(|_| lab.open()).collect();
    lab.log();
    lab.lcore.app.core.drain();
    lab.turn();
    let late = lab.dial(REQUEST);
    assert!(lab.text(late).starts_with("HTTP/1.1 503"));
    let page = lab.dial(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(
        lab.text(page).starts_with("HTTP/1.1 200"),
        "the handler still answers plain requests"
    );

    lab.pass(250);
    let early = ids
        .iter()
        .filter(|id| !lab.lcore.io.peek_sent(**id).is_empty())
        .count();
    assert!(
        (1..20).contains(&early),
        "{early} of 20 in the first half: the closes are spread"
    );
    lab.pass(251);
    for id in &ids {
        assert_eq!(lab.frames(*id), ["close 1001 server is shutting down"]);
        lab.send(*id, OpCode::Close, &1001u16.to_be_bytes());
        lab.io().end(*id);
    }
    for id in [late, page] {
        lab.io().end(id);
    }
    lab.turn();
    assert!(lab.lcore.is_done());
    assert_eq!(lab.totals().drained, 20);
}

#[test]
fn a_drain_resets_the_remaining_connections_at_its_deadline() {
    let mut lab = Lab::new(Config::new(Tunables {
        drain_deadline: Duration::from_secs(2),
        ..Tunables::default()
    }));
    let id = lab.open();
    let silent = lab.dial(b"");
    lab.lcore.app.core.drain();
    lab.pass(1_990);
    assert!(!lab.lcore.is_done() && lab.io().is_open(id));
    lab.pass(20);
    assert!(lab.lcore.is_done() && !lab.io().is_open(id) && !lab.io().is_open(silent));
    assert_eq!(lab.totals().drain_resets, 1);
}

#[test]
fn the_end_of_an_lcore_calls_on_close_for_every_connection() {
    let mut lab = Lab::new(Config::default());
    lab.open();
    lab.open();
    lab.log();
    let Lab {
        lcore,
        log,
        workers,
        ..
    } = lab;
    lcore.finish();
    assert_eq!(*log.borrow(), ["close 1006 \"\" by Engine"; 2]);
    // Returns only if the lcore has dropped its handle of the executor.
    workers.unwrap().join();
}

#[test]
fn the_end_of_an_lcore_calls_on_close_also_for_closing_connections() {
    let mut lab = Lab::new(Config::default());
    let id = lab.open();
    lab.say(id, "close 4000");
    lab.log();
    let Lab {
        lcore,
        log,
        counters,
        ..
    } = lab;
    lcore.finish();
    assert_eq!(*log.borrow(), ["close 4000 \"\" by Application"]);
    assert_eq!((counters.opened.get(), counters.closed.get()), (1, 1));
}

#[test]
fn a_connection_that_a_drain_resets_is_ended_by_the_engine() {
    let mut lab = Lab::new(Config::new(Tunables {
        drain_deadline: Duration::ZERO,
        ..Tunables::default()
    }));
    lab.open();
    lab.log();
    lab.lcore.app.core.drain();
    lab.turn();
    assert_eq!(lab.log(), ["close 1006 \"\" by Engine"]);
    assert_eq!(lab.totals().abnormal_closures, 0);
}

#[test]
fn the_window_of_a_decompressor_is_freed_with_its_connection() {
    let mut lab = Lab::new(Config::new(Tunables {
        deflate: Some(DeflateConfig::default()),
        ..Tunables::default()
    }));
    let request = String::from_utf8_lossy(REQUEST).replace(
        "\r\n\r\n",
        "\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
    );
    let id = lab.dial(request.as_bytes());
    assert!(lab.text(id).contains("permessage-deflate"));
    // The compressed "Hello" of RFC 7692 §7.2.3.1.
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    lab.io()
        .deliver(id, &[&[0xc1, 0x87, 0, 0, 0, 0][..], &hello].concat());
    lab.turn();
    assert!(!lab.io().sent(id).is_empty());
    let has_window = |lab: &Lab| {
        let decoder = &lab.lcore.app.decoders[id.index as usize];
        !format!("{decoder:?}").contains("window: None")
    };
    assert!(has_window(&lab));
    lab.io().reset(id);
    lab.turn();
    assert!(!has_window(&lab), "a free slot keeps a window");
}

#[test]
fn reserved_codes_are_never_sent() {
    // RFC 6455 §7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
    // endpoint." "1006 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
    // endpoint." "1015 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
    // endpoint."
    for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        let mut lab = Lab::new(Config::default());
        let id = lab.open();
        lab.say(id, &format!("close {code}"));
        assert_eq!(lab.frames(id), ["close"], "{code}");
        lab.send(id, OpCode::Close, b"");
        assert_eq!(lab.frames(id), [""; 0], "{code}: answered twice");
        assert!(
            lab.log()
                .contains(&"close 1005 \"\" by Application".to_owned())
        );
    }
}
