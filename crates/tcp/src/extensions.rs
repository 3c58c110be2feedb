//! IPv6 extension headers, stepped over (RFC 8200 §4).

use crate::drops::Reason;
use crate::parse::IPV6_HEADER;

/// Headers we step over before we lose probe_timeout. No sender has use for more.
const MAX_HEADERS: usize = 8;

/// Steps over the extension headers of `packet` (RFC 8200 §4), of which the first is of type `next`: gives the protocol
/// that follows them, and where.
#[cold]
pub(crate) fn walk(packet: &[u8], mut next: u8) -> Result<(u8, usize), Reason> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let mut at = IPV6_HEADER;
    for step in 0..=MAX_HEADERS {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION) {
            return Ok((next, at));
        }
        let header = packet.get(at..).and_then(|rest| rest.first_chunk::<8>());
        let header = header.ok_or(Reason::Truncated)?;
        let mut len = (usize::from(header[1]) + 1) * 8;
        match next {
            HOP_BY_HOP if step != 0 => return Err(Reason::ExtensionHeader),
            // Segments left: we are not its destination.
            ROUTING if header[3] != 0 => return Err(Reason::ExtensionHeader),
            FRAGMENT => {
                // Offset and "more": a fragment that is the whole packet is none (RFC 6946).
                if u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0 {
                    return Err(Reason::Fragment);
                }
                len = 8;
            }
            HOP_BY_HOP | DESTINATION => {
                let options = packet.get(at + 2..at + len).ok_or(Reason::Truncated)?;
                if !options_may_be_skipped(options) {
                    return Err(Reason::ExtensionHeader);
                }
            }
            _ => {}
        }
        next = header[0];
        at += len;
    }
    Err(Reason::ExtensionHeader)
}

/// Whether none of the options asks who does not know it to drop the packet (RFC 8200 §4.2). We know none but padding, and
/// nothing is sent in answer to one.
fn options_may_be_skipped(mut options: &[u8]) -> bool {
    while let Some((&kind, rest)) = options.split_first() {
        if kind == 0 {
            options = rest;
            continue;
        }
        let Some((&len, rest)) = rest.split_first() else {
            return false;
        };
        let Some(rest) = rest.get(usize::from(len)..) else {
            return false;
        };
        if kind >> 6 != 0 {
            return false;
        }
        options = rest;
    }
    true
}
