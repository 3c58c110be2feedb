//! Writes pcapng (draft-ietf-opsawg-pcapng), sans-IO: each function appends one block to a buffer. One section, one
//! interface for each queue, little-endian, nanoseconds.
//!
//! ```text
//! Section Header  Interface Description x n  Enhanced Packet ...  Interface Statistics x n
//! ```

/// The direction of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Received.
    Inbound,
    /// Sent.
    Outbound,
}

/// One frame to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet<'a> {
    /// The number of the interface. Interfaces are numbered from 0 in the order of their descriptions.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub time: u64,
    /// The direction.
    pub direction: Direction,
    /// The length on the wire, in bytes.
    pub length: u32,
    /// The captured bytes, from the first one on.
    pub bytes: &'a [u8],
}

/// Counters of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Statistics {
    /// The start of the capture, in nanoseconds since 1970.
    pub start: u64,
    /// The end of the capture, in nanoseconds since 1970.
    pub end: u64,
    /// Frames seen.
    pub received: u64,
    /// Frames seen that are not in the file.
    pub dropped: u64,
}

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_ETHERNET: u16 = 1;

/// Options, by the section of the draft that defines them.
mod option {
    pub(super) const END: u16 = 0;
    // Section Header Block.
    pub(super) const SHB_USERAPPL: u16 = 4;
    // Interface Description Block.
    pub(super) const IF_NAME: u16 = 2;
    pub(super) const IF_TSRESOL: u16 = 9;
    // Enhanced Packet Block.
    pub(super) const EPB_FLAGS: u16 = 2;
    // Interface Statistics Block.
    pub(super) const ISB_STARTTIME: u16 = 2;
    pub(super) const ISB_ENDTIME: u16 = 3;
    pub(super) const ISB_IFRECV: u16 = 4;
    pub(super) const ISB_OSDROP: u16 = 7;
    pub(super) const ISB_USRDELIV: u16 = 8;
}

/// Bytes of an Interface Statistics Block.
pub const STATISTICS_LEN: usize = 12 + 12 + 5 * 12 + 4;

/// Bytes of an Enhanced Packet Block with `kept` captured bytes.
#[must_use]
pub fn packet_len(kept: usize) -> usize {
    12 + 20 + kept.next_multiple_of(4) + 8 + 4
}

/// Appends the Section Header Block, which is the first block. The section's length is unspecified.
pub fn section_header(out: &mut Vec<u8>, application: &str) {
    block(out, SECTION_HEADER, |out| {
        put32(out, BYTE_ORDER_MAGIC);
        put16(out, 1);
        put16(out, 0);
        put64(out, u64::MAX);
        text(out, option::SHB_USERAPPL, application);
        put32(out, u32::from(option::END));
    });
}

/// Appends an Interface Description Block: Ethernet, `snaplen` bytes captured of each frame (0: all), times in nanoseconds.
pub fn interface(out: &mut Vec<u8>, name: &str, snaplen: u32) {
    block(out, INTERFACE_DESCRIPTION, |out| {
        put16(out, LINKTYPE_ETHERNET);
        put16(out, 0);
        put32(out, snaplen);
        text(out, option::IF_NAME, name);
        value(out, option::IF_TSRESOL, &[9]);
        put32(out, u32::from(option::END));
    });
}

/// Appends an Enhanced Packet Block.
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    block(out, ENHANCED_PACKET, |out| {
        put32(out, packet.interface);
        time(out, packet.time);
        put32(out, packet.bytes.len() as u32);
        put32(out, packet.length);
        out.extend_from_slice(packet.bytes);
        pad(out, packet.bytes.len());
        let flags = match packet.direction {
            Direction::Inbound => 1_u32,
            Direction::Outbound => 2,
        };
        value(out, option::EPB_FLAGS, &flags.to_le_bytes());
        put32(out, u32::from(option::END));
    });
}

/// Appends an Interface Statistics Block.
pub fn statistics(out: &mut Vec<u8>, interface: u32, what: &Statistics) {
    block(out, INTERFACE_STATISTICS, |out| {
        put32(out, interface);
        time(out, what.end);
        for (code, when) in [
            (option::ISB_STARTTIME, what.start),
            (option::ISB_ENDTIME, what.end),
        ] {
            put16(out, code);
            put16(out, 8);
            time(out, when);
        }
        for (code, count) in [
            (option::ISB_IFRECV, what.received),
            (option::ISB_OSDROP, what.dropped),
            (
                option::ISB_USRDELIV,
                what.received - what.dropped.min(what.received),
            ),
        ] {
            value(out, code, &count.to_le_bytes());
        }
        put32(out, u32::from(option::END));
    });
}

/// Appends a block: the type, the length, the body that `body` writes, and the length again.
fn block(out: &mut Vec<u8>, block_type: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put32(out, block_type);
    put32(out, 0);
    body(out);
    let length = (out.len() - start + 4) as u32;
    put32(out, length);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
}

/// Appends a text option, truncated to a length that every reader accepts.
fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    let mut end = text.len().min(255);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    value(out, code, &text.as_bytes()[..end]);
}

fn value(out: &mut Vec<u8>, code: u16, bytes: &[u8]) {
    put16(out, code);
    put16(out, bytes.len() as u16);
    out.extend_from_slice(bytes);
    pad(out, bytes.len());
}

fn pad(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&[0; 3][..len.next_multiple_of(4) - len]);
}

/// Appends a time: the upper half first, whatever the byte order.
fn time(out: &mut Vec<u8>, nanos: u64) {
    put32(out, (nanos >> 32) as u32);
    put32(out, nanos as u32);
}

fn put16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_lengths_are_the_written_lengths() {
        for kept in 0..9 {
            let mut out = Vec::new();
            let bytes = vec![7; kept];
            packet(
                &mut out,
                &Packet {
                    interface: 0,
                    time: 1,
                    direction: Direction::Inbound,
                    length: 60,
                    bytes: &bytes,
                },
            );
            assert_eq!(out.len(), packet_len(kept));
        }
        let mut out = Vec::new();
        statistics(&mut out, 0, &Statistics::default());
        assert_eq!(out.len(), STATISTICS_LEN);
    }

    #[test]
    fn a_packet_has_the_layout_of_the_draft() {
        let mut out = Vec::new();
        packet(
            &mut out,
            &Packet {
                interface: 3,
                time: 0x1122_3344_5566_7788,
                direction: Direction::Outbound,
                length: 60,
                bytes: b"abcde",
            },
        );
        let mut wanted = Vec::new();
        for word in [6_u32, 52, 3, 0x1122_3344, 0x5566_7788, 5, 60] {
            wanted.extend(word.to_le_bytes());
        }
        wanted.extend(b"abcde\0\0\0");
        for word in [0x0004_0002_u32, 2, 0, 52] {
            wanted.extend(word.to_le_bytes());
        }
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_long_name_is_truncated_between_characters() {
        let mut out = Vec::new();
        interface(&mut out, &"ä".repeat(200), 0);
        assert_eq!(out.len() % 4, 0);
        let length = u16::from_le_bytes([out[18], out[19]]) as usize;
        assert_eq!(length, 254);
        assert!(std::str::from_utf8(&out[20..20 + length]).is_ok());
    }
}
