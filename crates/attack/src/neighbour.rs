//! The addresses of a pool are answered for: ARP (RFC 826) and neighbour solicitations (RFC 4861 §7.2.4), in the frame that asks.

use hioload_device::checksum;

use crate::sources::Sources;
use crate::wire::{Address, ICMPV6, Parts, fold};

/// Bytes of an advertisement with its option.
const ADVERTISEMENT: usize = 32;

/// What a frame asks, if it asks for an address of the pool.
pub(crate) enum AddressQuery {
    Arp,
    Solicitation(Parts, Address),
}

/// Whether a received frame asks for an address of the pool.
pub(crate) fn query(frame: &[u8], pool: &Sources) -> Option<AddressQuery> {
    let arp_at = arp_at(frame);
    if let Some(at) = arp_at {
        let packet = frame.get(at..)?.first_chunk::<28>()?;
        let target = u32::from_be_bytes([packet[24], packet[25], packet[26], packet[27]]);
        let asks = packet[..8] == [0, 1, 8, 0, 6, 4, 0, 1];
        return (asks && pool.has(target.into())).then_some(AddressQuery::Arp);
    }
    let parts = Parts::of(frame)?;
    if !parts.v6 || parts.protocol != ICMPV6 {
        return None;
    }
    let message = frame.get(parts.transport..parts.end)?.first_chunk::<24>()?;
    let target = u128::from_be_bytes(message[8..].try_into().ok()?);
    let from_here = frame.get(parts.ip + 7) == Some(&255);
    (message[0] == 135 && from_here && pool.has(target))
        .then_some(AddressQuery::Solicitation(parts, target))
}

fn arp_at(frame: &[u8]) -> Option<usize> {
    match (frame.get(12..14)?, frame.get(16..18)) {
        ([8, 6], _) => Some(14),
        ([0x81, 0], Some([8, 6])) => Some(18),
        _ => None,
    }
}

/// Writes the answer of the station `mac` into `out`; gives its length.
pub(crate) fn write_reply(
    query: &AddressQuery,
    asked: &[u8],
    mac: [u8; 6],
    out: &mut [u8],
) -> Option<usize> {
    match query {
        AddressQuery::Arp => {
            let at = arp_at(asked)?;
            let len = at + 28;
            let out = out.get_mut(..len)?;
            out.copy_from_slice(asked.get(..len)?);
            out[..6].copy_from_slice(&asked[6..12]);
            out[6..12].copy_from_slice(&mac);
            out[at + 7] = 2;
            let (sender, target) = (at + 8, at + 18);
            out[sender..sender + 6].copy_from_slice(&mac);
            out[sender + 6..sender + 10].copy_from_slice(&asked[target + 6..target + 10]);
            out[target..target + 10].copy_from_slice(&asked[sender..sender + 10]);
            Some(len)
        }
        AddressQuery::Solicitation(parts, target) => {
            let (ip, at) = (parts.ip, parts.ip + 40);
            let len = at + ADVERTISEMENT;
            let out = out.get_mut(..len)?;
            out[..at].copy_from_slice(asked.get(..at)?);
            out[..6].copy_from_slice(&asked[6..12]);
            out[6..12].copy_from_slice(&mac);
            let asker = parts.addresses(asked)?.0;
            // Somebody looks whether the address is free: all are told.
            let (asker, solicited) = if asker == 0 {
                out[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1]);
                (0xff02_u128 << 112 | 1, 0)
            } else {
                (asker, 0x40)
            };
            out[ip + 4..ip + 6].copy_from_slice(&(ADVERTISEMENT as u16).to_be_bytes());
            out[ip + 8..ip + 24].copy_from_slice(&target.to_be_bytes());
            out[ip + 24..ip + 40].copy_from_slice(&asker.to_be_bytes());
            let message = &mut out[at..];
            message.fill(0);
            message[0] = 136;
            // Solicited, and it overrides what was known.
            message[4] = 0x20 | solicited;
            message[8..24].copy_from_slice(&target.to_be_bytes());
            message[24..26].copy_from_slice(&[2, 1]);
            message[26..32].copy_from_slice(&mac);
            let sum =
                u64::from(checksum::sum(&out[ip + 8..])) + ADVERTISEMENT as u64 + u64::from(ICMPV6);
            out[at + 2..at + 4].copy_from_slice(&(!fold(sum)).to_be_bytes());
            Some(len)
        }
    }
}
