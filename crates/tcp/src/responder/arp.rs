//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).

use std::net::{IpAddr, Ipv4Addr};

use hioload_device::Frame;
use hioload_lcore::Time;

use super::{Action, Answer, Inspected, Notice, Responder, resize};
use crate::ether::{self, ethertype};
use crate::parse::{L2, is_martian_v4};

/// Bytes of a packet.
pub(crate) const LEN: usize = 28;

/// The operation of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
}

/// A packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arp {
    pub operation: Operation,
    pub sender_mac: [u8; 6],
    pub sender: [u8; 4],
    pub target_mac: [u8; 6],
    pub target: [u8; 4],
}

/// Ethernet, IPv4, and the lengths of their addresses.
const FORMAT: [u8; 6] = [0, 1, 8, 0, 6, 4];

impl Arp {
    /// The packet at the front of `bytes`. `None` if it is not for Ethernet and IPv4, or if the sender's MAC address is not that
    /// of a host.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<LEN>()?;
        if bytes[..6] != FORMAT {
            return None;
        }
        let operation = match bytes[6..8] {
            [0, 1] => Operation::Request,
            [0, 2] => Operation::Reply,
            _ => return None,
        };
        let mac = |at: usize| -> [u8; 6] { std::array::from_fn(|i| bytes[at + i]) };
        let ip = |at: usize| -> [u8; 4] { std::array::from_fn(|i| bytes[at + i]) };
        let packet = Self {
            operation,
            sender_mac: mac(8),
            sender: ip(14),
            target_mac: mac(18),
            target: ip(24),
        };
        let is_host = packet.sender_mac[0] & 1 == 0 && packet.sender_mac != [0; 6];
        is_host.then_some(packet)
    }

    /// Writes the packet to the front of `buf`; `None` if `buf` is too short.
    pub(crate) fn emit(&self, buf: &mut [u8]) -> Option<()> {
        let buf = buf.first_chunk_mut::<LEN>()?;
        buf[..6].copy_from_slice(&FORMAT);
        buf[6] = 0;
        buf[7] = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        buf[8..14].copy_from_slice(&self.sender_mac);
        buf[14..18].copy_from_slice(&self.sender);
        buf[18..24].copy_from_slice(&self.target_mac);
        buf[24..].copy_from_slice(&self.target);
        Some(())
    }

    /// The reply to a request, from `own`.
    pub(crate) fn reply(&self, own: [u8; 6]) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: own,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// A request for the MAC address of `target`.
    pub(crate) fn request(own: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Self {
        Self {
            operation: Operation::Request,
            sender_mac: own,
            sender,
            target_mac: [0; 6],
            target,
        }
    }

    /// The announcement that `own` has `address` (RFC 5227 §3): a request for it, from it.
    pub(crate) fn announcement(own: [u8; 6], address: [u8; 4]) -> Self {
        Self::request(own, address, address)
    }
}

impl Responder {
    pub(super) fn inspect_arp(
        &mut self,
        l2: &L2,
        bytes: Option<&[u8]>,
        now: Time,
    ) -> Option<Inspected> {
        let Some(packet) = Arp::parse(bytes.unwrap_or_default()) else {
            self.counters.invalid += 1;
            return None;
        };
        let sender = IpAddr::from(packet.sender);
        if self.ours.has_v4(packet.sender) {
            return Some(Inspected::Claim(sender, packet.sender_mac));
        }
        let to_us = self.ours.has_v4(packet.target);
        if !is_martian_v4(packet.sender) && l2.vlan == self.ours.vlan() {
            let answers = packet.operation == Operation::Reply && to_us && !l2.is_group();
            if answers && self.neighbours.answered(sender, packet.sender_mac, now) {
                self.counters.learned += 1;
                return Some(Inspected::Action(Action::Learned(sender)));
            }
            self.neighbours.heard(sender, packet.sender_mac, now);
        }
        let requested = packet.operation == Operation::Request && to_us;
        if requested {
            self.note_gateway(sender, now);
        }
        requested.then_some(Inspected::Answer(Answer::Arp(packet)))
    }

    pub(super) fn emit_arp(
        &mut self,
        notice: Notice,
        ip: Ipv4Addr,
        buf: &mut [u8],
    ) -> Option<usize> {
        let own = self.ours.mac();
        let (to, packet) = match notice {
            Notice::Announce(_) => (None, Arp::announcement(own, ip.octets())),
            Notice::Request(_, to) => match self.routes.source_for(ip.into())? {
                IpAddr::V4(source) => (to, Arp::request(own, source.octets(), ip.octets())),
                IpAddr::V6(_) => return None,
            },
        };
        let to = to.unwrap_or(ether::BROADCAST);
        let at = ether::write_header(buf, to, own, self.ours.vlan(), ethertype::ARP)?;
        packet.emit(buf.get_mut(at..)?)?;
        self.counters.arp_out += 1;
        Some(at + LEN)
    }
}

/// Replaces the frame, which has the request `packet` at `at`, by the reply of the host `own`.
pub(super) fn write_reply<F: Frame>(
    frame: &mut F,
    l2: &L2,
    at: u16,
    packet: &Arp,
    own: [u8; 6],
) -> Option<()> {
    let at = usize::from(at);
    let bytes = resize(frame, at + LEN)?;
    packet.reply(own).emit(bytes.get_mut(at..)?)?;
    ether::turn_around(bytes, l2, own);
    Some(())
}

/// The neighbour about which a packet informs all that read it: a reply or an announcement does.
pub(super) fn informs(bytes: Option<&[u8]>) -> Option<IpAddr> {
    let packet = bytes.and_then(Arp::parse)?;
    let informs = packet.operation == Operation::Reply || packet.sender == packet.target;
    informs.then_some(packet.sender.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr};

    const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn packets_agree_with_those_of_smoltcp() {
        let mut bytes = [0; LEN];
        let request = Arp::request(A, [10, 0, 0, 1], [10, 0, 0, 2]);
        let reply = request.reply(B);
        for (ours, operation) in [
            (request, ArpOperation::Request),
            (reply, ArpOperation::Reply),
        ] {
            ours.emit(&mut bytes).expect("room");
            let packet = ArpPacket::new_checked(&bytes[..]).expect("a packet");
            let theirs = ArpRepr::parse(&packet).expect("a packet");
            let ArpRepr::EthernetIpv4 {
                operation: read,
                source_hardware_addr,
                source_protocol_addr,
                target_hardware_addr,
                target_protocol_addr,
            } = theirs
            else {
                panic!("another format");
            };
            assert_eq!(read, operation);
            assert_eq!(source_hardware_addr.0, ours.sender_mac);
            assert_eq!(source_protocol_addr.octets(), ours.sender);
            assert_eq!(target_hardware_addr.0, ours.target_mac);
            assert_eq!(target_protocol_addr.octets(), ours.target);
            let mut written = [0; LEN];
            theirs.emit(&mut ArpPacket::new_unchecked(&mut written[..]));
            assert_eq!(Arp::parse(&written), Some(ours));
        }
        assert_eq!(reply.sender, [10, 0, 0, 2]);
        assert_eq!(reply.target_mac, A);
        assert_eq!(request.emit(&mut bytes[..27]), None);
    }

    #[test]
    fn other_formats_and_senders_without_a_host_address_are_refused() {
        let mut good = [0; LEN];
        Arp::announcement(A, [10, 0, 0, 1])
            .emit(&mut good)
            .expect("room");
        assert!(Arp::parse(&good).is_some());
        for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (7, 0), (8, 1)] {
            let mut bytes = good;
            bytes[at] = value;
            assert_eq!(Arp::parse(&bytes), None, "byte {at}");
        }
        let mut nobody = good;
        nobody[8..14].fill(0);
        assert_eq!(Arp::parse(&nobody), None);
        assert!((0..LEN).all(|len| Arp::parse(&good[..len]).is_none()));
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(arp) = Arp::parse(&bytes) {
                let mut copy = [0; LEN];
                prop_assert!(arp.emit(&mut copy).is_some());
                prop_assert_eq!(&copy[..], &bytes[..LEN]);
            }
        }
    }
}
