use super::*;

const LONGEST: usize = 1024;

fn client(addr: &str) -> Said {
    Said::Client(addr.parse().unwrap())
}

fn v2(command: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut header = START_V2.to_vec();
    header.extend([command, kind]);
    header.extend((body.len() as u16).to_be_bytes());
    header.extend(body);
    header
}

fn tcp4() -> Vec<u8> {
    let mut body = vec![192, 0, 2, 1, 198, 51, 100, 1];
    body.extend([0xdc, 0x04, 0x01, 0xbb]);
    body
}

fn tcp6(source: &str) -> Vec<u8> {
    let source: Ipv6Addr = source.parse().unwrap();
    let mut body = source.octets().to_vec();
    body.extend([0; 16]);
    body.extend([0xdc, 0x04, 0x01, 0xbb]);
    body
}

/// Good headers and what they say.
fn good() -> Vec<(Vec<u8>, Said)> {
    let line = |text: &str| format!("{text}\r\n").into_bytes();
    let tlv = |mut body: Vec<u8>| {
        body.extend([0x04, 0, 3, 0, 0, 0, 0xea, 0, 1]);
        body
    };
    let mapped = "::ffff:192.0.2.1";
    vec![
        (
            line("PROXY TCP4 192.0.2.1 198.51.100.1 56324 443"),
            client("192.0.2.1:56324"),
        ),
        (
            line("PROXY TCP4 192.0.2.1 0.0.0.0 0 65535"),
            client("192.0.2.1:0"),
        ),
        (
            line("PROXY TCP6 2001:db8::1 ::1 56324 443"),
            client("[2001:db8::1]:56324"),
        ),
        (
            line(&format!("PROXY TCP6 {mapped} ::1 1 2")),
            client("192.0.2.1:1"),
        ),
        (line("PROXY UNKNOWN"), Said::Nothing),
        (line("PROXY UNKNOWN and whatever follows"), Said::Nothing),
        (
            line(&format!("PROXY UNKNOWN {}", "x".repeat(LONGEST_V1 - 16))),
            Said::Nothing,
        ),
        (v2(0x21, TCP4, &tcp4()), client("192.0.2.1:56324")),
        (v2(0x21, TCP4, &tlv(tcp4())), client("192.0.2.1:56324")),
        (
            v2(0x21, TCP6, &tcp6("2001:db8::1")),
            client("[2001:db8::1]:56324"),
        ),
        (
            v2(0x21, TCP6, &tlv(tcp6(mapped))),
            client("192.0.2.1:56324"),
        ),
        // Local, with any family and any addresses.
        (v2(0x20, 0, &[]), Said::Nothing),
        (v2(0x20, TCP4, &tcp4()), Said::Nothing),
        (v2(0x20, TCP4, &[1]), Said::Nothing),
        (v2(0x20, 0xff, &[]), Said::Nothing),
        // Unspecified, Unix sockets, datagrams.
        (v2(0x21, 0, &[]), Said::Nothing),
        (v2(0x21, 0x01, &tcp4()), Said::Nothing),
        (v2(0x21, 0x31, &[0; 216]), Said::Nothing),
        (v2(0x21, 0x12, &tcp4()), Said::Nothing),
        (v2(0x21, 0, &[0; LONGEST - FIXED_V2]), Said::Nothing),
    ]
}

#[test]
fn a_header_is_read_at_any_split_and_takes_no_byte_of_the_client() {
    for (header, said) in good() {
        for cut in 0..header.len() {
            let early = parse(&header[..cut], LONGEST);
            assert_eq!(early, Ok(None), "{cut} of {}", header.escape_ascii());
        }
        for rest in [
            &b""[..],
            b"G",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\r\n",
            b"PROXY ",
        ] {
            let all = [&header[..], rest].concat();
            assert_eq!(parse(&all, LONGEST), Ok(Some((said, header.len()))));
        }
    }
}

/// Every bad header is refused as a whole, and at the latest with the byte that makes it bad: a longer prefix is never accepted.
#[test]
fn bad_headers_are_refused() {
    let lines = [
        "PROXY",
        "PROXY ",
        "PROXY TCP4",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 ",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 1",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443",
        "PROXY TCP4 192.0.2.1  198.51.100.1 56324 443",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443",
        "PROXY TCP4 192.0.2.256 198.51.100.1 56324 443",
        "PROXY TCP4 192.0.2.01 198.51.100.1 56324 443",
        "PROXY TCP4 192.0.2 198.51.100.1 56324 443",
        "PROXY TCP4 ::1 ::1 56324 443",
        "PROXY TCP6 192.0.2.1 198.51.100.1 56324 443",
        "PROXY TCP6 [::1] ::1 56324 443",
        "PROXY TCP6 fe80::1%eth0 ::1 56324 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +80 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 080 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 -1 443",
        "PROXY TCP4 192.0.2.1 198.51.100.1  443",
        "PROXY TCP4 192.0.2.1 198.51.100.1 0x50 443",
        "PROXY UDP4 192.0.2.1 198.51.100.1 56324 443",
        "PROXY tcp4 192.0.2.1 198.51.100.1 56324 443",
        "PROXY UNKNOWNX",
        "PROXY\tTCP4 192.0.2.1 198.51.100.1 56324 443",
        "proxy TCP4 192.0.2.1 198.51.100.1 56324 443",
        "GET / HTTP/1.1",
        // No client has these.
        "PROXY TCP4 0.0.0.0 198.51.100.1 56324 443",
        "PROXY TCP4 224.0.0.1 198.51.100.1 56324 443",
        "PROXY TCP4 255.255.255.255 198.51.100.1 56324 443",
        "PROXY TCP6 :: ::1 56324 443",
        "PROXY TCP6 ff02::1 ::1 56324 443",
    ];
    let mut bad: Vec<Vec<u8>> = lines
        .iter()
        .map(|line| format!("{line}\r\n").into())
        .collect();
    for text in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\r\n",
        "PROXY TCP4 192.0.2.1\0 198.51.100.1 56324 443\r\n",
        "PROXY UNKNOWN \u{e9}\r\n",
        "PROXY UNKNOWN \r \r\n",
        "\r\n\r\n\0\r\nQUIX",
        "\r\n\r\nGET",
    ] {
        bad.push(text.into());
    }
    bad.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(LONGEST_V1)).into());
    bad.push("PROXY ".repeat(18).into());
    for (command, kind, body) in [
        (0x11, TCP4, tcp4()),
        (0x22, TCP4, tcp4()),
        (0x2f, TCP4, tcp4()),
        (0x31, TCP4, tcp4()),
        (0x21, 0x41, tcp4()),
        (0x21, 0xf1, tcp4()),
        (0x21, 0x13, tcp4()),
        (0x21, 0x1f, tcp4()),
        (0x21, TCP4, tcp4()[..11].to_vec()),
        (0x21, TCP4, vec![]),
        (0x21, TCP6, tcp4()),
        (0x21, TCP6, tcp6("::1")[..35].to_vec()),
        (0x21, 0x31, vec![0; 215]),
        (0x21, TCP4, vec![0; 12]),
        (0x21, TCP6, tcp6("ff02::1")),
        (0x21, 0, vec![0; LONGEST - FIXED_V2 + 1]),
        (0x20, 0, vec![0; LONGEST - FIXED_V2 + 1]),
    ] {
        bad.push(v2(command, kind, &body));
    }
    for header in bad {
        let mut refused = false;
        for end in 0..=header.len() {
            match parse(&header[..end], LONGEST) {
                Ok(None) => assert!(!refused, "{}", header[..end].escape_ascii()),
                Ok(Some(said)) => panic!("{said:?} in {}", header[..end].escape_ascii()),
                Err(Malformed) => refused = true,
            }
        }
        assert!(refused, "{}", header.escape_ascii());
    }
}

#[test]
fn what_is_no_header_is_refused_at_its_first_byte() {
    for text in [
        "G",
        "\u{16}",
        "\n",
        "\0",
        "p",
        "\rG",
        "PRI * HTTP/2.0",
        "PROXYX",
    ] {
        assert_eq!(parse(text.as_bytes(), LONGEST), Err(Malformed), "{text:?}");
    }
    // A length that is not allowed is refused before the bytes arrive.
    let long = v2(0x21, TCP4, &[0; LONGEST]);
    assert_eq!(parse(&long[..FIXED_V2], LONGEST), Err(Malformed));
    assert_eq!(parse(&long[..FIXED_V2], 70_000), Ok(None));
}
