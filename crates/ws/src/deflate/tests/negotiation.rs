use crate::deflate::negotiate::{NegotiationError, client_accept, client_offer, server};
use crate::deflate::{Agreed, DeflateConfig, Deflater, Direction, Sharing};

/// A configuration without demands and restrictions.
fn open() -> DeflateConfig {
    DeflateConfig {
        client_max_window_bits: 15,
        sharing: Sharing::Own,
        ..DeflateConfig::default()
    }
}

fn one(config: &DeflateConfig, offer: &str) -> Option<Agreed> {
    server(config, [offer.as_bytes()])
}

fn response(config: &DeflateConfig, offer: &str) -> Option<String> {
    one(config, offer).map(|agreed| agreed.response().to_string())
}

fn answer(config: &DeflateConfig, text: &str) -> Result<Option<Agreed>, NegotiationError> {
    client_accept(config, [text.as_bytes()])
}

const BOTH: Direction = Direction {
    window_bits: 15,
    context_takeover: true,
};

#[test]
fn an_offer_without_parameters_gets_a_response_without() {
    assert_eq!(
        response(&open(), "permessage-deflate").as_deref(),
        Some("permessage-deflate")
    );
    let agreed = one(&open(), "permessage-deflate").unwrap();
    assert_eq!((agreed.server, agreed.client), (BOTH, BOTH));
}

#[test]
fn other_extensions_are_ignored() {
    // RFC 6455 §4.2.2: "the value MUST be derived from the client's handshake, specifically by selecting one or more of
    // the values from the |Sec-WebSocket-Extensions| field." "Extensions not listed by the client MUST NOT be listed."
    // RFC 7692 §5: "A server declining all offered PMCEs MUST NOT include any element with PMCE names."
    assert_eq!(one(&open(), "x-webkit-deflate-frame"), None);
    assert_eq!(one(&open(), ""), None);
    assert!(
        one(&open(), "foo; bar=\"b,;az\", permessage-deflate").is_none(),
        "malformed: not a token"
    );
    assert!(one(&open(), "foo; bar=\"baz\", ,permessage-deflate").is_some());
}

#[test]
fn offered_parameters_are_granted() {
    // RFC 7692 §5: "a server MUST include the extension name of the PMCE in the "Sec-WebSocket-Extensions" header field
    // of its opening handshake". "The element MUST represent a PMCE that is fully supported by the server."
    let cases = [
        // RFC 7692 §7.1.1.1 and §7.1.1.2
        ("server_no_context_takeover", "; server_no_context_takeover"),
        ("client_no_context_takeover", "; client_no_context_takeover"),
        // §7.1.2.1: the same or smaller
        ("server_max_window_bits=15", "; server_max_window_bits=15"),
        ("server_max_window_bits=8", "; server_max_window_bits=8"),
        (
            "server_max_window_bits = \"10\"",
            "; server_max_window_bits=10",
        ),
        (
            "server_max_window_bits=\"1\\1\"",
            "; server_max_window_bits=11",
        ),
        // §7.1.2.2: a capability, optionally with a hint
        ("client_max_window_bits", ""),
        ("client_max_window_bits=15", ""),
        ("client_max_window_bits=9", "; client_max_window_bits=9"),
        (
            "server_no_context_takeover ;client_no_context_takeover; server_max_window_bits=14;client_max_window_bits=8",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=14; client_max_window_bits=8",
        ),
    ];
    for (offered, granted) in cases {
        assert_eq!(
            response(&open(), &format!("permessage-deflate; {offered}")),
            Some(format!("permessage-deflate{granted}")),
            "{offered}"
        );
    }
}

#[test]
fn invalid_offers_are_declined() {
    // RFC 7692 §7.1.2.1: "indicating the base-2 logarithm of the LZ77 sliding window size, and MUST conform to the ABNF
    // below." §7.1.2.2: "If a value is specified for this parameter, the value MUST conform to the ABNF below."
    // RFC 7692 §7: "A server MUST decline an extension negotiation offer for this extension if any of the following
    // conditions are met": an undefined parameter, an invalid value, several parameters of the same name.
    for offered in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=+9",
        "server_max_window_bits=9x",
        "server_max_window_bits=265",
        "server_max_window_bits=4294967305",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=010",
        "client_max_window_bits=\"\"",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
        // RFC 6455 §9.1: the grammar
        "",
        "=",
        "server_max_window_bits=",
        "server_max_window_bits=\"10",
        "server_max_window_bits=\"1 0\"",
        "server_max_window_bits=10 11",
        "server_no_context_takeover;",
        "server max",
    ] {
        assert_eq!(
            response(&open(), &format!("permessage-deflate; {offered}")),
            None,
            "{offered}"
        );
    }
}

#[test]
fn the_first_acceptable_offer_wins() {
    // RFC 7692 §5: "The order of elements is important as it specifies the client's preference."
    let list = "permessage-deflate; bogus, permessage-deflate; server_max_window_bits=10, permessage-deflate";
    let ten = Some("permessage-deflate; server_max_window_bits=10");
    assert_eq!(response(&open(), list).as_deref(), ten);
    let headers = [
        &b"permessage-deflate; bogus"[..],
        b"foo",
        b"permessage-deflate; server_max_window_bits=10",
    ];
    assert_eq!(
        server(&open(), headers)
            .map(|a| a.response().to_string())
            .as_deref(),
        ten
    );
}

#[test]
fn the_server_demands_its_parameters() {
    let config = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 11,
        client_max_window_bits: 10,
        ..open()
    };
    assert_eq!(
        response(
            &config,
            "permessage-deflate; client_max_window_bits; server_max_window_bits=13"
        )
        .as_deref(),
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=11; client_max_window_bits=10"
        )
    );
    // A smaller window than the limit is granted.
    let agreed = one(
        &config,
        "permessage-deflate; client_max_window_bits=9; server_max_window_bits=8",
    )
    .unwrap();
    assert_eq!(
        (agreed.server.window_bits, agreed.client.window_bits),
        (8, 9)
    );
}

#[test]
fn a_client_without_a_window_limit_takes_no_context_over() {
    // RFC 7692 §7.1.2.2: "the corresponding extension negotiation response to the offer MUST NOT include the
    // "client_max_window_bits" extension parameter."
    let config = DeflateConfig {
        client_max_window_bits: 10,
        ..open()
    };
    let agreed = one(&config, "permessage-deflate").unwrap();
    assert_eq!(
        &*agreed.response(),
        "permessage-deflate; client_no_context_takeover"
    );
    assert_eq!(agreed.client.receive_memory(), 0);
    let agreed = one(&config, "permessage-deflate; client_max_window_bits").unwrap();
    assert_eq!(
        &*agreed.response(),
        "permessage-deflate; client_max_window_bits=10"
    );
    assert_eq!(agreed.client.receive_memory(), 1024);
}

#[test]
fn shared_compressors_take_no_context_over() {
    let config = DeflateConfig {
        sharing: Sharing::Shared,
        ..open()
    };
    let agreed = one(&config, "permessage-deflate").unwrap();
    assert!(!agreed.server.context_takeover && agreed.client.context_takeover);
    assert_eq!(agreed.server.send_memory(&config), 0);
    assert_eq!(agreed.server.send_memory(&open()), Deflater::memory(15, 8));
    assert_eq!(
        &*client_offer(&config),
        "permessage-deflate; client_no_context_takeover; client_max_window_bits"
    );
    let agreed = answer(&config, "permessage-deflate").unwrap().unwrap();
    assert!(agreed.server.context_takeover && !agreed.client.context_takeover);
}

#[test]
fn the_offer_has_the_configured_parameters() {
    // RFC 7692 §5: "a client MUST include the extension name of the PMCE in the "Sec-WebSocket-Extensions" header field
    // of its opening handshake". "In a PMCE negotiation offer, the client MUST inform the server of its LZ77 window
    // size".
    assert_eq!(
        &*client_offer(&open()),
        "permessage-deflate; client_max_window_bits"
    );
    let config = DeflateConfig {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 8,
        client_max_window_bits: 12,
        ..open()
    };
    assert_eq!(
        &*client_offer(&config),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         server_max_window_bits=8; client_max_window_bits=12"
    );
}

#[test]
fn responses_that_satisfy_the_offer_are_accepted() {
    assert_eq!(client_accept(&open(), []), Ok(None));
    assert_eq!(answer(&open(), " , "), Ok(None));
    let agreed = answer(&open(), "permessage-deflate").unwrap().unwrap();
    assert_eq!((agreed.server, agreed.client), (BOTH, BOTH));
    // RFC 7692 §7.1.1.2: "A client MUST support the "client_no_context_takeover" extension parameter in an extension
    // negotiation response." Unasked, a server may forget, ask us to forget, and limit either window.
    let text = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
                server_max_window_bits=9; client_max_window_bits=8";
    let agreed = answer(&open(), text).unwrap().unwrap();
    assert_eq!(
        agreed.server,
        Direction {
            window_bits: 9,
            context_takeover: false
        }
    );
    assert_eq!(
        agreed.client,
        Direction {
            window_bits: 8,
            context_takeover: false
        }
    );
    // We never use a larger window than we offered.
    let config = DeflateConfig {
        client_max_window_bits: 10,
        ..open()
    };
    let agreed = answer(&config, "permessage-deflate; client_max_window_bits=12")
        .unwrap()
        .unwrap();
    assert_eq!(agreed.client.window_bits, 10);
    assert_eq!(
        answer(&config, "permessage-deflate")
            .unwrap()
            .unwrap()
            .client
            .window_bits,
        10
    );
}

#[test]
fn invalid_responses_fail_the_connection() {
    // RFC 7692 §7.1.2.2: "indicating the base-2 logarithm of the LZ77 sliding window size and MUST conform to the ABNF
    // below."
    use NegotiationError::{Malformed, NotOffered, Parameter, Unacceptable};
    // RFC 7692 §7: "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an extension negotiation
    // offer for this extension with an extension negotiation response meeting any of the following conditions": an
    // undefined parameter, an invalid value, several parameters of the same name, a configuration that is not
    // supported. §5: "If a server gives an invalid response, such as accepting a PMCE that the client did not offer,
    // the client MUST _Fail the WebSocket Connection_." "A client that received a response accepting a PMCE extension
    // negotiation offer together with such an extension MUST _Fail the WebSocket Connection_." "A client that receives
    // a response accepting a PMCE extension negotiation offer together with such an extension MUST _Fail the WebSocket
    // Connection_."
    let cases = [
        ("permessage-deflate; unknown", Parameter),
        ("permessage-deflate; client_max_window_bits", Parameter),
        ("permessage-deflate; client_max_window_bits=7", Parameter),
        ("permessage-deflate; server_max_window_bits=16", Parameter),
        ("permessage-deflate; server_max_window_bits", Parameter),
        (
            "permessage-deflate; server_no_context_takeover=1",
            Parameter,
        ),
        (
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            Parameter,
        ),
        ("permessage-deflate, permessage-deflate", NotOffered),
        ("permessage-deflate, foo", NotOffered),
        ("foo", NotOffered),
        ("permessage-deflate;", Malformed),
        ("permessage-deflate; server_max_window_bits=\"9", Malformed),
    ];
    for (text, error) in cases {
        assert_eq!(answer(&open(), text), Err(error), "{text}");
    }
    let narrow = DeflateConfig {
        server_max_window_bits: 10,
        ..open()
    };
    assert_eq!(answer(&narrow, "permessage-deflate"), Err(Unacceptable));
    assert_eq!(
        answer(&narrow, "permessage-deflate; server_max_window_bits=11"),
        Err(Unacceptable)
    );
    assert!(answer(&narrow, "permessage-deflate; server_max_window_bits=9").is_ok());
    let forgetful = DeflateConfig {
        server_no_context_takeover: true,
        ..open()
    };
    assert_eq!(answer(&forgetful, "permessage-deflate"), Err(Unacceptable));
    assert!(answer(&forgetful, "permessage-deflate; server_no_context_takeover").is_ok());
}

#[test]
fn both_ends_agree_on_the_same() {
    let bits = [8, 9, 12, 15];
    let configs: Vec<DeflateConfig> = (0..64)
        .map(|i| DeflateConfig {
            server_no_context_takeover: i & 1 != 0,
            client_no_context_takeover: i & 2 != 0,
            server_max_window_bits: bits[i >> 2 & 3],
            client_max_window_bits: bits[i >> 4 & 3],
            ..open()
        })
        .collect();
    for client in &configs {
        for server_config in &configs {
            let agreed = one(server_config, &client_offer(client)).unwrap();
            let seen = answer(client, &agreed.response()).unwrap().unwrap();
            assert_eq!((seen.server, seen.client), (agreed.server, agreed.client));
        }
    }
}
