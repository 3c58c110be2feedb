//! A parser of the bytes that the engine sends. It shares no code with the engine. The engine must not send bytes that it refuses.

/// The parsed bytes of one connection.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sent {
    /// The lines of the HTTP head.
    pub head: Vec<String>,
    /// The body of a response that does not upgrade.
    pub body: Vec<u8>,
    /// The frames after it, unmasked.
    pub frames: Vec<Frame>,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// The first byte: FIN, RSV and opcode.
    pub first: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// The role of the sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A server: a response, then frames without masks.
    Server,
    /// A client: a request, then frames with masks.
    Client,
}

/// Parses all bytes that were sent. With `cut_off` the connection was reset or is still open, so the end may be missing.
///
/// # Panics
/// If RFC 6455 does not allow this side to send the bytes.
pub fn read(by: By, bytes: &[u8], cut_off: bool) -> Sent {
    let mut sent = Sent::default();
    if bytes.is_empty() {
        return sent;
    }
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
        assert!(cut_off, "half a head was sent");
        return sent;
    };
    let text = std::str::from_utf8(&bytes[..end]).expect("a head of ASCII");
    sent.head = text.split("\r\n").map(str::to_owned).collect();
    assert!(
        sent.head
            .iter()
            .all(|line| !line.contains(['\r', '\n', '\0']))
    );
    let rest = &bytes[end + 4..];
    if by == By::Server && !sent.head[0].starts_with("HTTP/1.1 101 ") {
        sent.body = body(&sent.head, rest, cut_off);
    } else {
        let deflates = sent
            .head
            .iter()
            .any(|line| line.contains("permessage-deflate"));
        sent.frames = frames(by, rest, deflates, cut_off);
    }
    sent
}

fn body(head: &[String], rest: &[u8], cut_off: bool) -> Vec<u8> {
    let status: u16 = head[0].strip_prefix("HTTP/1.1 ").expect("a status line")[..3]
        .parse()
        .expect("a status");
    assert!((200..600).contains(&status));
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .expect("a length");
    let length: usize = length.parse().expect("a number");
    // The response to HEAD has the length of a body that it does not have.
    assert!(rest.len() == length || rest.is_empty() || (cut_off && rest.len() < length));
    assert!(
        head.iter()
            .any(|line| line.starts_with("Connection: close"))
    );
    rest.to_vec()
}

fn frames(by: By, mut rest: &[u8], deflates: bool, cut_off: bool) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut in_message = false;
    while !rest.is_empty() {
        assert!(
            frames.last().is_none_or(|last| last.first & 15 != 8),
            "nothing follows a Close"
        );
        let Some((frame, used)) = frame(by, rest) else {
            assert!(cut_off, "half a frame was sent");
            break;
        };
        let (fin, rsv, opcode) = (
            frame.first >> 7 == 1,
            frame.first >> 4 & 7,
            frame.first & 15,
        );
        match opcode {
            0 => assert!(in_message && rsv == 0),
            1 | 2 => {
                assert!(!in_message && (rsv == 0 || (rsv == 4 && deflates)));
                if opcode == 1 && rsv == 0 && fin {
                    assert!(std::str::from_utf8(&frame.payload).is_ok(), "text is UTF-8");
                }
            }
            8 => close(&frame.payload),
            9 | 10 => {}
            _ => panic!("opcode {opcode}"),
        }
        if opcode < 8 {
            in_message = !fin;
        } else {
            assert!(
                fin && rsv == 0 && frame.payload.len() <= 125,
                "control frames are whole and short"
            );
        }
        frames.push(frame);
        rest = &rest[used..];
    }
    frames
}

fn close(payload: &[u8]) {
    match payload {
        [] => {}
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            assert!(
                matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999),
                "close code {code}"
            );
            assert!(std::str::from_utf8(reason).is_ok());
        }
        _ => panic!("a Close with one byte"),
    }
}

/// The frame at the front and its length on the wire; `None` if it is not complete.
fn frame(by: By, bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(
        second >> 7 == 1,
        by == By::Client,
        "clients mask, servers do not"
    );
    let (len, mut at) = match second & 127 {
        126 => {
            let len = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
            assert!(len > 125, "the shortest form of a length");
            (usize::from(len), 4)
        }
        127 => {
            let len = u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?);
            assert!(
                len > 65535 && len < 1 << 40,
                "the shortest form of a length"
            );
            (len as usize, 10)
        }
        len => (usize::from(len), 2),
    };
    let mut key = [0; 4];
    if by == By::Client {
        key.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let payload = bytes
        .get(at..at + len)?
        .iter()
        .zip(key.iter().cycle())
        .map(|(b, k)| b ^ k)
        .collect();
    Some((Frame { first, payload }, at + len))
}
