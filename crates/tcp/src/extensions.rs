//! Steps over IPv6 extension headers (RFC 8200 §4).

use crate::drops::Reason;
use crate::parse::IPV6_HEADER;

/// The most headers that are stepped over. No sender needs more.
const MAX_HEADERS: usize = 8;

/// Steps over the extension headers of `packet`, the first of which has the type `next`. Returns the protocol that follows
/// them, and its offset.
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
            // Segments are left: we are not the destination.
            ROUTING if header[3] != 0 => return Err(Reason::ExtensionHeader),
            FRAGMENT => {
                // A header with neither an offset nor "more fragments" is an atomic fragment, a whole packet (RFC 6946).
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

/// Whether no option demands that a host that does not know it drops the packet (RFC 8200 §4.2). We know only padding, and
/// send no answer to any option.
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
