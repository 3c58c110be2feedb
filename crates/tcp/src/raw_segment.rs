//! Segments that no socket makes: RSTs, acknowledgements in TIME_WAIT, and injected acknowledgements.

use crate::checksum;
use crate::parse::Segment;
use crate::tuple::Tuple;

/// The header of a segment, usually without payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawSegment {
    pub seq: u32,
    pub ack: u32,
    /// See [`crate::parse::flags`].
    pub flags: u8,
    pub window: u16,
    /// The timestamp option: our clock, and the peer's clock.
    pub timestamp: Option<(u32, u32)>,
}

impl RawSegment {
    /// The length of the packet, including the IP header.
    pub(crate) fn len(&self, flow: &Tuple) -> usize {
        let ip = if flow.is_v4() { 20 } else { 40 };
        ip + 20 + if self.timestamp.is_some() { 12 } else { 0 }
    }

    /// Writes the packet without checksums into `packet`. If that is longer, the rest is payload of zeros.
    pub(crate) fn write(&self, flow: &Tuple, packet: &mut [u8]) {
        packet.fill(0);
        let len = packet.len();
        let (local, remote) = (flow.local(), flow.remote());
        let tcp = match (local.ip(), remote.ip()) {
            (std::net::IpAddr::V4(local), std::net::IpAddr::V4(remote)) => {
                let Some((ip, tcp)) = packet.split_at_mut_checked(20) else {
                    return;
                };
                ip[0] = 0x45;
                ip[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                // Don't fragment.
                ip[6] = 0x40;
                ip[8] = 64;
                ip[9] = checksum::TCP;
                ip[12..16].copy_from_slice(&local.octets());
                ip[16..20].copy_from_slice(&remote.octets());
                tcp
            }
            (std::net::IpAddr::V6(local), std::net::IpAddr::V6(remote)) => {
                let Some((ip, tcp)) = packet.split_at_mut_checked(40) else {
                    return;
                };
                ip[0] = 0x60;
                ip[4..6].copy_from_slice(&(tcp.len() as u16).to_be_bytes());
                ip[6] = checksum::TCP;
                ip[7] = 64;
                ip[8..24].copy_from_slice(&local.octets());
                ip[24..40].copy_from_slice(&remote.octets());
                tcp
            }
            _ => return,
        };
        if tcp.len() < 20 {
            return;
        }
        tcp[0..2].copy_from_slice(&local.port().to_be_bytes());
        tcp[2..4].copy_from_slice(&remote.port().to_be_bytes());
        tcp[4..8].copy_from_slice(&self.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&self.ack.to_be_bytes());
        tcp[12] = if self.timestamp.is_some() { 8 } else { 5 } << 4;
        tcp[13] = self.flags;
        tcp[14..16].copy_from_slice(&self.window.to_be_bytes());
        if let (Some((ours, theirs)), Some(option)) = (self.timestamp, tcp.get_mut(20..32)) {
            option[..4].copy_from_slice(&[1, 1, 8, 10]);
            option[4..8].copy_from_slice(&ours.to_be_bytes());
            option[8..12].copy_from_slice(&theirs.to_be_bytes());
        }
    }
}

/// The peer's clock in the timestamp option of a segment, if it has one (RFC 7323 §3.2).
pub(crate) fn timestamp(frame: &[u8], segment: &Segment) -> Option<u32> {
    let from = usize::from(segment.tcp_at) + 20;
    let mut options = frame.get(from..usize::from(segment.payload.start))?;
    loop {
        match *options {
            [1, ..] => options = &options[1..],
            [8, 10, a, b, c, d, ..] => return Some(u32::from_be_bytes([a, b, c, d])),
            [0, ..] | [] | [_] => return None,
            [_, len, ..] => options = options.get(usize::from(len).max(2)..)?,
        }
    }
}
