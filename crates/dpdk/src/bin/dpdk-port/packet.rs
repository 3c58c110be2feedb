//! As much of IPv4, TCP and UDP as it takes to make a frame, know it again, and send it back.

use hioload_device::{Frame, RxChecksum, TxChecksum, checksum};

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const TCP: usize = 20;
/// The least a made frame has: headers and a number.
pub(crate) const LEAST: usize = ETHERNET + IPV4 + TCP + 4;

/// Where the checksum is in the transport header.
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

/// A TCP segment of `len` bytes of frame, numbered, with nobody behind it.
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

/// Writes the checksum, or what the device needs to.
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

/// What is in a frame, as far as we care.
pub(crate) enum Seen {
    /// TCP or UDP over IPv4, its checksum good; the number `make` put there, if it did.
    Good(u32),
    /// The checksum is wrong.
    Bad,
    /// Something else.
    Other,
}

/// Looks at a frame; cuts Ethernet's padding off.
pub(crate) fn look<F: Frame>(frame: &mut F) -> Seen {
    let bytes = frame.bytes();
    if bytes.len() < ETHERNET + IPV4 + 8 || bytes[12..15] != [8, 0, 0x45] {
        return Seen::Other;
    }
    let end = ETHERNET + usize::from(u16::from_be_bytes([bytes[16], bytes[17]]));
    let Some(offset) = checksum_offset(bytes[23]) else {
        return Seen::Other;
    };
    if end > bytes.len() || end < ETHERNET + IPV4 + usize::from(offset) + 2 {
        return Seen::Bad;
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
        return Seen::Bad;
    }
    let number = bytes
        .get(LEAST - 4..LEAST)
        .and_then(|number| number.try_into().ok());
    Seen::Good(u32::from_be_bytes(number.unwrap_or_default()))
}

/// Whether what follows the number is as `make` wrote it.
pub(crate) fn is_whole<F: Frame>(frame: &F, number: u32) -> bool {
    let rest = frame.bytes().get(LEAST..).unwrap_or_default();
    let mut rest = rest.iter().enumerate();
    rest.all(|(at, &byte)| byte == (number as usize + at + 4) as u8)
}

/// Makes a good frame its own answer: addresses and ports change places, the checksum is made anew.
pub(crate) fn answer<F: Frame>(frame: &mut F, fill: bool) {
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
