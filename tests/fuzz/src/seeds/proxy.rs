//! Seeds of the target `proxy`: PROXY headers and values of fields.

use super::{SPLITS, Seed, seed};

const START_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const TCP4: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];

pub fn seeds() -> Vec<Seed> {
    let one = |name: &str, bytes: &[u8]| seed(name, &[&[0], SPLITS, bytes]);
    let v2 = |name: &str, command: u8, kind: u8, body: &[u8]| {
        let length = (body.len() as u16).to_be_bytes();
        let parts = [
            &[0][..],
            SPLITS,
            START_V2,
            &[command, kind],
            &length,
            body,
            b"GET / HTTP/1.1\r\n",
        ];
        seed(name, &parts)
    };
    let tcp6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 12], &[0; 16], &TCP4[8..]].concat();
    let tlvs = [TCP4, &[4, 0, 3, 0, 0, 0, 5, 0, 2, 9, 9]].concat();
    vec![
        one(
            "v1-tcp4",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nGET / HTTP/1.1\r\n",
        ),
        one("v1-tcp6", b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\nGET"),
        one("v1-unknown", b"PROXY UNKNOWN whatever\r\n"),
        one("v1-bare-lf", b"PROXY UNKNOWN\n"),
        one(
            "v1-bad-port",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +80 443\r\n",
        ),
        one(
            "v1-long",
            &[b"PROXY UNKNOWN ", &b"x".repeat(100)[..]].concat(),
        ),
        one("no-header", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        v2("v2-tcp4", 0x21, 0x11, TCP4),
        v2("v2-tcp6", 0x21, 0x21, &tcp6),
        v2("v2-tlvs", 0x21, 0x11, &tlvs),
        v2("v2-local", 0x20, 0, b""),
        v2("v2-unix", 0x21, 0x31, &[1; 216]),
        v2("v2-short", 0x21, 0x11, &TCP4[1..]),
        v2("v2-other-family", 0x21, 0x41, TCP4),
        seed(
            "v2-over-the-bound",
            &[&[1], SPLITS, START_V2, &[0x21, 0x11, 0, 40]],
        ),
        one("list", b"6.6.6.6, 192.0.2.7:80 ,[2001:db8::7]:1, 10.0.0.1"),
        one("list-lines", b"6.6.6.6\n192.0.2.7\n10.0.0.1, unknown"),
        one("list-of-proxies", b"10.0.0.3\n10.0.0.2,,10.0.0.1"),
        one("list-bad", b"for=1, 1.2.3, 1.2.3.4:99999, ::1%x"),
        one(
            "forwarded",
            b"for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=https;by=_a, for=10.0.0.1",
        ),
        one(
            "forwarded-lines",
            b"for=unknown\nFor=\"_hidden\"\nhost=\"a,\\\"b\";for=192.0.2.7",
        ),
        one(
            "forwarded-open-quote",
            b"for=6.6.6.6;x=\"\nfor=192.0.2.7;y=\"z",
        ),
        one("forwarded-bad", b"for=192.0.2.7;for=1.1.1.1, =a, for"),
    ]
}
