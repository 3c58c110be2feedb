//! What a client can do.

use super::*;
use crate::{Received, TcpState};

#[test]
fn messages_are_echoed_and_taken_in_order() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice
        .send_text("one")
        .send_binary(b"\0\x01")
        .ping(b"p")
        .send_text("two");
    assert_eq!(alice.next_text(), "one");
    assert_eq!(alice.next_pong(), b"p");
    assert_eq!(
        alice.received(),
        [Received::Binary(vec![0, 1]), Received::Text("two".into())]
    );
    alice.expect_nothing();
}

#[test]
fn fragments_are_one_message_wherever_they_are_split() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let euro = "€".as_bytes();
    alice.send_fragments(Kind::Text, [&euro[..1], &[], &euro[1..]]);
    assert_eq!(alice.next_text(), "€");
    for boundary in 1..11 {
        alice.split([boundary]).send_text("hello");
        assert_eq!(alice.next_text(), "hello");
    }
    alice.split(1..).send_binary(b"one byte in each turn");
    assert_eq!(alice.next_binary(), b"one byte in each turn");
}

#[test]
fn pieces_arrive_in_turns_of_their_own() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let before = net.totals().transport.reads;
    alice.split([2, 4, 100]).send_text("hello");
    assert_eq!(alice.next_text(), "hello");
    net.advance(Duration::from_millis(1));
    assert!(net.totals().transport.reads >= before + 3);
}

#[test]
fn corked_messages_arrive_in_one_turn() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let before = net.totals().transport.writes;
    alice.cork();
    for n in 0..10 {
        alice.send_text(&n.to_string());
    }
    alice.expect_nothing();
    alice.uncork();
    for n in 0..10 {
        assert_eq!(alice.next_text(), n.to_string());
    }
    alice.send_text("not corked");
    assert_eq!(alice.next_text(), "not corked");
    assert_eq!(net.totals().transport.writes - before, 2);
}

#[test]
fn the_server_pings_and_the_client_answers() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.send_text("ping are you there");
    assert_eq!(alice.next_ping(), b"are you there");
    assert_eq!(net.totals().pongs_in, 1);
    alice.answer(false).send_text("ping and now?");
    assert_eq!(alice.next_ping(), b"and now?");
    assert_eq!(net.totals().pongs_in, 1);
}

#[test]
fn a_client_closes() {
    let (mut net, log) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.close(CloseCode::NORMAL, "bye");
    assert_eq!(alice.closed(), Some((CloseCode::NORMAL, "")));
    assert_eq!(alice.tcp(), TcpState::Closed);
    assert_eq!(*log.borrow(), ["close 1000 \"bye\" by Peer"]);
}

#[test]
fn a_client_that_does_not_answer_a_close_is_reset() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.answer(false).send_bytes(&[0x83, 0x80, 0, 0, 0, 0]);
    assert_eq!(alice.closed().unwrap().0, CloseCode::PROTOCOL_ERROR);
    net.advance(Duration::from_secs(11));
    assert_ne!(alice.tcp(), TcpState::Open);
    assert_eq!(net.totals().protocol_errors, 1);
    assert_eq!(net.totals().closed, 1);
}

#[test]
fn a_cut_connection_ends_without_a_close() {
    let (mut net, log) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.cut();
    assert_eq!(alice.tcp(), TcpState::Reset);
    assert_eq!(alice.closed(), Some((CloseCode::ABNORMAL, "")));
    assert_eq!(*log.borrow(), ["close 1006 \"\" by Network"]);
    assert_eq!(net.totals().abnormal_closures, 1);
    alice.send_text("into the void");
    alice.expect_nothing();
}

#[test]
fn a_half_closed_connection_ends() {
    let (mut net, log) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.half_close();
    net.advance(Duration::from_secs(1));
    assert_eq!(alice.closed(), Some((CloseCode::ABNORMAL, "")));
    assert_eq!(log.borrow().len(), 1);
}

#[test]
#[should_panic(expected = "boundaries in ascending order")]
fn boundaries_ascend() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    alice.split([5, 3]).send_text("hello");
}
