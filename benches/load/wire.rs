//! The bytes that a client sends and expects. They are built once; later only their counters change.
//!
//! Every message has a counter after a fixed prefix, as eight letters, one for each nibble, so that the payload is ASCII. A batch of
//! K masked frames is stored back to back. To send it, the client changes eight bytes in each message and writes once.

use std::fmt;

/// Bytes of the counter inside a payload.
pub(crate) const COUNTER: usize = 8;

/// The shape of the messages of a run.
pub(crate) struct Shape<'a> {
    /// Text frames if set, else binary ones.
    pub(crate) text: bool,
    /// Payload bytes, prefix and suffix included.
    pub(crate) size: usize,
    /// The start of the client's payload, before the counter.
    pub(crate) sent_prefix: &'a str,
    /// The start of the server's payload; as long as `sent_prefix`.
    pub(crate) reply_prefix: &'a str,
    /// The end of both payloads.
    pub(crate) suffix: &'a str,
}

impl Shape<'_> {
    /// Returns the length of the smallest payload with prefix, counter and suffix.
    pub(crate) fn smallest(&self) -> usize {
        self.sent_prefix.len() + COUNTER + self.suffix.len()
    }

    /// A payload with the counter at zero.
    fn payload(&self, prefix: &str) -> Vec<u8> {
        let mut payload = prefix.as_bytes().to_vec();
        payload.extend_from_slice(&digits(0));
        let filler = self.size - self.smallest();
        payload.extend((0..filler).map(|i| b'A' + (i % 23) as u8));
        payload.extend_from_slice(self.suffix.as_bytes());
        payload
    }
}

/// The eight letters of a counter: `a` for nibble 0 to `p` for nibble 15, lowest nibble first.
fn digits(n: u32) -> [u8; COUNTER] {
    let mut x = u64::from(n);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    (x + 0x6161_6161_6161_6161).to_le_bytes()
}

/// Writes a frame header (RFC 6455 §5.2) for a final data frame and appends the key if there is one.
fn header(text: bool, len: usize, key: Option<[u8; 4]>) -> Vec<u8> {
    let mut head = vec![0x80 | if text { 1 } else { 2 }];
    let mask_bit = if key.is_some() { 0x80 } else { 0 };
    if len < 126 {
        head.push(mask_bit | len as u8);
    } else if let Ok(short) = u16::try_from(len) {
        head.push(mask_bit | 126);
        head.extend_from_slice(&short.to_be_bytes());
    } else {
        head.push(mask_bit | 127);
        head.extend_from_slice(&(len as u64).to_be_bytes());
    }
    head.extend(key.into_iter().flatten());
    head
}

/// Returns one short masked frame, for messages outside the measured stream.
pub(crate) fn masked_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [0x5a, 0x13, 0xc7, 0x2e];
    let mut frame = header(false, payload.len(), Some(key));
    frame[0] = 0x80 | opcode;
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, k)| byte ^ k),
    );
    frame
}

/// K masked client frames back to back, each with a key of its own.
pub(crate) struct Batch {
    bytes: Vec<u8>,
    frame_len: usize,
    counter_at: usize,
    /// For each frame its key, rotated to the counter's position and repeated to the counter's width.
    keys: Vec<u64>,
}

impl Batch {
    pub(crate) fn new(shape: &Shape<'_>, frames: usize) -> Self {
        let payload = shape.payload(shape.sent_prefix);
        let (mut bytes, mut keys) = (Vec::new(), Vec::new());
        let mut head_len = 0;
        for i in 0..frames as u32 {
            // An odd multiplier spreads the index over all four bytes: servers must not see a constant key.
            let key = (i + 1).wrapping_mul(0x9e37_79b1).to_le_bytes();
            let head = header(shape.text, payload.len(), Some(key));
            head_len = head.len();
            bytes.extend_from_slice(&head);
            bytes.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, k)| byte ^ k),
            );
            let mut turned = [0; COUNTER];
            for (j, byte) in turned.iter_mut().enumerate() {
                *byte = key[(shape.sent_prefix.len() + j) % 4];
            }
            keys.push(u64::from_le_bytes(turned));
        }
        let frame_len = head_len + payload.len();
        Self {
            bytes,
            frame_len,
            counter_at: head_len + shape.sent_prefix.len(),
            keys,
        }
    }

    /// Returns the bytes of `count` frames with the counters `first`, `first + 1` and so on.
    pub(crate) fn numbered(&mut self, first: u32, count: usize) -> &[u8] {
        let frames = self.bytes.chunks_exact_mut(self.frame_len).zip(&self.keys);
        for (i, (frame, key)) in frames.take(count).enumerate() {
            let plain = u64::from_le_bytes(digits(first.wrapping_add(i as u32)));
            frame[self.counter_at..self.counter_at + COUNTER]
                .copy_from_slice(&(plain ^ key).to_le_bytes());
        }
        &self.bytes[..count * self.frame_len]
    }
}

/// The position of a connection in the stream of replies.
#[derive(Default)]
pub(crate) struct Position {
    /// Bytes of the current reply that have arrived.
    pos: usize,
    /// The counter of the current reply.
    pub(crate) next: u32,
    /// The part of a control frame that has arrived.
    control: Vec<u8>,
}

/// The server's reply to each message, compared byte for byte as it arrives, in pieces of any length.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    counter_at: usize,
}

/// A reply that differs from the message.
#[derive(Debug)]
pub(crate) struct Mismatch {
    message: u32,
    position: usize,
    what: &'static str,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} in reply {} at byte {}",
            self.what, self.message, self.position
        )
    }
}

impl std::error::Error for Mismatch {}

impl Reply {
    pub(crate) fn new(shape: &Shape<'_>) -> Self {
        let payload = shape.payload(shape.reply_prefix);
        let mut bytes = header(shape.text, payload.len(), None);
        let counter_at = bytes.len() + shape.reply_prefix.len();
        bytes.extend_from_slice(&payload);
        Self { bytes, counter_at }
    }

    /// Bytes of one reply, header included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Checks `got`, the next bytes of a connection, and returns the number of replies they complete. Appends answers to pings to
    /// `pongs`.
    pub(crate) fn check(
        &mut self,
        position: &mut Position,
        mut got: &[u8],
        pongs: &mut Vec<u8>,
    ) -> Result<usize, Mismatch> {
        let mut whole = 0;
        while let Some(&first) = got.first() {
            if position.pos == 0 && (!position.control.is_empty() || first & 0x0f >= 8) {
                got = take_control(position, got, pongs)?;
                continue;
            }
            // Always: another connection may have written its counter here since this connection's last piece.
            self.bytes[self.counter_at..self.counter_at + COUNTER]
                .copy_from_slice(&digits(position.next));
            let piece = got.len().min(self.bytes.len() - position.pos);
            if got[..piece] != self.bytes[position.pos..position.pos + piece] {
                let what = "different bytes";
                return Err(Mismatch {
                    message: position.next,
                    position: position.pos,
                    what,
                });
            }
            got = &got[piece..];
            position.pos += piece;
            if position.pos == self.bytes.len() {
                position.pos = 0;
                position.next = position.next.wrapping_add(1);
                whole += 1;
            }
        }
        Ok(whole)
    }
}

/// Consumes bytes of a control frame; returns the bytes after it.
fn take_control<'a>(
    position: &mut Position,
    got: &'a [u8],
    pongs: &mut Vec<u8>,
) -> Result<&'a [u8], Mismatch> {
    let mut used = 0;
    for byte in got {
        position.control.push(*byte);
        used += 1;
        if position.control.len() >= 2
            && position.control.len() == 2 + usize::from(position.control[1])
        {
            let frame = std::mem::take(&mut position.control);
            match frame[0] {
                0x89 => pongs.extend_from_slice(&masked_frame(0xa, &frame[2..])),
                0x8a => {}
                _ => {
                    let what = "a Close frame or an unknown one";
                    return Err(Mismatch {
                        message: position.next,
                        position: 0,
                        what,
                    });
                }
            }
            break;
        }
    }
    Ok(&got[used..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(text: bool, size: usize) -> Shape<'static> {
        Shape {
            text,
            size,
            sent_prefix: "<s",
            reply_prefix: "<r",
            suffix: ">",
        }
    }

    /// Returns the answer of an echo server to `count` frames, computed without this module.
    fn echoed(batch: &mut Batch, size: usize, first: u32, count: usize) -> Vec<u8> {
        let mut replies = Vec::new();
        let head = header(false, size, None);
        for frame in batch
            .numbered(first, count)
            .chunks_exact(head.len() + 4 + size)
        {
            let (sent_head, payload) = frame.split_at(head.len() + 4);
            assert_eq!(sent_head[1] & 0x80, 0x80, "a client masks");
            let key = &sent_head[head.len()..];
            replies.extend_from_slice(&head);
            let plain: Vec<u8> = payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(b, k)| b ^ k)
                .collect();
            assert!(plain.starts_with(b"<s") && plain.ends_with(b">") && plain.is_ascii());
            replies.extend_from_slice(b"<r");
            replies.extend_from_slice(&plain[2..]);
        }
        replies
    }

    #[test]
    fn replies_pass_in_any_pieces() {
        for size in [11, 64, 125, 126, 1000, 70_000] {
            let mut batch = Batch::new(&shape(false, size), 3);
            let mut reply = Reply::new(&shape(false, size));
            let (mut one, mut other) = (Position::default(), Position::default());
            for round in 0..3 {
                let bytes = echoed(&mut batch, size, round * 3, 3);
                let mut whole = 0;
                let mut pongs = Vec::new();
                // Two connections take turns, so that each finds the other one's counter in place.
                for piece in bytes.chunks(1 + (size * 7 + round as usize) % 97) {
                    whole += reply.check(&mut one, piece, &mut pongs).expect("as sent");
                    reply.check(&mut other, piece, &mut pongs).expect("as sent");
                }
                assert_eq!(
                    (whole, one.next, other.next),
                    (3, round * 3 + 3, round * 3 + 3)
                );
                assert!(pongs.is_empty());
            }
        }
    }

    #[test]
    fn any_wrong_byte_is_noticed() {
        let mut batch = Batch::new(&shape(false, 40), 1);
        let good = echoed(&mut batch, 40, 5, 1);
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x04;
            let mut position = Position {
                next: 5,
                ..Position::default()
            };
            let mut reply = Reply::new(&shape(false, 40));
            assert!(
                reply.check(&mut position, &bad, &mut Vec::new()).is_err(),
                "byte {i}"
            );
        }
        let mut skipped = Position {
            next: 4,
            ..Position::default()
        };
        let mut reply = Reply::new(&shape(false, 40));
        assert!(reply.check(&mut skipped, &good, &mut Vec::new()).is_err());
    }

    #[test]
    fn pings_between_replies_are_answered() {
        let mut batch = Batch::new(&shape(false, 40), 2);
        let replies = echoed(&mut batch, 40, 0, 2);
        let mut bytes = replies[..42].to_vec();
        bytes.extend_from_slice(b"\x89\x03abc");
        bytes.extend_from_slice(&replies[42..]);
        for piece in 1..bytes.len() {
            let mut position = Position::default();
            let mut reply = Reply::new(&shape(false, 40));
            let mut pongs = Vec::new();
            for part in bytes.chunks(piece) {
                reply
                    .check(&mut position, part, &mut pongs)
                    .expect("as sent");
            }
            assert_eq!(position.next, 2);
            assert_eq!(pongs, masked_frame(10, b"abc"));
        }
    }
}
