//! The parts of IPv4, TCP and UDP that are needed to make a numbered frame, to recognise it, and to send it back.

use hioload_device::{Frame, RxChecksum, TxChecksum, checksum};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
/// The smallest frame: the headers and a number.
pub(crate) const MIN_LEN: usize = ETHERNET + IPV4 + TCP + 4;

/// The offset of the checksum in the transport header.
fn checksum_offset(protocol: u8) -> Option<u16> {
    match protocol {
        6 => Some(16),
        17 => Some(6),
        _ => None,
    }
}

/// The sum of the pseudo-header, not complemented.
fn pseudo_sum(ip: &[u8], length: usize) -> u16 {
    let mut pseudo = [0; 12];
    pseudo[..8].copy_from_slice(&ip[12..20]);
    pseudo[9] = ip[9];
    pseudo[10..].copy_from_slice(&(length as u16).to_be_bytes());
    checksum::sum(&pseudo)
}

/// Writes a TCP segment with a number into a frame of `len` bytes. `fill`: the device computes the checksum.
pub(crate) fn make<F: Frame>(
    frame: &mut F,
    number: u32,
    len: usize,
    to: [u8; 6],
    from: [u8; 6],
    fill: bool,
) {
    frame.set_len(len);
    let bytes = frame.bytes_mut();
    bytes.fill(0);
    bytes[..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&from);
    bytes[12] = 8;
    let ip = &mut bytes[ETHERNET..];
    let length = ip.len() as u16;
    ip[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6]);
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    ip[12..20].copy_from_slice(&[10, 99, 0, 1, 10, 99, 0, 2]);
    let sum = !checksum::sum(&ip[..IPV4]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let tcp = &mut ip[IPV4..];
    tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    tcp[12..14].copy_from_slice(&[0x50, 0x10]);
    for (at, byte) in tcp[TCP..].iter_mut().enumerate() {
        *byte = (number as usize + at) as u8;
    }
    tcp[TCP..TCP + 4].copy_from_slice(&number.to_be_bytes());
    finish(frame, 16, fill);
}

/// Writes the checksum, or requests it of the device.
fn finish<F: Frame>(frame: &mut F, offset: u16, fill: bool) {
    let bytes = frame.bytes_mut();
    let length = bytes.len() - ETHERNET - IPV4;
    let sum = pseudo_sum(&bytes[ETHERNET..], length);
    let at = ETHERNET + IPV4 + usize::from(offset);
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    let start = (ETHERNET + IPV4) as u16;
    frame.set_tx_checksum(TxChecksum::Fill { start, offset });
    if !fill {
        // The field is within the frame.
        let _ = checksum::complete(frame);
    }
}

/// A received frame, as this program classifies it.
pub(crate) enum Received {
    /// TCP or UDP over IPv4 with a right checksum; the number that `make` wrote, if it made the frame.
    Good(u32),
    /// TCP or UDP over IPv4 with a wrong checksum or length.
    Bad,
    /// Any other frame.
    Other,
}

/// Classifies a frame, and removes Ethernet's padding.
pub(crate) fn classify<F: Frame>(frame: &mut F) -> Received {
    let bytes = frame.bytes();
    if bytes.len() < ETHERNET + IPV4 + 8 || bytes[12..15] != [8, 0, 0x45] {
        return Received::Other;
    }
    let end = ETHERNET + usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let Some(offset) = checksum_offset(bytes[23]) else {
        return Received::Other;
    };
    if end > bytes.len() || end < ETHERNET + IPV4 + usize::from(offset) + 2 {
        return Received::Bad;
    }
    frame.set_len(end);
    let bytes = frame.bytes();
    let good = match frame.rx_checksum() {
        RxChecksum::Good => true,
        RxChecksum::Bad => false,
        RxChecksum::Unknown => {
            let segment = &bytes[ETHERNET + IPV4..];
            let sum = u32::from(checksum::sum(segment))
                + u32::from(pseudo_sum(&bytes[ETHERNET..], segment.len()));
            (sum & 0xffff) + (sum >> 16) == 0xffff
        }
    };
    if !good {
        return Received::Bad;
    }
    let number = bytes
        .get(MIN_LEN - 4..MIN_LEN)
        .and_then(|number| number.try_into().ok());
    Received::Good(u32::from_be_bytes(number.unwrap_or_default()))
}

/// Whether the payload after the number is the one that `make` writes.
pub(crate) fn is_whole<F: Frame>(frame: &F, number: u32) -> bool {
    let rest = frame.bytes().get(MIN_LEN..).unwrap_or_default();
    let mut rest = rest.iter().enumerate();
    rest.all(|(at, &byte)| byte == (number as usize + at + 4) as u8)
}

/// Turns a frame into its own reply: swaps the addresses and ports, and updates the checksum.
pub(crate) fn reply<F: Frame>(frame: &mut F, fill: bool) {
    let bytes = frame.bytes_mut();
    let (to, from) = bytes[..12].split_at_mut(6);
    to.swap_with_slice(from);
    let (source, destination) = bytes[26..34].split_at_mut(4);
    source.swap_with_slice(destination);
    let (source, destination) = bytes[34..38].split_at_mut(2);
    source.swap_with_slice(destination);
    if let Some(offset) = checksum_offset(bytes[23]) {
        finish(frame, offset, fill);
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use hioload_device::Device;
    use hioload_device::memory::{PairOptions, pair};

    use super::*;

    /// Whether etherparse finds both checksums right, and the ports.
    fn parse(frame: &impl Frame) -> (bool, u16, u16) {
        let packet = SlicedPacket::from_ethernet(frame.bytes()).expect("a packet");
        let Some(NetSlice::Ipv4(ip)) = packet.net else {
            panic!("no IPv4");
        };
        let Some(TransportSlice::Tcp(tcp)) = packet.transport else {
            panic!("no TCP");
        };
        let ip = ip.header();
        let sum = tcp.calc_checksum_ipv4(ip.source(), ip.destination());
        let good = sum.expect("short") == tcp.checksum()
            && ip.to_header().calc_header_checksum() == ip.header_checksum();
        (good, tcp.source_port(), tcp.destination_port())
    }

    #[test]
    fn a_frame_and_its_reply_are_packets_with_right_checksums() {
        let (a, _b) = pair(&PairOptions::default()).expect("a pair");
        let mut device = a.open();
        for len in [MIN_LEN, MIN_LEN + 1, 777, 1514] {
            let mut frame = device.alloc().expect("a frame");
            make(&mut frame, 7, len, [0xff; 6], [2, 0, 0, 0, 0, 1], false);
            assert_eq!(parse(&frame), (true, 12345, 80));
            assert!(matches!(classify(&mut frame), Received::Good(7)));
            assert!(is_whole(&frame, 7));
            reply(&mut frame, false);
            assert_eq!(parse(&frame), (true, 80, 12345));
            assert_eq!(frame.bytes()[..6], [2, 0, 0, 0, 0, 1]);
            let last = frame.len() - 1;
            frame.bytes_mut()[last] ^= 1;
            assert!(matches!(classify(&mut frame), Received::Bad));
        }
    }
}
