//! What proxies say about their clients: PROXY headers, `X-Forwarded-For` and `Forwarded`.
//!
//! Input: a byte that chooses the bound of a header, the seed of the splits (4 bytes), the bytes that arrive. For the fields these are
//! their values, one a line.

use std::net::{IpAddr, SocketAddr};

use hioload_engine::proxy::forwarded::{forwarded, x_forwarded_for};
use hioload_engine::proxy::header::{FIXED_V2, LONGEST_V1, parse};
use hioload_engine::proxy::{Malformed, Said};
use hioload_ws_proto::handshake::grammar::trim_ows;

use super::input::{Input, cut};

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let longest = match input.byte() & 1 {
        0 => 8 << 10,
        _ => 40,
    };
    let seed = input.word();
    let bytes = input.rest();
    header(bytes, seed, longest);
    fields(bytes);
}

type Answer = Result<Option<(Said, usize)>, Malformed>;

fn header(bytes: &[u8], seed: u32, longest: usize) {
    let whole = parse(bytes, longest);
    if let Ok(Some((said, end))) = whole {
        assert!(end <= bytes.len() && end <= longest.max(LONGEST_V1) && end >= 15.min(FIXED_V2));
        check(said);
        // What follows belongs to the client.
        assert_eq!(parse(&bytes[..end], longest), whole);
    }
    assert_eq!(
        arriving(bytes, seed, longest),
        whole,
        "the split changes the answer"
    );
}

/// Reads a header in pieces. The answer, once there is one, is that of all bytes.
fn arriving(bytes: &[u8], seed: u32, longest: usize) -> Answer {
    let mut arrived = 0;
    for piece in cut(bytes, seed) {
        arrived += piece.len();
        match parse(&bytes[..arrived], longest) {
            Ok(None) => {}
            answer => return answer,
        }
    }
    Ok(None)
}

/// A client can have the address.
fn check(said: Said) {
    if let Said::Client(addr) = said {
        let ip = addr.ip();
        assert_eq!(ip, ip.to_canonical());
        assert!(!ip.is_unspecified() && !ip.is_multicast());
    }
}

/// 10.0.0.0/8 are proxies.
fn is_proxy(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 10)
}

const CLIENT: &str = "192.0.2.1";
const PROXY: &str = "10.0.0.1";

fn fields(bytes: &[u8]) {
    let values: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    let client = Ok(Said::Client(SocketAddr::new(
        CLIENT.parse().expect("an address"),
        0,
    )));

    let list = |values: &[&[u8]]| x_forwarded_for(values.iter().copied(), is_proxy);
    let said = list(&values);
    if let Ok(said) = said {
        check(said);
    }
    assert_eq!(said, walked(&values), "read from the right");
    assert_eq!(list(&[&values[..], &[CLIENT.as_bytes()]].concat()), client);
    let joined = [&values.join(&b',')[..], b", ", CLIENT.as_bytes()].concat();
    assert_eq!(
        list(&[&joined]),
        client,
        "whatever the client sends before it"
    );
    let by_proxy = list(&[&values[..], &[PROXY.as_bytes()]].concat());
    assert!(
        by_proxy == said || said == Ok(Said::Nothing),
        "a proxy's address changes nothing"
    );

    let list = |values: &[&[u8]]| forwarded(values.iter().copied(), is_proxy);
    let said = list(&values);
    if let Ok(said) = said {
        check(said);
    }
    let element = format!("for={CLIENT};proto=https");
    assert_eq!(list(&[&values[..], &[element.as_bytes()]].concat()), client);
    for element in [element, format!("proto=\"https\";for=\"{CLIENT}\"")] {
        let joined = [&values.join(&b',')[..], b", ", element.as_bytes()].concat();
        let said = list(&[&joined]);
        assert!(said == client || said == Err(Malformed), "{said:?}");
    }
    let by_proxy = list(&[&values[..], &[format!("for={PROXY}").as_bytes()]].concat());
    assert!(
        by_proxy == said || said == Ok(Said::Nothing),
        "a proxy's address changes nothing"
    );
}

/// `X-Forwarded-For` as the documents describe it: from the right, past the proxies.
fn walked(values: &[&[u8]]) -> Result<Said, Malformed> {
    let all = values.join(&b',');
    let elements = all.split(|b| *b == b',').map(trim_ows);
    let mut leftmost = Ok(Said::Nothing);
    for element in elements.rev().filter(|element| !element.is_empty()) {
        leftmost = x_forwarded_for([element].into_iter(), |_| false);
        match leftmost {
            Ok(Said::Client(addr)) if is_proxy(addr.ip()) => {}
            other => return other,
        }
    }
    leftmost
}
