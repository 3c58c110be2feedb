//! Neighbour discovery for IPv6 (RFC 4861): who has an address, and the answer. Routers are configured, so what they
//! say of themselves, and redirects, are ignored.

use crate::checksum;

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
    /// Question or answer.
    pub kind: Kind,
    /// The address sought, or claimed.
    pub target: [u8; 16],
    /// The IP source; unspecified for the question of a node that does not know yet whether it may have `target`.
    pub source: [u8; 16],
    /// The link-layer address in the message: the sender's in a question, the target's in an answer.
    pub mac: Option<[u8; 6]>,
}

/// Question or answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Who has the target?
    Solicitation,
    /// The target is here.
    Advertisement {
        /// It was asked for.
        solicited: bool,
    },
}

/// The group of the nodes that may have `address` (RFC 4291 §2.7.1).
pub(crate) fn solicited_node(address: [u8; 16]) -> [u8; 16] {
    let [.., x, y, z] = address;
    [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]
}

/// Where Ethernet sends an IPv6 group (RFC 2464 §7).
pub(crate) fn group_mac(group: [u8; 16]) -> [u8; 6] {
    let [.., w, x, y, z] = group;
    [0x33, 0x33, w, x, y, z]
}

impl Ndp {
    /// The message at `at` in the IPv6 packet `packet`, whose hop limit and checksum have been looked at; `None` if it
    /// is neither of the two kinds, or not valid (RFC 4861 §7.1).
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
            SOLICITATION => (Kind::Solicitation, SOURCE_LINK_LAYER),
            ADVERTISEMENT => {
                let solicited = head[4] & SOLICITED != 0;
                if solicited && destination[0] == 0xff || source == UNSPECIFIED {
                    return None;
                }
                (Kind::Advertisement { solicited }, TARGET_LINK_LAYER)
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
        let station = mac.is_none_or(|mac| mac[0] & 1 == 0 && mac != [0; 6]);
        if !options.is_empty() || !station {
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

/// Writes the advertisement that `mac` has `target` to the front of `buf`, from that address: to `to`, who asked, or
/// to all nodes, if `None`. `None` if `buf` has no room.
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

/// Writes the question for `target` to the front of `buf`: to the target itself, or to the group it must be in. `None` if
/// `buf` has no room.
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

    /// What smoltcp reads in a packet of ours.
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
    fn what_we_send_is_understood() {
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
                kind: Kind::Solicitation,
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
                Kind::Advertisement {
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
    fn messages_that_are_not_valid() {
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
        assert_eq!(with(8, &[0; 16]), None, "an address sought with a sender");
        // Detection of duplicates (RFC 4862 §5.4.2): no source, no option, to the group.
        let mut probe = good;
        probe[8..24].fill(0);
        let found = Ndp::parse(&probe[..64], 40).expect("a probe");
        assert_eq!((found.source, found.mac), (UNSPECIFIED, None));
        probe[24..40].copy_from_slice(&ALL_NODES);
        assert_eq!(Ndp::parse(&probe[..64], 40), None);
        // An answer to a question nobody can have asked.
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
