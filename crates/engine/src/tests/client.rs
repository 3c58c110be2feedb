//! The client role.

use super::*;
use crate::commands::Command;
use std::io::ErrorKind;

fn connecting(lab: &mut Lab) -> ConnId {
    lab.lcore
        .app
        .core
        .poster
        .post(Command::Event {
            to: None,
            event: "connect 9".into(),
        })
        .ok()
        .unwrap();
    lab.turn();
    lab.io().connecting()[0].0
}

/// The 101 that answers the request sent on `id`.
fn accept(lab: &mut Lab, id: ConnId) -> String {
    let request = lab.text(id);
    let key = request
        .split("Sec-WebSocket-Key: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let accept = hioload_ws_proto::handshake::accept_key(key);
    let accept = String::from_utf8_lossy(&accept).into_owned();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: p1\r\n\r\n"
    )
}

#[test]
fn a_client_connects_and_sends_masked_frames() {
    // RFC 6455 §4.1: "it MUST open a connection, send an opening handshake, and read the server's handshake in
    // response." "[...] the client MUST send an opening handshake to the server." §5.1: "a client MUST mask all frames
    // that it sends to the server". §5.3: "A masked frame MUST have the field frame-masked set to 1".
    let mut lab = Lab::new(Config::default());
    let id = connecting(&mut lab);
    lab.io().connect_outcome(id, Ok(()));
    lab.turn();
    let mut reply = accept(&mut lab, id).into_bytes();
    encode::frame_into(&mut reply, OpCode::Text, b"early", None);
    lab.io().deliver(id, &reply);
    lab.turn();
    assert_eq!(lab.log(), ["connected 7 Some(\"p1\")", "ready"]);
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Binary, &[5; 100_000], None);
    lab.io().deliver(id, &frame);
    lab.turn();
    let sent = lab.io().sent(id);
    // The server's decoder refuses frames that are not masked.
    assert_eq!(parse(Role::Server, &sent), ["text early", "binary 100000"]);
}

#[test]
fn informational_responses_before_the_101_are_skipped_at_any_split() {
    // RFC 9110 §15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response".
    const INTERIM: &str =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let length = {
        let mut lab = Lab::new(Config::default());
        let id = connecting(&mut lab);
        lab.io().connect_outcome(id, Ok(()));
        lab.turn();
        INTERIM.len() + accept(&mut lab, id).len() + 7
    };
    for cut in 0..=length {
        let mut lab = Lab::new(Config::default());
        let id = connecting(&mut lab);
        lab.io().connect_outcome(id, Ok(()));
        lab.turn();
        let mut reply = format!("{INTERIM}{}", accept(&mut lab, id)).into_bytes();
        encode::frame_into(&mut reply, OpCode::Text, b"early", None);
        assert_eq!(reply.len(), length);
        for piece in [&reply[..cut], &reply[cut..]] {
            if !piece.is_empty() {
                lab.io().deliver(id, piece);
                lab.turn();
            }
        }
        assert_eq!(lab.log(), ["connected 7 Some(\"p1\")", "ready"], "{cut}");
        let sent = lab.io().sent(id);
        assert_eq!(parse(Role::Server, &sent), ["text early"], "{cut}");
    }
}

#[test]
fn informational_responses_without_an_end_are_bounded() {
    for (interim, error) in [
        ("HTTP/1.1 102 Processing\r\n\r\n", "too large"),
        ("HTTP/1.1 099 X\r\n\r\n", "not HTTP"),
        ("HTTP/1.1 100 \u{1}\r\n\r\n", "not HTTP"),
        ("HTTP/2 100 X\r\n\r\n", "not HTTP"),
    ] {
        let mut config = Config::default();
        config.tunables.limits.max_handshake = 1000;
        let mut lab = Lab::new(config);
        let id = connecting(&mut lab);
        lab.io().connect_outcome(id, Ok(()));
        lab.turn();
        let mut sent = 0;
        while lab.io().is_open(id) {
            assert!(sent <= 1000, "{interim:?}");
            lab.io().deliver(id, interim.as_bytes());
            sent += interim.len();
            lab.turn();
        }
        let log = lab.log();
        assert!(log.len() == 1 && log[0].contains(error), "{log:?}");
    }
    // A final response that is not 101 is still the server's answer.
    let mut lab = Lab::new(Config::default());
    let id = connecting(&mut lab);
    lab.io().connect_outcome(id, Ok(()));
    lab.turn();
    let reply = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    lab.io().deliver(id, reply);
    lab.turn();
    assert_eq!(
        lab.log(),
        ["not connected 7: the server refused with HTTP status 403"]
    );
}

#[test]
fn a_client_lets_the_server_close_tcp_first() {
    let mut lab = Lab::new(Config::default());
    let id = connecting(&mut lab);
    lab.io().connect_outcome(id, Ok(()));
    lab.turn();
    let reply = accept(&mut lab, id);
    lab.io().deliver(id, reply.as_bytes());
    lab.turn();
    lab.log();
    lab.io().deliver(id, &[0x88, 2, 0x03, 0xe8]);
    lab.turn();
    assert_eq!(lab.log(), ["close 1000 \"\" by Peer"]);
    assert!(lab.io().is_open(id) && !lab.io().finished(id));
    lab.io().end(id);
    lab.turn();
    assert!(!lab.io().is_open(id));
}

#[test]
fn every_failure_is_reported_once_and_frees_the_slot() {
    // RFC 6455 §4.1: "If the connection could not be opened, [...] then the client MUST _Fail the WebSocket Connection_
    // and abort the connection attempt." §7.2.1: "To do so, the client MUST _Fail the WebSocket Connection_ as defined
    // in Section 7.1.7." "If at any point the underlying transport layer connection is unexpectedly lost, the client
    // MUST _Fail the WebSocket Connection_." §7.1.7: "To do so, the client MUST _Close the WebSocket Connection_".
    for script in 0..8 {
        let mut lab = Lab::new(Config::default());
        let id = connecting(&mut lab);
        if script == 0 {
            lab.io()
                .connect_outcome(id, Err(ErrorKind::ConnectionRefused));
        } else if script > 1 {
            lab.io().connect_outcome(id, Ok(()));
        }
        lab.turn();
        let reply = if script > 1 {
            accept(&mut lab, id)
        } else {
            String::new()
        };
        match script {
            2 => drop(
                lab.io()
                    .deliver(id, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            ),
            3 => drop(
                lab.io()
                    .deliver(id, reply.replace("Accept: ", "Accept: x").as_bytes()),
            ),
            4 => drop(lab.io().deliver(id, reply.replace("p1", "p2").as_bytes())),
            5 => drop(lab.io().end(id)),
            6 => drop(lab.io().reset(id)),
            7 => {
                let (code, reason) = (CloseCode::NORMAL, "".into());
                let command = Command::Close {
                    to: id,
                    code,
                    reason,
                };
                drop(lab.lcore.app.core.poster.post(command));
            }
            _ => {}
        }
        lab.pass(10_010);
        let log = lab.log();
        assert_eq!(log.len(), 1, "script {script}: {log:?}");
        assert!(
            log[0].starts_with("not connected 7: "),
            "script {script}: {log:?}"
        );
        let core = &lab.lcore.app.core;
        assert_eq!(
            (core.busy, core.open, core.wheel.len()),
            (0, 0, 0),
            "script {script}"
        );
        assert!(script == 0 || !lab.io().is_open(id), "script {script}");
    }
}
#[test]
fn every_request_has_a_new_nonce_and_every_frame_a_new_key() {
    // RFC 6455 §4.1: "The nonce MUST be selected randomly for each connection." §5.3: "the client MUST pick a fresh
    // masking key from the set of allowed 32-bit values." "[...] the masking key MUST be derived from a strong source
    // of entropy, and the masking key for a given frame MUST NOT make it simple for a server/proxy to predict the
    // masking key for a subsequent frame." (A test can check only that no value repeats.)
    let mut lab = Lab::new(Config::default());
    let mut nonces = Vec::new();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let id = connecting(&mut lab);
        lab.io().connect_outcome(id, Ok(()));
        lab.turn();
        let reply = accept(&mut lab, id);
        nonces.push(reply.clone());
        lab.io().deliver(id, reply.as_bytes());
        let mut frames = Vec::new();
        for _ in 0..32 {
            encode::frame_into(&mut frames, OpCode::Text, b"x", None);
        }
        lab.io().deliver(id, &frames);
        lab.turn();
        let sent = lab.io().sent(id);
        keys.extend(sent.chunks_exact(7).map(|frame| frame[2..6].to_vec()));
    }
    // Sec-WebSocket-Accept is a hash of the nonce.
    assert_ne!(nonces[0], nonces[1]);
    assert_eq!(keys.len(), 64);
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 64, "a key was used twice");
}

#[test]
fn nothing_is_sent_before_the_response_is_complete() {
    // RFC 6455 §4.1: "Once the client's opening handshake has been sent, the client MUST wait for a response from the
    // server before sending any further data."
    let mut lab = Lab::new(Config::default());
    let id = connecting(&mut lab);
    lab.io().connect_outcome(id, Ok(()));
    lab.turn();
    let reply = accept(&mut lab, id);
    let (most, rest) = reply.split_at(reply.len() - 1);
    lab.io().deliver(id, most.as_bytes());
    lab.turn();
    let core = &mut lab.lcore.app.core;
    let early = core.send_message(&mut lab.lcore.io, id, Kind::Text, b"early");
    assert!(matches!(early, Err(SendError::Closed)));
    lab.turn();
    assert!(lab.io().sent(id).is_empty());
    lab.io().deliver(id, rest.as_bytes());
    lab.turn();
    assert_eq!(lab.log(), ["connected 7 Some(\"p1\")", "ready"]);
}
