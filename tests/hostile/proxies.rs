//! Peers that claim to be proxies, and proxies that send nonsense.

use crate::beside_a_bystander;
use crate::common::wire::{self, TEXT};
use crate::common::{Client, Got, eventually, source};

const LINE: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 80\r\n";

/// Flags that trust the second source as a proxy.
fn trusting<'a>(proxy: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--trusted-proxies", proxy], more].concat()
}

#[test]
fn nonsense_in_place_of_a_proxy_header_is_reset_and_counted() {
    let proxy = source(2).to_string();
    let flags = trusting(
        &proxy,
        &["--proxy-protocol", "trusted", "--handshake-timeout", "2s"],
    );
    beside_a_bystander(&flags, |server, bystander| {
        let mut bad: Vec<Vec<u8>> = vec![
            wire::upgrade("/echo", &[]),
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 99999\r\n".to_vec(),
            b"PROXY TCP4 255.255.255.255 192.0.2.1 1234 80\r\n".to_vec(),
            b"PROXY UNKNOWN\n".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b".to_vec(),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".to_vec(),
            b"\x16\x03\x01\x02\x00".to_vec(),
            [b"PROXY UNKNOWN ", &b"x".repeat(200)[..]].concat(),
        ];
        bad.extend((1..40).map(|seed| [&b"Z"[..], &wire::noise(seed, 300)].concat()));
        let count = bad.len() as u64;
        for bytes in bad {
            let mut client = Client::connect_as(server, source(2), 0);
            let _ = client.try_write_before_tls(&bytes);
            assert!(
                matches!(client.next(), Got::End | Got::Reset),
                "{}",
                bytes.escape_ascii()
            );
        }
        bystander.is_served();
        eventually("all are counted", || {
            server.counter("proxy_malformed") == count
        });
        // One that never ends is reset in the time of a handshake.
        let mut slow = Client::connect_as(server, source(2), 0);
        slow.write_before_tls(&LINE[..20]);
        assert!(matches!(slow.next(), Got::End | Got::Reset));
        eventually("it is counted", || {
            server.counter("handshake_timeouts") == 1
        });
        // A good one is served, and a peer that is no proxy is not asked for one.
        let mut good = Client::connect_as(server, source(2), 0);
        for byte in LINE {
            good.write_before_tls(&[*byte]);
        }
        good.upgraded("/echo", &[]).echo(TEXT, b"through a proxy");
        Client::connect_as(server, source(3), 0)
            .upgraded("/echo", &[])
            .echo(TEXT, b"directly");
        assert_eq!(server.counter("proxied"), 1);
    });
}

#[test]
fn a_client_behind_a_proxy_cannot_use_all_connections() {
    let proxy = source(2).to_string();
    let limits = [
        "--proxy-protocol",
        "trusted",
        "--max-connections-per-source",
        "3",
        "--max-connections",
        "300",
    ];
    beside_a_bystander(&trusting(&proxy, &limits), |server, bystander| {
        let from = |client: &str| {
            let mut connection = Client::connect_as(server, source(2), 0);
            let line = format!("PROXY TCP4 {client} 192.0.2.1 1 80\r\n");
            connection.write_before_tls(line.as_bytes());
            connection
        };
        let held: Vec<_> = (0..3)
            .map(|_| from("198.51.100.1").upgraded("/echo", &[]))
            .collect();
        // They are refused, and the connections that are refused do not fill the server either.
        let refused: Vec<_> = (0..400).map(|_| from("198.51.100.1")).collect();
        eventually("all are refused", || {
            server.counter("rejected_source") == 400
        });
        bystander.is_served();
        let others: Vec<_> = (1..200)
            .map(|host| from(&format!("203.0.113.{host}")).upgraded("/echo", &[]))
            .collect();
        assert_eq!(server.counter("rejected_connections"), 0);
        drop((held, refused, others));
        eventually("its places come back", || {
            from("198.51.100.1")
                .ask(&wire::upgrade("/echo", &[]))
                .status
                == 101
        });
    });
}

#[test]
fn a_refused_client_whose_proxy_sends_everything_at_once_is_answered() {
    let proxy = source(2).to_string();
    let limits = ["--proxy-protocol=trusted", "--max-connections-per-source=3"];
    beside_a_bystander(&trusting(&proxy, &limits), |server, _| {
        let ask = || {
            let mut client = Client::connect_as(server, source(2), 0);
            client.write_along(b"PROXY TCP4 198.51.100.1 192.0.2.1 1 80\r\n");
            let status = client.ask(&wire::upgrade("/echo", &[])).status;
            (client, status)
        };
        let (_held, statuses): (Vec<_>, Vec<_>) = (0..13).map(|_| ask()).unzip();
        assert_eq!(statuses, [[101; 3].as_slice(), &[503; 10]].concat());
        eventually("all are counted", || {
            server.counter("rejected_source") == 10
        });
    });
}

#[test]
fn fields_of_a_stranger_change_nothing() {
    let proxy = source(2).to_string();
    let limits = [
        "--real-ip-header",
        "x-forwarded-for",
        "--max-connections-per-source",
        "3",
    ];
    beside_a_bystander(&trusting(&proxy, &limits), |server, _| {
        let ask = |nth: u8, field: &str| {
            let mut client = Client::connect_as(server, source(nth), 0);
            let status = client.ask(&wire::upgrade("/echo", &[field])).status;
            (client, status)
        };
        // A stranger that claims another address for each connection stays one source.
        let statuses: Vec<_> = (0..5)
            .map(|n| ask(3, &format!("X-Forwarded-For: 203.0.113.{n}")))
            .collect();
        let statuses: Vec<_> = statuses.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [101, 101, 101, 503, 503]);
        // So does a client of the proxy, whatever it writes before what the proxy adds.
        let statuses: Vec<_> = (0..5)
            .map(|n| {
                ask(
                    2,
                    &format!("X-Forwarded-For: 203.0.113.{n}, garbage, 198.51.100.1"),
                )
            })
            .collect();
        let statuses: Vec<_> = statuses.iter().map(|(_, status)| *status).collect();
        assert_eq!(statuses, [101, 101, 101, 503, 503]);
        assert_eq!(ask(2, "X-Forwarded-For: 198.51.100.1, garbage").1, 400);
        let many = format!("X-Forwarded-For: {}", "1.1.1.1,".repeat(900));
        assert_eq!(ask(2, &many).1, 101);
    });
}
