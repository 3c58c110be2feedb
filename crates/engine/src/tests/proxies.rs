//! Clients behind proxies: PROXY headers, `X-Forwarded-For`, `Forwarded`, and what is applied to the client that they name.

use super::*;
use crate::{Network, Networks, Proxies, ProxyProtocol, RealIpHeader};

const PROXY: &str = "10.0.0.1:1";
const STRANGER: &str = "198.51.100.1:1";

fn networks(list: &[&str]) -> Networks {
    let parse = |text: &&str| text.parse::<Network>().unwrap();
    list.iter().map(parse).collect()
}

fn config(protocol: ProxyProtocol, header: RealIpHeader) -> Config {
    let mut config = Config::default();
    config.tunables.proxies = Proxies::new()
        .trusted(networks(&["10.0.0.0/8"]))
        .protocol(protocol)
        .header(header);
    config
}

fn line(client: &str) -> String {
    format!("PROXY TCP4 {client} 10.0.0.1 1234 80\r\n")
}

fn request(fields: &str) -> String {
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    request.replace("Host", &format!("{fields}Host"))
}

impl Lab {
    fn from(&mut self, peer: &str, bytes: &[u8]) -> ConnId {
        let peer = match peer {
            "unix" => Peer::Unix,
            peer => Peer::Ip(peer.parse().unwrap()),
        };
        let id = self.io().accept(peer);
        self.io().deliver(id, bytes);
        self.turn();
        id
    }

    /// The status of the answer, and how many connections were opened for which peer.
    fn outcome(&mut self, peer: &str, bytes: &str) -> (String, Vec<String>) {
        self.log();
        let id = self.from(peer, bytes.as_bytes());
        let answer = self.text(id);
        let status = answer.split(' ').nth(1).unwrap_or("reset").to_owned();
        let mut log = self.log();
        log.retain(|entry| entry.starts_with("open"));
        (status, log)
    }
}

fn opened(peer: &str) -> (String, Vec<String>) {
    ("101".to_owned(), vec![format!("open /chat from {peer}")])
}

fn refused(status: &str) -> (String, Vec<String>) {
    (status.to_owned(), Vec::new())
}

#[test]
fn a_proxy_header_names_the_peer_at_any_split() {
    let mut lab = Lab::new(config(ProxyProtocol::Require, RealIpHeader::None));
    let mut stream = (line("192.0.2.7") + &request("")).into_bytes();
    encode::frame_into(&mut stream, OpCode::Text, b"early", Some([9; 4]));
    for cut in 0..=stream.len() {
        let id = lab.io().accept(Peer::Ip(PROXY.parse().unwrap()));
        for piece in [&stream[..cut], &stream[cut..]] {
            lab.io().deliver(id, piece);
            lab.turn();
        }
        assert_eq!(
            lab.log(),
            ["open /chat from 192.0.2.7:1234", "ready"],
            "{cut}"
        );
        let sent = lab.io().sent(id);
        assert!(sent.ends_with(b"\x81\x05early"), "{cut}");
    }
    // Byte by byte.
    let id = lab.io().accept(Peer::Ip(PROXY.parse().unwrap()));
    for byte in &stream {
        lab.io().deliver(id, &[*byte]);
        lab.turn();
    }
    assert_eq!(lab.log(), ["open /chat from 192.0.2.7:1234", "ready"]);
    assert_eq!(lab.totals().proxied, stream.len() as u64 + 2);
}

#[test]
fn headers_are_believed_only_of_trusted_peers() {
    let with = |client: &str| line(client) + &request("");
    // Required of all, so others are reset.
    let mut lab = Lab::new(config(ProxyProtocol::Require, RealIpHeader::None));
    assert_eq!(lab.outcome(STRANGER, &with("192.0.2.7")), refused("reset"));
    assert_eq!(lab.outcome(STRANGER, &request("")), refused("reset"));
    assert_eq!(lab.outcome("unix", &with("192.0.2.7")), refused("reset"));
    assert_eq!(lab.outcome(PROXY, &request("")), refused("reset"));
    assert_eq!(
        (
            lab.totals().rejected_untrusted,
            lab.totals().proxy_malformed
        ),
        (3, 1)
    );
    // Of trusted ones alone: for others a header is no request.
    let mut lab = Lab::new(config(ProxyProtocol::Trusted, RealIpHeader::None));
    assert_eq!(lab.outcome(STRANGER, &with("192.0.2.7")).0, "505");
    assert_eq!(lab.outcome(STRANGER, &request("")), opened(STRANGER));
    assert_eq!(
        lab.outcome(PROXY, &with("192.0.2.7")),
        opened("192.0.2.7:1234")
    );
    assert_eq!(lab.outcome(PROXY, &request("")), refused("reset"));
    // Of nobody.
    let mut lab = Lab::new(config(ProxyProtocol::Off, RealIpHeader::None));
    assert_eq!(lab.outcome(PROXY, &with("192.0.2.7")).0, "505");
    assert_eq!(
        lab.outcome(PROXY, &request("X-Forwarded-For: 192.0.2.7\r\n")),
        opened(PROXY)
    );
    // Unix sockets have to be listed.
    let mut unix = config(ProxyProtocol::Require, RealIpHeader::None);
    unix.tunables.proxies.trust_unix = true;
    let mut lab = Lab::new(unix);
    assert_eq!(
        lab.outcome("unix", &with("192.0.2.7")),
        opened("192.0.2.7:1234")
    );
    assert_eq!(
        lab.outcome("unix", &("PROXY UNKNOWN\r\n".to_owned() + &request(""))),
        opened("unix")
    );
}

#[test]
fn fields_are_believed_only_of_trusted_peers_and_the_rightmost_address_counts() {
    let mut lab = Lab::new(config(ProxyProtocol::Off, RealIpHeader::XForwardedFor));
    for (peer, fields, expected) in [
        (
            PROXY,
            "X-Forwarded-For: 192.0.2.7\r\n",
            opened("192.0.2.7:0"),
        ),
        (
            PROXY,
            "x-forwarded-for: 6.6.6.6, 192.0.2.7,10.0.0.9\r\n",
            opened("192.0.2.7:0"),
        ),
        (
            PROXY,
            "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 2001:db8::1\r\n",
            opened("[2001:db8::1]:0"),
        ),
        (PROXY, "X-Forwarded-For: junk\r\n", refused("400")),
        (PROXY, "X-Forwarded-For: unknown\r\n", opened(PROXY)),
        (PROXY, "Forwarded: for=192.0.2.7\r\n", opened(PROXY)),
        (PROXY, "", opened(PROXY)),
        (STRANGER, "X-Forwarded-For: 192.0.2.7\r\n", opened(STRANGER)),
        (STRANGER, "X-Forwarded-For: junk\r\n", opened(STRANGER)),
        ("unix", "X-Forwarded-For: 192.0.2.7\r\n", opened("unix")),
    ] {
        assert_eq!(
            lab.outcome(peer, &request(fields)),
            expected,
            "{peer} {fields}"
        );
    }
    assert_eq!((lab.totals().proxy_malformed, lab.totals().proxied), (1, 3));
    let mut lab = Lab::new(config(ProxyProtocol::Off, RealIpHeader::Forwarded));
    let fields = "Forwarded: for=\"[2001:db8::1]:80\";proto=https\r\nX-Forwarded-For: 6.6.6.6\r\n";
    assert_eq!(
        lab.outcome(PROXY, &request(fields)),
        opened("[2001:db8::1]:80")
    );
    assert_eq!(
        lab.outcome(PROXY, &request("Forwarded: for=\r\n")),
        refused("400")
    );
    // A handler of plain requests sees the client as well, and a refused one is not answered by it.
    let plain = "GET /page HTTP/1.1\r\nHost: x\r\nForwarded: junk\r\n\r\n";
    assert_eq!(lab.outcome(PROXY, plain), refused("400"));
}

#[test]
fn a_proxy_behind_a_proxy_names_the_client_in_the_request() {
    let mut lab = Lab::new(config(ProxyProtocol::Require, RealIpHeader::XForwardedFor));
    let field = request("X-Forwarded-For: 192.0.2.7\r\n");
    assert_eq!(
        lab.outcome(PROXY, &(line("10.9.9.9") + &field)),
        opened("192.0.2.7:0")
    );
    // The field of a client is not believed.
    assert_eq!(
        lab.outcome(PROXY, &(line("192.0.2.8") + &field)),
        opened("192.0.2.8:1234")
    );
    // The first proxy does not know its client, and the second, if any, is not known.
    let unknown = "PROXY UNKNOWN\r\n".to_owned();
    assert_eq!(
        lab.outcome(PROXY, &(unknown.clone() + &field)),
        opened("192.0.2.7:0")
    );
    assert_eq!(lab.outcome(PROXY, &(unknown + &request(""))), opened(PROXY));
}

#[test]
fn limits_of_sources_apply_to_clients_and_not_to_their_proxy() {
    for protocol in [ProxyProtocol::Require, ProxyProtocol::Off] {
        let mut config = config(protocol, RealIpHeader::XForwardedFor);
        config.tunables.limits.max_connections_per_source = 2;
        let mut lab = Lab::new(config);
        let of = |client: &str| match protocol {
            ProxyProtocol::Off => request(&format!("X-Forwarded-For: {client}\r\n")),
            _ => line(client) + &request(""),
        };
        let first = lab.from(PROXY, of("192.0.2.1").as_bytes());
        assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")).0, "101");
        assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")), refused("503"));
        for client in 2..40 {
            let stream = of(&format!("192.0.2.{client}"));
            assert_eq!(lab.outcome(PROXY, &stream).0, "101", "{client}");
        }
        assert_eq!(lab.totals().rejected_source, 1);
        // A place comes back exactly once.
        lab.io().reset(first);
        lab.turn();
        assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")).0, "101");
        assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")), refused("503"));
        // Health checks of the proxy itself.
        let own = match protocol {
            ProxyProtocol::Off => request(""),
            _ => "PROXY UNKNOWN\r\n".to_owned() + &request(""),
        };
        for _ in 0..5 {
            assert_eq!(lab.outcome(PROXY, &own).0, "101");
        }
    }
}

#[test]
fn the_rate_and_the_networks_of_clients_are_checked() {
    let mut config = config(ProxyProtocol::Require, RealIpHeader::None);
    config.tunables.limits.connection_rate_per_source = 1;
    config.tunables.allow = networks(&["192.0.2.0/24"]);
    config.tunables.deny = networks(&["192.0.2.128/25"]);
    let mut lab = Lab::new(config);
    let of = |client: &str| line(client) + &request("");
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")).0, "101");
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")), refused("503"));
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.2")).0, "101");
    for client in ["192.0.2.129", "198.51.100.1"] {
        assert_eq!(
            lab.outcome(PROXY, &of(client)),
            refused("reset"),
            "{client}"
        );
    }
    let totals = lab.totals();
    assert_eq!((totals.rejected_rate, totals.rejected_network), (1, 2));
}

#[test]
fn refused_clients_do_not_use_up_the_connections() {
    let mut config = config(ProxyProtocol::Require, RealIpHeader::None);
    config.tunables.limits.max_connections = 2;
    config.tunables.limits.max_connections_per_source = 1;
    let mut lab = Lab::new(config);
    let of = |client: &str| line(client) + &request("");
    let first = lab.from(PROXY, of("192.0.2.1").as_bytes());
    // Their 503 is sent in slots of its own, and many are waiting for the peer to close.
    for _ in 0..50 {
        assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")), refused("503"));
    }
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.2")).0, "101");
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.3")).0, "503");
    assert_eq!(lab.totals().rejected_connections, 1);
    lab.io().reset(first);
    lab.pass(5_100);
    assert_eq!(lab.outcome(PROXY, &of("192.0.2.1")).0, "101");
}

#[test]
fn a_proxy_header_has_the_deadline_and_the_bound_of_a_request() {
    let mut config = config(ProxyProtocol::Require, RealIpHeader::None);
    config.tunables.limits.max_handshake = 600;
    let mut lab = Lab::new(config);
    // Nothing, half a header, and a header whose request does not arrive.
    let header = line("192.0.2.1");
    let silent = lab.from(PROXY, b"");
    let half = lab.from(PROXY, &header.as_bytes()[..20]);
    lab.pass(9_000);
    let whole = lab.from(PROXY, header.as_bytes());
    lab.pass(990);
    assert!([silent, half, whole].iter().all(|id| lab.io().is_open(*id)));
    lab.pass(20);
    assert!(!lab.io().is_open(silent) && !lab.io().is_open(half));
    lab.io().deliver(whole, b"GET /");
    lab.pass(8_990);
    assert!(
        lab.text(whole).starts_with("HTTP/1.1 408"),
        "one deadline for both"
    );
    assert_eq!(lab.totals().handshake_timeouts, 3);

    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x02\x48".to_vec();
    v2.extend([192, 0, 2, 1, 10, 0, 0, 1, 0x10, 0, 0, 80]);
    v2.resize(600, 4);
    v2.extend(request("").as_bytes());
    let id = lab.from(PROXY, &v2);
    assert!(lab.text(id).starts_with("HTTP/1.1 101"), "TLVs are skipped");
    assert_eq!(lab.log(), ["open /chat from 192.0.2.1:4096", "ready"]);
    v2[15] += 1;
    let id = lab.from(PROXY, &v2);
    assert!(!lab.io().is_open(id) && lab.io().sent(id).is_empty());
    assert_eq!(lab.totals().proxy_malformed, 1);
}

#[test]
fn a_slot_does_not_keep_the_client_of_the_connection_before() {
    let mut lab = Lab::new(config(ProxyProtocol::Trusted, RealIpHeader::None));
    let first = lab.from(PROXY, (line("192.0.2.1") + &request("")).as_bytes());
    lab.io().reset(first);
    lab.turn();
    lab.log();
    let second = lab.from(STRANGER, request("").as_bytes());
    assert_eq!(first.index, second.index, "the slot is used again");
    assert_eq!(lab.log(), ["open /chat from 198.51.100.1:1", "ready"]);
    assert_eq!(lab.lcore.app.core.proxy(&lab.lcore.io, second), None);
    let third = lab.from(PROXY, (line("192.0.2.1") + &request("")).as_bytes());
    let proxy = Peer::Ip(PROXY.parse().unwrap());
    assert_eq!(lab.lcore.app.core.proxy(&lab.lcore.io, third), Some(proxy));
}

#[test]
fn a_change_of_the_proxies_reaches_connections_whose_client_is_not_known_yet() {
    let mut lab = Lab::new(config(ProxyProtocol::Off, RealIpHeader::XForwardedFor));
    let stream = request("X-Forwarded-For: 192.0.2.7\r\n").into_bytes();
    let id = lab.from(PROXY, &stream[..20]);
    let mut new = Tunables::default();
    new.limits.max_connections_per_source = 1;
    lab.lcore.reconfigure(new).unwrap();
    lab.io().deliver(id, &stream[20..]);
    lab.turn();
    // It is no proxy any more, so it is a client like any other.
    assert_eq!(
        lab.log(),
        [format!("open /chat from {PROXY}"), "ready".to_owned()]
    );
    assert_eq!(lab.outcome(PROXY, &request("")), refused("503"));
    lab.io().reset(id);
    lab.turn();
    assert_eq!(lab.outcome(PROXY, &request("")).0, "101");
}

#[test]
fn a_drain_does_not_wait_for_a_proxy_header() {
    let mut lab = Lab::new(config(ProxyProtocol::Require, RealIpHeader::None));
    lab.from(PROXY, b"PROXY TCP4 ");
    lab.lcore.app.core.drain();
    lab.turn();
    assert!(lab.lcore.is_done());
}
