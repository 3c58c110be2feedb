//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements of neighbours. Routers are configured, so their
//! advertisements and redirects are ignored.

use std::net::{IpAddr, Ipv6Addr};

use hioload_device::Frame;
use hioload_lcore::Time;

use super::{Action, Answer, Inspected, Notice, Responder, icmp, resize};
use crate::checksum;
use crate::ether::{self, ethertype};
use crate::parse::Message;

/// Bytes of a message as we send it, with its IPv6 header and one link-layer address option.
pub(crate) const LEN: usize = 40 + 32;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;

/// All nodes of the link, `ff02::1`.
pub(crate) const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// No address.
pub(crate) const UNSPECIFIED: [u8; 16] = [0; 16];

/// A valid message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ndp {
    pub kind: NdpKind,
    /// The address that is requested or advertised.
    pub target: [u8; 16],
    /// The IP source. It is unspecified in the solicitation of a node that tests whether `target` is free (RFC 4862 §5.4).
    pub source: [u8; 16],
    /// The link-layer address in the message: the sender's in a solicitation, the target's in an advertisement.
    pub mac: Option<[u8; 6]>,
}

/// The type of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NdpKind {
    /// A request for the link-layer address of the target.
    Solicitation,
    /// The link-layer address of the target.
    Advertisement {
        /// The message answers a solicitation.
        solicited: bool,
    },
}

/// The group of the nodes that may have `address` (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(address: [u8; 16]) -> [u8; 16] {
    let [.., x, y, z] = address;
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]
}

/// The MAC address of an IPv6 group (RFC 2464 §7).
pub(crate) fn group_mac(group: [u8; 16]) -> [u8; 6] {
    let [.., w, x, y, z] = group;
    [0x33, 0x33, w, x, y, z]
}

impl Ndp {
    /// The message at `at` in the IPv6 packet `packet`, whose hop limit and checksum have been verified. `None` if it is
    /// neither a solicitation nor an advertisement, or is not valid (RFC 4861 §7.1).
    pub(crate) fn parse(packet: &[u8], at: usize) -> Option<Self> {
        let header = packet.first_chunk::<40>()?;
        let (head, mut options) = packet.get(at..)?.split_first_chunk::<24>()?;
        let ip = |at: usize| -> [u8; 16] { std::array::from_fn(|i| header[at + i]) };
        let (source, destination) = (ip(8), ip(24));
        let target: [u8; 16] = std::array::from_fn(|i| head[8 + i]);
        if head[1] != 0 || target[0] == 0xff || target == UNSPECIFIED || source[0] == 0xff {
            return None;
        }
        let (kind, wanted) = match head[0] {
            SOLICITATION => (NdpKind::Solicitation, SOURCE_LINK_LAYER),
            ADVERTISEMENT => {
                let solicited = head[4] & SOLICITED != 0;
                if solicited && destination[0] == 0xff || source == UNSPECIFIED {
                    return None;
                }
                (NdpKind::Advertisement { solicited }, TARGET_LINK_LAYER)
            }
            _ => return None,
        };
        let mut mac = None;
        while let Some(&[option, len]) = options.first_chunk() {
            let size = usize::from(len) * 8;
            if size == 0 {
                return None;
            }
            let body = options.get(2..size)?;
            if option == wanted && size == 8 {
                mac = body.first_chunk::<6>().copied();
            }
            options = options.get(size..)?;
        }
        let is_host = mac.is_none_or(|mac| mac[0] & 1 == 0 && mac != [0; 6]);
        if !options.is_empty() || !is_host {
            return None;
        }
        if source == UNSPECIFIED && (destination != solicited_node(target) || mac.is_some()) {
            return None;
        }
        Some(Self {
            kind,
            target,
            source,
            mac,
        })
    }
}

/// Writes the advertisement that `mac` has `target` to the front of `buf`. It is sent from `target` to `to`, which has
/// requested it, or, if that is `None`, to all nodes. `None` if `buf` is too short.
pub(crate) fn emit_advertisement(
    buf: &mut [u8],
    target: [u8; 16],
    to: Option<[u8; 16]>,
    mac: [u8; 6],
) -> Option<()> {
    let flags = OVERRIDE | if to.is_some() { SOLICITED } else { 0 };
    let head = [ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    let to = to.unwrap_or(ALL_NODES);
    emit(buf, head, target, to, target, [TARGET_LINK_LAYER, 1], mac)
}

/// Writes the solicitation of `target` to the front of `buf`: to the target itself, or to its solicited-node group. `None`
/// if `buf` is too short.
pub(crate) fn emit_solicitation(
    buf: &mut [u8],
    source: [u8; 16],
    target: [u8; 16],
    unicast: bool,
    mac: [u8; 6],
) -> Option<()> {
    let to = if unicast {
        target
    } else {
        solicited_node(target)
    };
    let head = [SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    emit(buf, head, source, to, target, [SOURCE_LINK_LAYER, 1], mac)
}

fn emit(
    buf: &mut [u8],
    head: [u8; 8],
    source: [u8; 16],
    destination: [u8; 16],
    target: [u8; 16],
    option: [u8; 2],
    mac: [u8; 6],
) -> Option<()> {
    let buf = buf.first_chunk_mut::<LEN>()?;
    buf[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 32, checksum::ICMPV6, 255]);
    buf[8..24].copy_from_slice(&source);
    buf[24..40].copy_from_slice(&destination);
    buf[40..48].copy_from_slice(&head);
    buf[48..64].copy_from_slice(&target);
    buf[64..66].copy_from_slice(&option);
    buf[66..].copy_from_slice(&mac);
    checksum::fill(buf, 40, checksum::ICMPV6);
    Some(())
}

impl Responder {
    #[cfg(test)]
    /// The longest frame that [`emit`](Self::emit) writes.
    pub(crate) const MAX_NOTICE: usize = ether::MAX_HEADER + LEN;

    pub(super) fn inspect_ndp(
        &mut self,
        message: &Message,
        bytes: &[u8],
        now: Time,
    ) -> Option<Inspected> {
        if !icmp::is_good(bytes, message) {
            self.counters.bad_checksums += 1;
            return None;
        }
        let packet = bytes.get(usize::from(message.ip_at)..usize::from(message.end))?;
        let at = usize::from(message.at - message.ip_at);
        let Some(found) = Ndp::parse(packet, at) else {
            // The messages of routers are valid, but ignored.
            let from_router = matches!(packet.get(at), Some(133 | 134 | 137));
            self.counters.invalid += u64::from(!from_router);
            return None;
        };
        let mac = found.mac.unwrap_or(message.l2.source);
        let same_link = message.l2.vlan == self.ours.vlan();
        match found.kind {
            NdpKind::Solicitation => {
                if self.ours.has_v6(found.source) {
                    return Some(Inspected::Claim(found.source.into(), mac));
                }
                if same_link && found.mac.is_some() {
                    self.neighbours.heard(found.source.into(), mac, now);
                }
                let requested = self.ours.has_v6(found.target);
                if requested {
                    self.note_gateway(found.source.into(), now);
                }
                requested.then_some(Inspected::Answer(Answer::Ndp(found)))
            }
            NdpKind::Advertisement { solicited } => {
                let target = IpAddr::from(found.target);
                if self.ours.has_v6(found.target) {
                    return Some(Inspected::Claim(target, mac));
                }
                let answers = solicited && same_link && !message.l2.is_group();
                if answers && self.neighbours.answered(target, mac, now) {
                    self.counters.learned += 1;
                    return Some(Inspected::Action(Action::Learned(target)));
                }
                if same_link {
                    self.neighbours.heard(target, mac, now);
                }
                None
            }
        }
    }

    pub(super) fn emit_ndp(
        &mut self,
        notice: Notice,
        ip: Ipv6Addr,
        buf: &mut [u8],
    ) -> Option<usize> {
        let own = self.ours.mac();
        let target = ip.octets();
        let group = match notice {
            Notice::Announce(_) => ALL_NODES,
            Notice::Request(..) => solicited_node(target),
        };
        let to = match notice {
            Notice::Announce(_) => None,
            Notice::Request(_, to) => to,
        };
        let mac = to.unwrap_or(group_mac(group));
        let at = ether::write_header(buf, mac, own, self.ours.vlan(), ethertype::IPV6)?;
        let packet = buf.get_mut(at..)?;
        match notice {
            Notice::Announce(_) => emit_advertisement(packet, target, None, own)?,
            Notice::Request(..) => {
                let IpAddr::V6(source) = self.routes.source_for(ip.into())? else {
                    return None;
                };
                emit_solicitation(packet, source.octets(), target, to.is_some(), own)?;
            }
        }
        self.counters.ndp_out += 1;
        Some(at + LEN)
    }
}

/// Replaces the frame, which has the solicitation `found`, by the advertisement of the host `own`.
pub(super) fn write_reply<F: Frame>(
    frame: &mut F,
    message: &Message,
    found: &Ndp,
    own: [u8; 6],
) -> Option<()> {
    let at = usize::from(message.ip_at);
    let bytes = resize(frame, at + LEN)?;
    let to = (found.source != UNSPECIFIED).then_some(found.source);
    emit_advertisement(bytes.get_mut(at..)?, found.target, to, own)?;
    let mut l2 = message.l2;
    if to.is_none() {
        l2.source = group_mac(ALL_NODES);
    }
    ether::turn_around(bytes, &l2, own);
    Some(())
}

/// The neighbour about which a message informs all that read it: an advertisement does.
pub(super) fn informs(bytes: Option<&[u8]>) -> Option<IpAddr> {
    let head = bytes?.first_chunk::<24>()?;
    let target: [u8; 16] = std::array::from_fn(|i| head[8 + i]);
    (head[0] == ADVERTISEMENT).then_some(target.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        Icmpv6Packet, Icmpv6Repr, Ipv6Packet, Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
    };

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn ip(text: &str) -> [u8; 16] {
        text.parse::<std::net::Ipv6Addr>().expect("IPv6").octets()
    }

    /// Parses a packet of ours with smoltcp and checks the result.
    fn read(buf: &[u8], check: impl FnOnce(Ipv6Repr, NdiscRepr<'_>)) {
        let packet = Ipv6Packet::new_checked(buf).expect("a packet");
        let header = Ipv6Repr::parse(&packet).expect("a header");
        let message = Icmpv6Packet::new_checked(packet.payload()).expect("a message");
        let caps = ChecksumCapabilities::default();
        let repr = Icmpv6Repr::parse(&header.src_addr, &header.dst_addr, &message, &caps);
        match repr.expect("a message") {
            Icmpv6Repr::Ndisc(ndisc) => check(header, ndisc),
            other => panic!("not neighbour discovery: {other:?}"),
        }
    }

    #[test]
    fn smoltcp_reads_the_messages_that_we_write() {
        let (us, them) = (ip("fd77::2"), ip("fd77::1"));
        let mut buf = [0; LEN];
        emit_solicitation(&mut buf, us, them, false, MAC).expect("room");
        read(&buf, |header, message| {
            assert_eq!(header.hop_limit, 255);
            assert_eq!(header.src_addr.octets(), us);
            assert_eq!(header.dst_addr.octets(), ip("ff02::1:ff00:1"));
            let NdiscRepr::NeighborSolicit {
                target_addr,
                lladdr,
            } = message
            else {
                panic!("no solicitation");
            };
            assert_eq!(target_addr.octets(), them);
            assert_eq!(lladdr.expect("an option").as_bytes(), MAC);
        });
        let asked = Ndp::parse(&buf, 40).expect("valid");
        assert_eq!(
            asked,
            Ndp {
                kind: NdpKind::Solicitation,
                target: them,
                source: us,
                mac: Some(MAC)
            }
        );
        for to in [Some(us), None] {
            emit_advertisement(&mut buf, them, to, MAC).expect("room");
            read(&buf, |header, message| {
                assert_eq!(header.src_addr.octets(), them);
                assert_eq!(header.dst_addr.octets(), to.unwrap_or(ip("ff02::1")));
                let NdiscRepr::NeighborAdvert {
                    flags,
                    target_addr,
                    lladdr,
                } = message
                else {
                    panic!("no advertisement");
                };
                assert_eq!(target_addr.octets(), them);
                assert_eq!(lladdr.expect("an option").as_bytes(), MAC);
                assert_eq!(flags.contains(NdiscNeighborFlags::SOLICITED), to.is_some());
                assert!(flags.contains(NdiscNeighborFlags::OVERRIDE));
                assert!(!flags.contains(NdiscNeighborFlags::ROUTER));
            });
            let said = Ndp::parse(&buf, 40).expect("valid");
            assert_eq!(
                said.kind,
                NdpKind::Advertisement {
                    solicited: to.is_some()
                }
            );
            assert_eq!((said.target, said.mac), (them, Some(MAC)));
        }
        emit_solicitation(&mut buf, us, them, true, MAC).expect("room");
        read(&buf, |header, _| assert_eq!(header.dst_addr.octets(), them));
        assert_eq!(emit_solicitation(&mut buf[..71], us, them, true, MAC), None);
        assert_eq!(group_mac(solicited_node(them)), [0x33, 0x33, 0xff, 0, 0, 1]);
    }

    #[test]
    fn invalid_messages_are_refused() {
        let mut good = [0; LEN];
        emit_solicitation(&mut good, ip("fd77::2"), ip("fd77::1"), false, MAC).expect("room");
        let with = |at: usize, bytes: &[u8]| {
            let mut packet = good;
            packet[at..at + bytes.len()].copy_from_slice(bytes);
            Ndp::parse(&packet, 40)
        };
        assert!(with(0, &[]).is_some());
        assert_eq!(with(41, &[1]), None, "code");
        assert_eq!(with(48, &[0xff]), None, "a group as target");
        assert_eq!(with(40, &[137]), None, "redirect");
        assert_eq!(with(65, &[0]), None, "an empty option");
        assert_eq!(with(65, &[2]), None, "an option that runs over");
        assert_eq!(with(66, &[1]), None, "a group's link-layer address");
        assert_eq!(
            with(8, &[0; 16]),
            None,
            "a multicast solicitation from the unspecified address with a link-layer address"
        );
        // Detection of duplicates (RFC 4862 §5.4.2): no source, no option, to the group.
        let mut probe = good;
        probe[8..24].fill(0);
        let found = Ndp::parse(&probe[..64], 40).expect("a probe");
        assert_eq!((found.source, found.mac), (UNSPECIFIED, None));
        probe[24..40].copy_from_slice(&ALL_NODES);
        assert_eq!(Ndp::parse(&probe[..64], 40), None);
        // A solicited advertisement to a group (RFC 4861 §7.1.2).
        emit_advertisement(&mut good, ip("fd77::1"), Some(ALL_NODES), MAC).expect("room");
        assert_eq!(Ndp::parse(&good, 40), None);
        for len in (0..LEN).filter(|len| ![64, 72].contains(len)) {
            assert_eq!(Ndp::parse(&good[..len], 40), None);
        }
    }

    proptest! {
        #[test]
        fn noise_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..130, kind: bool) {
            Ndp::parse(&bytes, at);
            if let Some(byte) = bytes.get_mut(40) {
                *byte = 135 + u8::from(kind);
            }
            Ndp::parse(&bytes, 40);
        }
    }
}
