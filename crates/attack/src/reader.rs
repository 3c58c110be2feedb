//! Reads the bytes that a server sends on a connection of an attack: the HTTP status, the echoes, the Close frame.

/// A reply of the server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The status of an HTTP response whose head is complete.
    Status(u16),
    /// A correct echo.
    Echo,
    /// A wrong byte in an echo.
    Wrong,
    /// The code of a Close frame; 1005 if it has none.
    Close(u16),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Head,
    Header,
    Payload,
    /// The rest of the stream is ignored.
    Rest,
}

/// An incremental reader of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader {
    part: Part,
    /// The last four bytes of the HTTP head.
    last: u32,
    head: u32,
    status: u16,
    header: [u8; 10],
    have: u8,
    opcode: u8,
    /// Bytes of the payload that were read, and all of them.
    at: u64,
    len: u64,
    code: u16,
    sound: bool,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self {
            part: Part::Head,
            last: 0,
            head: 0,
            status: 0,
            header: [0; 10],
            have: 0,
            opcode: 0,
            at: 0,
            len: 0,
            code: 1005,
            sound: true,
        }
    }

    /// Whether the response was 101.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.status == 101 && self.part != Part::Head
    }

    /// Reads the next bytes of the stream. `echo` is the payload of every message that was sent.
    pub(crate) fn take(&mut self, mut bytes: &[u8], echo: &[u8], mut reply: impl FnMut(Reply)) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match self.part {
                Part::Head => {
                    bytes = rest;
                    // "HTTP/1.1 101"
                    if (9..12).contains(&self.head) && byte.is_ascii_digit() {
                        self.status = self.status * 10 + u16::from(byte - b'0');
                    }
                    self.head = self.head.saturating_add(1);
                    self.last = self.last << 8 | u32::from(byte);
                    if self.last.to_be_bytes() == *b"\r\n\r\n" {
                        reply(Reply::Status(self.status));
                        self.part = if self.status == 101 {
                            Part::Header
                        } else {
                            Part::Rest
                        };
                    }
                }
                Part::Header => {
                    bytes = rest;
                    if let Some(place) = self.header.get_mut(usize::from(self.have)) {
                        *place = byte;
                    }
                    self.have += 1;
                    self.header_byte();
                }
                Part::Payload => {
                    let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
                    let (now, rest) = bytes.split_at(left.min(bytes.len()));
                    bytes = rest;
                    self.payload(now, echo);
                    if !self.sound {
                        reply(Reply::Wrong);
                        self.part = Part::Rest;
                    }
                }
                Part::Rest => return,
            }
            if self.part == Part::Payload && self.at == self.len {
                self.end_of_frame(echo, &mut reply);
            }
        }
    }

    fn header_byte(&mut self) {
        let more = match self.header[1] & 0x7f {
            _ if self.have < 2 => return,
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if usize::from(self.have) < 2 + more {
            return;
        }
        let long = self.header[2..2 + more].iter();
        self.len = match more {
            0 => u64::from(self.header[1] & 0x7f),
            _ => long.fold(0, |len, &byte| len << 8 | u64::from(byte)),
        };
        self.opcode = self.header[0] & 0x0f;
        (self.at, self.have, self.part) = (0, 0, Part::Payload);
    }

    fn payload(&mut self, bytes: &[u8], echo: &[u8]) {
        match self.opcode {
            8 => {
                for &byte in bytes {
                    match self.at {
                        0 => self.code = u16::from(byte) << 8,
                        1 => self.code |= u16::from(byte),
                        _ => {}
                    }
                    self.at += 1;
                }
                return;
            }
            1 | 2 => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                let wanted = at
                    .checked_add(bytes.len())
                    .and_then(|end| echo.get(at..end));
                self.sound = wanted == Some(bytes);
            }
            _ => {}
        }
        self.at += bytes.len() as u64;
    }

    fn end_of_frame(&mut self, echo: &[u8], reply: &mut impl FnMut(Reply)) {
        self.part = Part::Header;
        match self.opcode {
            8 => {
                reply(Reply::Close(self.code));
                self.part = Part::Rest;
            }
            1 | 2 if self.len == echo.len() as u64 => reply(Reply::Echo),
            1 | 2 => {
                reply(Reply::Wrong);
                self.part = Part::Rest;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Vec<Reply> {
        let mut reader = Reader::new();
        let mut all = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.take(piece, b"hello", |reply| all.push(reply));
        }
        all
    }

    #[test]
    fn replies_do_not_depend_on_segmentation() {
        let good = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n";
        for (tail, wanted) in [
            (
                &b"\x82\x05hello\x89\x01x\x82\x05hello"[..],
                &[Reply::Echo, Reply::Echo][..],
            ),
            (b"\x82\x05hellO\x82\x05hello", &[Reply::Wrong]),
            (b"\x82\x04hell", &[Reply::Wrong]),
            (b"\x82\x7e\x00\x06hello!", &[Reply::Wrong]),
            (b"\x88\x02\x03\xea", &[Reply::Close(1002)]),
            (b"\x88\x00\x82\x05hello", &[Reply::Close(1005)]),
            (
                b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffhello!",
                &[Reply::Wrong],
            ),
        ] {
            let all = [&good[..], tail].concat();
            for piece in 1..=all.len() {
                let reply = read(&all, piece);
                assert_eq!(reply[0], Reply::Status(101));
                assert_eq!(&reply[1..], wanted, "{piece}");
            }
        }
        let refused = b"HTTP/1.1 431 Too large\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read(refused, 3), [Reply::Status(431)]);
    }
}
