//! The frames that [`Housekeeping`] sends: answers, written over what they answer, and notices of its own accord.

use std::net::IpAddr;

use hioload_device::{Frame, TxChecksum};

use super::{Answer, Housekeeping, Notice};
use crate::arp::{self, Arp};
use crate::ether::{self, ethertype};
use crate::parse::Parsed;
use crate::{icmp, ndp};

impl Housekeeping {
    #[cfg(test)]
    /// The longest frame that [`emit`](Self::emit) writes.
    pub(crate) const MAX_NOTICE: usize = ether::MAX_HEADER + ndp::LEN;

    /// Writes the frame of `notice` to the front of `buf` ([`MAX_NOTICE`](Self::MAX_NOTICE) bytes are enough) and gives its length; `None` if
    /// we have no address to send it from, or `buf` no room.
    pub(crate) fn emit(&mut self, notice: Notice, buf: &mut [u8]) -> Option<usize> {
        let own = self.ours.mac();
        let (ip, to) = match notice {
            Notice::Ask(ip, to) => (ip, to),
            Notice::Announce(ip) => (ip, None),
        };
        match ip {
            IpAddr::V4(ip) => {
                let to = to.unwrap_or(ether::BROADCAST);
                let at = ether::write_header(buf, to, own, self.ours.vlan(), ethertype::ARP)?;
                let packet = match notice {
                    Notice::Announce(_) => Arp::announcement(own, ip.octets()),
                    Notice::Ask(..) => match self.routes.source_for(ip.into())? {
                        IpAddr::V4(source) => Arp::request(own, source.octets(), ip.octets()),
                        IpAddr::V6(_) => return None,
                    },
                };
                packet.emit(buf.get_mut(at..)?)?;
                self.counters.arp_out += 1;
                Some(at + arp::LEN)
            }
            IpAddr::V6(ip) => {
                let target = ip.octets();
                let group = match notice {
                    Notice::Announce(_) => ndp::ALL_NODES,
                    Notice::Ask(..) => ndp::solicited_node(target),
                };
                let mac = to.unwrap_or(ndp::group_mac(group));
                let at = ether::write_header(buf, mac, own, self.ours.vlan(), ethertype::IPV6)?;
                let packet = buf.get_mut(at..)?;
                match notice {
                    Notice::Announce(_) => ndp::emit_advertisement(packet, target, None, own)?,
                    Notice::Ask(..) => {
                        let IpAddr::V6(source) = self.routes.source_for(ip.into())? else {
                            return None;
                        };
                        let unicast = to.is_some();
                        ndp::emit_solicitation(packet, source.octets(), target, unicast, own)?;
                    }
                }
                self.counters.ndp_out += 1;
                Some(at + ndp::LEN)
            }
        }
    }

    /// Writes the answer over the frame; `None` if that has no room for it.
    pub(super) fn write_reply<F: Frame>(
        &self,
        parsed: &Parsed,
        answer: &Answer,
        frame: &mut F,
    ) -> Option<()> {
        let own = self.ours.mac();
        match (parsed, answer) {
            (Parsed::Arp(l2, at), Answer::Arp(packet)) => {
                let at = usize::from(*at);
                let bytes = resize(frame, at + arp::LEN)?;
                packet.reply(own).emit(bytes.get_mut(at..)?)?;
                ether::turn_around(bytes, l2, own);
            }
            (Parsed::Ndp(message), Answer::Ndp(found)) => {
                let at = usize::from(message.ip_at);
                let bytes = resize(frame, at + ndp::LEN)?;
                let to = (found.source != ndp::UNSPECIFIED).then_some(found.source);
                ndp::emit_advertisement(bytes.get_mut(at..)?, found.target, to, own)?;
                let mut l2 = message.l2;
                if to.is_none() {
                    l2.source = ndp::group_mac(ndp::ALL_NODES);
                }
                ether::turn_around(bytes, &l2, own);
            }
            (Parsed::Icmp(message), Answer::Echo) => {
                let bytes = resize(frame, usize::from(message.end))?;
                icmp::echo_reply(bytes, message)?;
                ether::turn_around(bytes, &message.l2, own);
            }
            _ => return None,
        }
        Some(())
    }
}

/// The frame's bytes, `len` of them; `None` if it has no room.
fn resize<F: Frame>(frame: &mut F, len: usize) -> Option<&mut [u8]> {
    if len > frame.room() {
        return None;
    }
    frame.set_len(len);
    frame.set_tx_checksum(TxChecksum::Complete);
    Some(frame.bytes_mut())
}
