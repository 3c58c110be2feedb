//! Requests and their responses.

use super::*;

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

#[test]
fn an_upgrade_and_a_message_are_accepted_byte_by_byte() {
    // RFC 6455 §4.2.2: "When a client establishes a WebSocket connection to a server, the server MUST complete the
    // following steps to accept the connection and send the server's opening handshake."
    let mut lab = Lab::new(Config::default());
    let id = lab.io().accept(peer(1));
    for byte in REQUEST {
        lab.io().deliver(id, &[*byte]);
        lab.turn();
    }
    let answer = lab.text(id);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(
        answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{answer}"
    );
    assert_eq!(lab.log(), ["open /chat from 10.0.0.1:1", "ready"]);
    lab.say(id, "hello");
    assert_eq!(lab.frames(id), ["text hello"]);
}

#[test]
fn frames_in_the_segment_of_the_request_are_not_lost() {
    let mut lab = Lab::new(Config::default());
    let mut bytes = REQUEST.to_vec();
    encode::frame_into(&mut bytes, OpCode::Text, b"early", Some([9; 4]));
    let id = lab.dial(&bytes);
    let sent = lab.io().sent(id);
    let end = sent.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(parse(Role::Client, &sent[end..]), ["text early"]);
}

#[test]
fn plain_http_is_answered_and_closed() {
    let mut lab = Lab::new(Config::default());
    let id = lab.dial(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = lab.text(id);
    assert_eq!(status(&answer), "200");
    assert!(answer.ends_with("\r\n\r\nhello\n"), "{answer}");
    assert!(
        lab.io().finished(id) && lab.io().is_open(id),
        "the engine waits for the client's FIN"
    );
    lab.io().end(id);
    lab.turn();
    assert!(!lab.io().is_open(id));

    let id = lab.dial(b"HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = lab.text(id);
    assert!(
        answer.contains("Content-Length: 6") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    let id = lab.dial(b"GET /nope HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(status(&lab.text(id)), "404");
    assert_eq!(lab.totals().http_requests, 3);
}

#[test]
fn a_bad_request_gets_its_status_and_other_connections_are_served() {
    // RFC 6455 §4.2.2: "If the requested service is not available, the server MUST send an appropriate HTTP error code
    // (such as 404 Not Found) and abort the WebSocket handshake." §7.2.2: "To do so, the server MUST simply _Close the
    // WebSocket Connection_ (Section 7.1.1)."
    let mut lab = Lab::new(Config::default());
    let upgrade = String::from_utf8(REQUEST.to_vec()).unwrap();
    for (request, expected) in [
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (upgrade.replace("GET", "POST"), "405"),
        (upgrade.replace("Version: 13", "Version: 8"), "426"),
        (upgrade.replace("dGhl", ""), "400"),
        (upgrade.replace("Host: test\r\n", ""), "400"),
        (upgrade.replace("/chat", "/no"), "403"),
        (upgrade.replace("/chat", "/panic"), "500"),
        (upgrade.replace("/chat", "/bad"), "500"),
        (
            upgrade.replace("Host", &format!("X: {}\r\nHost", "y".repeat(9000))),
            "431",
        ),
    ] {
        let id = lab.dial(request.as_bytes());
        assert_eq!(status(&lab.text(id)), expected, "{request}");
        assert!(lab.io().finished(id));
        lab.open();
    }
    let totals = lab.totals();
    assert_eq!(
        (
            totals.rejected_handshakes,
            totals.heads_too_large,
            totals.rejected_by_handler
        ),
        (5, 1, 3)
    );
    assert_eq!((totals.handler_panics, totals.opened), (1, 9));
}

#[test]
fn a_request_that_is_too_long_is_431_and_one_that_is_too_late_is_408() {
    let mut lab = Lab::new(Config::default());
    let id = lab.dial(b"GET / HTTP/1.1\r\n");
    lab.io().deliver(id, &vec![b'x'; 9000]);
    lab.turn();
    assert_eq!(status(&lab.text(id)), "431");

    let id = lab.dial(b"GET / HT");
    lab.pass(9_990);
    assert_eq!(lab.text(id), "");
    lab.pass(20);
    assert_eq!(status(&lab.text(id)), "408");
    assert_eq!(lab.totals().handshake_timeouts, 1);
    // A peer that does not close TCP is reset.
    lab.pass(5_100);
    assert!(!lab.io().is_open(id));
}

#[test]
fn the_handler_selects_the_subprotocol() {
    // RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake, specifically by selecting one of
    // the values from the |Sec-WebSocket-Protocol| field". "[...] if the server does not wish to agree to one of the
    // suggested subprotocols, it MUST NOT send back a |Sec-WebSocket-Protocol| header field in its response".
    let mut lab = Lab::new(Config::default());
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    let id = lab.dial(
        request
            .replace("Host", "Sec-WebSocket-Protocol: a, b\r\nHost")
            .as_bytes(),
    );
    assert!(lab.text(id).contains("Sec-WebSocket-Protocol: a\r\n"));
    let id = lab.dial(REQUEST);
    assert!(!lab.text(id).contains("Sec-WebSocket-Protocol"));
}
#[test]
fn extensions_are_used_only_if_both_ends_agree() {
    // RFC 6455 §5.8: "The endpoints of a connection MUST negotiate the use of any extensions during the opening
    // handshake."
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    let offer = "Sec-WebSocket-Extensions: foo, permessage-deflate\r\nHost";
    for (deflate, offered) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut lab = Lab::new(Config::new(Tunables {
            deflate: deflate.then(DeflateConfig::default),
            ..Tunables::default()
        }));
        let host = if offered { offer } else { "Host" };
        let id = lab.dial(request.replace("Host", host).as_bytes());
        let answer = lab.text(id);
        assert_eq!(status(&answer), "101");
        let agreed = answer.contains("Sec-WebSocket-Extensions: permessage-deflate");
        assert_eq!(agreed, deflate && offered, "{answer}");
        assert!(!answer.contains("foo"), "{answer}");
        // An empty message, compressed.
        lab.io().deliver(id, &[0xc1, 0x81, 0, 0, 0, 0, 0]);
        lab.turn();
        let expected = if agreed {
            "text "
        } else {
            "close 1002 reserved bit set"
        };
        assert_eq!(lab.frames(id), [expected]);
    }
}

/// Implements only the required methods.
struct Counting;

impl Handler for Counting {
    type Conn = u8;
    type Event = ();

    fn new_conn(&mut self) -> u8 {
        40
    }

    fn on_message(&mut self, count: &mut u8, cx: &mut impl Context<Event = ()>, _: Message<'_>) {
        *count += 1;
        let _ = cx.send(Kind::Text, count.to_string().as_bytes());
    }
}

#[test]
fn the_default_of_on_open_accepts_every_upgrade_with_a_new_state() {
    let io = Fake::new(&FakeOptions::default()).unwrap();
    let mut lcore = Lcore::alone(io, Counting, Config::default(), Time::from_millis(1000));
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    let request = request.replace("/chat", "/any/path?at=all");
    for _ in 0..2 {
        let id = lcore.io.accept(peer(1));
        let mut bytes = request.clone().into_bytes();
        encode::frame_into(&mut bytes, OpCode::Text, b"x", Some([0; 4]));
        lcore.io.deliver(id, &bytes);
        for _ in 0..2 {
            lcore.io.wait(Some(Duration::ZERO)).unwrap();
            lcore.turn(Time::from_millis(1001));
        }
        let sent = lcore.io.sent(id);
        assert!(sent.starts_with(b"HTTP/1.1 101"));
        assert!(sent.ends_with(b"\x81\x0241"), "{sent:?}");
    }
}
