//! The handshake.

use hioload_ws_proto::deflate::{DeflateConfig, Sharing};

use super::*;
use crate::TcpState;

#[test]
fn an_upgrade_carries_path_headers_subprotocol_and_source() {
    let (mut net, _) = network(1);
    let chat = net.connect(
        Upgrade::new("/chat?x=1")
            .protocol("chat.v2")
            .protocol("chat.v1"),
    );
    let response = chat.expect_open().response().unwrap();
    assert_eq!(response.header("sec-websocket-protocol"), Some("chat.v1"));

    let upgrade = Upgrade::new("/peer").source("10.1.2.3:4".parse().unwrap());
    let response = net
        .connect(upgrade.clone().origin("http://test"))
        .expect_open()
        .response()
        .unwrap();
    assert_eq!(response.header("X-Peer"), Some("10.1.2.3:4"));
    // A page of another origin.
    let foreign = upgrade.origin("https://a.example");
    assert_eq!(net.connect(foreign).expect_refused().status, 403);
    assert_eq!(net.totals().rejected_origin, 1);
}

#[test]
fn a_refusal_is_an_http_response_and_closes_tcp() {
    let (mut net, _) = network(1);
    let client = net.connect("/refuse");
    let refusal = client.expect_refused();
    assert_eq!(
        (refusal.status, refusal.text().as_str()),
        (403, "not you\n")
    );
    assert_eq!(refusal.header("x-why"), Some("because"));
    assert_eq!(client.tcp(), TcpState::Closed);
    assert_eq!(net.totals().rejected_by_handler, 1);
}

#[test]
fn a_panic_in_on_open_is_answered_500() {
    let (mut net, _) = network(1);
    assert_eq!(net.connect("/panic").expect_refused().status, 500);
    assert_eq!(net.totals().handler_panics, 1);
}

#[test]
fn a_plain_request_is_answered() {
    let (mut net, _) = network(1);
    let response = net.get(0, "/");
    assert_eq!(response.status, 426);
    assert_eq!(response.text(), "this is a WebSocket server\n");
}

#[test]
fn a_request_may_arrive_byte_by_byte() {
    let (mut net, _) = network(1);
    let mut client = net.dial(0);
    assert_eq!(client.response(), None);
    client.split(1..1000).upgrade("/");
    client.expect_open().send_text("hello");
}

#[test]
fn a_handshake_that_is_not_completed_is_answered_408() {
    let (mut net, _) = network(1);
    let mut client = net.dial(0);
    client.send_bytes(b"GET / HTTP/1.1\r\n");
    net.advance(Duration::from_secs(11));
    assert_eq!(client.expect_refused().status, 408);
    assert_eq!(net.totals().handshake_timeouts, 1);
}

#[test]
fn messages_are_compressed_if_both_sides_have_agreed() {
    for sharing in [Sharing::Shared, Sharing::Own] {
        let mut config = Config::default();
        config.tunables.deflate = Some(DeflateConfig::new(sharing));
        let (mut net, _) = with(1, config);
        let text = "abc ".repeat(1000);
        let upgrade = Upgrade::new("/").deflate(DeflateConfig::new(sharing));
        let mut alice = net.connect(upgrade).expect_open();
        let extensions = alice.response().unwrap();
        let extensions = extensions.header("Sec-WebSocket-Extensions").unwrap();
        assert!(extensions.starts_with("permessage-deflate"));
        for _ in 0..3 {
            alice.send_text(&text);
            assert_eq!(alice.next_text(), text);
        }
        net.advance(Duration::from_millis(1));
        let totals = net.totals().transport;
        assert!(
            totals.bytes_in < 4000 && totals.bytes_out < 4000,
            "{totals:?}"
        );

        // A client that does not offer it gets plain messages.
        let mut bob = net.connect("/").expect_open();
        bob.send_text(&text);
        assert_eq!(bob.next_text(), text);
    }
}
