//! The bytes that connections of an attack send.

use std::net::SocketAddr;

use crate::kind::AttackKind;

const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
/// Payload of a message: short where each byte has a segment of its own, long where the client does not read.
const SHORT: usize = 64;
const LONG: usize = 16 << 10;

/// A masked frame (RFC 6455 §5.2) with the first byte `first`.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..=125 => out.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend((len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(
        payload
            .iter()
            .zip(MASK.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    out
}

/// An upgrade request for `path`.
fn request(target: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A broken request, or a request and broken frames after its response.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub head: Vec<u8>,
    /// The bytes after the 101 response, sent once.
    pub tail: Vec<u8>,
}

/// The byte stream of the connections of an attack.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The request.
    pub head: Vec<u8>,
    /// Repeated after the head.
    pub unit: Vec<u8>,
    /// The payload of the echo of each unit.
    pub echo: Vec<u8>,
    /// Sent instead of head and unit, one case per connection.
    pub cases: Vec<Case>,
}

impl Script {
    pub(crate) fn new(kind: AttackKind, target: SocketAddr, path: &str) -> Self {
        let size = match kind {
            AttackKind::ZeroWindow | AttackKind::SlowReader => LONG,
            _ => SHORT,
        };
        let echo: Vec<u8> = (0..size).map(|n| (n * 31 + n / 251) as u8).collect();
        let good = request(target, path);
        let cases = if kind == AttackKind::BadFrames {
            cases(&good)
        } else {
            Vec::new()
        };
        // A head that never ends: the request without its last line, and then a repeated header line.
        let (head, unit) = if kind == AttackKind::SlowHandshake {
            (
                good[..good.len() - 2].to_vec(),
                b"X-Pad: 0123456789\r\n".to_vec(),
            )
        } else {
            (good, frame(0x82, &echo))
        };
        Self {
            head,
            unit,
            echo,
            cases,
        }
    }

    /// Writes the stream from offset `at` on: the head, then the unit repeatedly.
    pub(crate) fn fill(&self, at: u32, out: &mut [u8]) {
        for (at, byte) in (at as usize..).zip(out) {
            *byte = match self.head.get(at) {
                Some(&byte) => byte,
                None => self.unit[(at - self.head.len()) % self.unit.len()],
            };
        }
    }

    /// Writes the stream of a case from offset `at` on.
    pub(crate) fn fill_case(&self, case: usize, at: u32, out: &mut [u8]) {
        let case = &self.cases[case % self.cases.len()];
        let all = case.head.iter().chain(&case.tail).skip(at as usize);
        for (to, from) in out.iter_mut().zip(all) {
            *to = *from;
        }
    }
}

/// Frames and requests that violate RFC 6455, each in another way.
fn cases(good: &[u8]) -> Vec<Case> {
    let text = String::from_utf8_lossy(good).into_owned();
    let with = |from: &str, to: &str| Case {
        head: text.replace(from, to).into_bytes(),
        tail: Vec::new(),
    };
    let after = |tail: &[u8]| Case {
        head: good.to_vec(),
        tail: tail.to_vec(),
    };
    let close = |payload: &[u8]| after(&frame(0x88, payload));
    let mut long_control = frame(0x89, &[0; 125]);
    long_control[1] = 0x80 | 126;
    vec![
        // §5.2: reserved bits, each alone and all.
        after(&frame(0xc2, b"rsv1")),
        after(&frame(0xa2, b"rsv2")),
        after(&frame(0x92, b"rsv3")),
        after(&frame(0xf1, b"all")),
        // Reserved opcodes.
        after(&frame(0x83, b"data")),
        after(&frame(0x87, b"data")),
        after(&frame(0x8b, b"control")),
        after(&frame(0x8f, b"control")),
        // §5.1: not masked.
        after(b"\x82\x05hello"),
        after(b"\x88\x02\x03\xe8"),
        // Lengths that are not minimal, or exceed the rest of the data.
        after(b"\x82\xfe\x00\x05\0\0\0\0hello"),
        after(b"\x82\xff\0\0\0\0\0\0\x00\x05\0\0\0\0hello"),
        after(b"\x82\xff\x80\0\0\0\0\0\0\x00\0\0\0\0"),
        after(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"),
        after(b"\x82\xff\0\0\0\x7f\xff\xff\xff\xff\0\0\0\0"),
        // §5.5: a control frame in fragments, or too long.
        after(&frame(0x09, b"ping")),
        after(&frame(0x08, &[3, 232])),
        after(&long_control),
        after(&frame(0x8a, &[0; 126])),
        // §5.4: a continuation without a start, a message within another, and many fragments without an end.
        after(&frame(0x80, b"goes on")),
        after(&frame(0x00, b"goes on")),
        after(&[frame(0x02, b"begins"), frame(0x82, b"another")].concat()),
        after(&[frame(0x01, b"begins"), frame(0x01, b"again")].concat()),
        after(
            &[
                frame(0x02, b"begins"),
                frame(0x00, b"").repeat(100),
                frame(0xc0, b"rsv1"),
            ]
            .concat(),
        ),
        // §5.5.1, §7.4: invalid bodies and codes of Close.
        close(&[3]),
        close(&[0, 0]),
        close(&[3, 231]),
        close(&1004_u16.to_be_bytes()),
        close(&1005_u16.to_be_bytes()),
        close(&1006_u16.to_be_bytes()),
        close(&1015_u16.to_be_bytes()),
        close(&1016_u16.to_be_bytes()),
        close(&2999_u16.to_be_bytes()),
        close(&[255, 255]),
        close(b"\x03\xe8\xff\xfe"),
        // §8.1: invalid UTF-8 in one frame, in fragments, and a surrogate.
        after(&frame(0x81, b"\xc0\xaf")),
        after(&frame(0x81, b"abc\xff")),
        after(&frame(0x81, b"\xed\xa0\x80")),
        after(&[frame(0x01, b"\xf0\x9f"), frame(0x80, b"\x98")].concat()),
        after(&frame(0x81, b"\xf4\x90\x80\x80")),
        // Bytes that are not frames.
        after(&[0xff; 64]),
        after(b"GET / HTTP/1.1\r\n\r\n"),
        // §4.2.1, RFC 9112: invalid requests.
        with("GET ", "PUT "),
        with("HTTP/1.1", "HTTP/1.0"),
        with("HTTP/1.1", "HTTP/9.9"),
        with("Version: 13", "Version: 12"),
        with("Upgrade: websocket\r\n", ""),
        with("Key: dGhlIHNhbXBsZSBub25jZQ==", "Key: dGhlIHNhbXBsZQ=="),
        with(
            "Sec-WebSocket-Key: ",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: ",
        ),
        with("Host: ", "No Host: "),
        with("Host: ", "Host\0: "),
        with("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"),
        with("GET ", "\u{1}\u{2}\u{3} "),
        with("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "y".repeat(9000))),
        with("\r\n\r\n", &format!("{}\r\n\r\n", "\r\nX: y".repeat(300))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_does_not_depend_on_the_pieces() {
        let target = "[fd77::2]:9001".parse().expect("an address");
        for kind in [
            AttackKind::TinySegments,
            AttackKind::SlowReader,
            AttackKind::SlowHandshake,
        ] {
            let script = Script::new(kind, target, "/echo");
            let total = script.head.len() + 2 * script.unit.len();
            let mut whole = vec![0; total];
            script.fill(0, &mut whole);
            assert_eq!(
                whole,
                [&script.head[..], &script.unit, &script.unit].concat()
            );
            for piece in [1, 7, 1000] {
                let mut pieces = vec![0; total];
                for (i, piece_out) in pieces.chunks_mut(piece).enumerate() {
                    script.fill((i * piece) as u32, piece_out);
                }
                assert!(pieces == whole, "{piece}");
            }
        }
    }

    #[test]
    fn no_case_is_only_a_valid_request() {
        let target = "10.77.0.2:9001".parse().expect("an address");
        let script = Script::new(AttackKind::BadFrames, target, "/echo");
        assert!(script.cases.len() > 50);
        for (i, case) in script.cases.iter().enumerate() {
            assert!(case.head != script.head || !case.tail.is_empty(), "{i}");
        }
    }
}
