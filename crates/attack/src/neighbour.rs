//! Answers ARP requests (RFC 826) and neighbour solicitations (RFC 4861 §7.2.4) for the addresses of a pool.

use hioload_device::checksum;

use crate::segment::{Address, ICMPV6, Parts, fold};
use crate::sources::Sources;

/// Bytes of a neighbour advertisement with its option.
const ADVERTISEMENT: usize = 32;

/// A request for the MAC address of an address of the pool.
pub(crate) enum AddressQuery {
    Arp,
    Solicitation(Parts, Address),
}

/// Reads a received frame; `None` if it is not a request for an address of the pool.
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

/// Writes the reply with the MAC address `mac` into `out`. Returns its length.
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
            // Duplicate address detection: the advertisement goes to all nodes.
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
            // Override flag, and Solicited unless the request was for duplicate detection.
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

#[cfg(test)]
mod tests {
    use etherparse::{
        ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, NetSlice, PacketBuilder,
        SlicedPacket, TransportSlice, VlanId,
    };

    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const PEER: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn pool(text: &str) -> Sources {
        Sources::new(&[text.parse().expect("ip")], &(1024..=2047)).expect("a pool")
    }

    /// The reply to a request, if it is one for the pool.
    fn reply(request: &[u8], pool: &Sources) -> Option<Vec<u8>> {
        let query = query(request, pool)?;
        let mut out = [0; 18 + 40 + ADVERTISEMENT];
        let len = write_reply(&query, request, OWN, &mut out).expect("a reply");
        Some(out[..len].to_vec())
    }

    #[test]
    fn an_arp_request_for_the_pool_gets_the_mac_address() {
        for tag in [None, Some(77)] {
            let arp = ArpPacket::new(
                ArpHardwareId::ETHERNET,
                EtherType::IPV4,
                ArpOperation::REQUEST,
                &PEER,
                &[10, 66, 0, 1],
                &[0; 6],
                &[10, 66, 0, 7],
            )
            .expect("a packet");
            let ethernet = PacketBuilder::ethernet2(PEER, [0xff; 6]);
            let mut request = Vec::new();
            match tag {
                Some(id) => ethernet
                    .single_vlan(VlanId::try_new(id).expect("an id"))
                    .arp(arp)
                    .write_to_vec(&mut request),
                None => ethernet.arp(arp).write_to_vec(&mut request),
            }
            .expect("a frame");
            assert!(reply(&request, &pool("10.66.0.8")).is_none());
            let reply = reply(&request, &pool("10.66.0.7")).expect("an answer");
            assert_eq!((&reply[..6], &reply[6..12]), (&PEER[..], &OWN[..]));
            let packet = SlicedPacket::from_ethernet(&reply).expect("it is read");
            assert_eq!(packet.vlan().is_some(), tag.is_some());
            let Some(NetSlice::Arp(arp)) = packet.net else {
                panic!("no ARP in {packet:?}");
            };
            assert_eq!(arp.operation(), ArpOperation::REPLY);
            assert_eq!(arp.sender_hw_addr(), OWN);
            assert_eq!(arp.sender_protocol_addr(), [10, 66, 0, 7]);
            assert_eq!(arp.target_hw_addr(), PEER);
            assert_eq!(arp.target_protocol_addr(), [10, 66, 0, 1]);
        }
    }

    #[test]
    fn a_neighbour_solicitation_for_the_pool_gets_the_mac_address() {
        let target: std::net::Ipv6Addr = "fd66::7".parse().expect("ip");
        let peer: std::net::Ipv6Addr = "fd66::1".parse().expect("ip");
        let group: std::net::Ipv6Addr = "ff02::1:ff00:7".parse().expect("ip");
        let mut request = Vec::new();
        PacketBuilder::ethernet2(PEER, [0x33, 0x33, 0xff, 0, 0, 7])
            .ipv6(peer.octets(), group.octets(), 255)
            .icmpv6_raw(135, 0, [0; 4])
            .write(&mut request, &target.octets())
            .expect("a frame");
        assert!(reply(&request, &pool("fd66::8")).is_none());
        let reply = reply(&request, &pool("fd66::7")).expect("an answer");
        let packet = SlicedPacket::from_ethernet(&reply).expect("it is read");
        let Some(NetSlice::Ipv6(ip)) = &packet.net else {
            panic!("no IPv6 in {packet:?}");
        };
        assert_eq!(ip.header().source(), target.octets());
        assert_eq!(ip.header().destination(), peer.octets());
        assert_eq!(ip.header().hop_limit(), 255);
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else {
            panic!("no ICMPv6 in {packet:?}");
        };
        assert!(icmp.is_checksum_valid(target.octets(), peer.octets()));
        let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else {
            panic!("{:?}", icmp.icmp_type());
        };
        assert!(flags.solicited && flags.r#override && !flags.router);
        assert_eq!(icmp.payload()[..16], target.octets());
        assert_eq!(icmp.payload()[16..], [2, 1, 2, 0, 0, 0, 0, 9]);
    }
}
