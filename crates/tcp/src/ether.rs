//! Ethernet headers.

use crate::parse::L2;

#[cfg(test)]
/// The longest header: with a VLAN tag.
pub(crate) const MAX_HEADER: usize = 18;

/// EtherTypes.
pub(crate) mod ethertype {
    /// IPv4.
    pub(crate) const IPV4: u16 = 0x0800;
    /// ARP.
    pub(crate) const ARP: u16 = 0x0806;
    /// A VLAN tag.
    pub(crate) const VLAN: u16 = 0x8100;
    /// IPv6.
    pub(crate) const IPV6: u16 = 0x86dd;
    /// A service VLAN tag (802.1ad), and the value in use before that standard.
    pub(crate) const QINQ: [u16; 2] = [0x88a8, 0x9100];
}

/// The broadcast address.
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

/// Writes a header to the front of `buf` and returns its length, 14 or 18; `None` if `buf` is too short.
#[inline]
pub(crate) fn write_header(
    buf: &mut [u8],
    to: [u8; 6],
    from: [u8; 6],
    vlan: Option<u16>,
    ethertype: u16,
) -> Option<usize> {
    let addresses = buf.first_chunk_mut::<12>()?;
    let [t0, t1, t2, t3, t4, t5] = to;
    let [f0, f1, f2, f3, f4, f5] = from;
    *addresses = [t0, t1, t2, t3, t4, t5, f0, f1, f2, f3, f4, f5];
    let [high, low] = ethertype.to_be_bytes();
    let rest = buf.get_mut(12..)?;
    match vlan {
        None => {
            *rest.first_chunk_mut()? = [high, low];
            Some(14)
        }
        Some(id) => {
            let [tag, tag_type] = [id, ethertype::VLAN].map(u16::to_be_bytes);
            *rest.first_chunk_mut()? = [tag_type[0], tag_type[1], tag[0], tag[1], high, low];
            Some(18)
        }
    }
}

/// Addresses a received frame to its sender, from `own`. The tag does not change.
pub(crate) fn turn_around(frame: &mut [u8], l2: &L2, own: [u8; 6]) {
    if let Some(header) = frame.get_mut(..12) {
        header[..6].copy_from_slice(&l2.source);
        header[6..].copy_from_slice(&own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_with_and_without_a_tag() {
        let (to, from) = ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]);
        let mut buf = [0; MAX_HEADER];
        let plain = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0];
        assert_eq!(
            write_header(&mut buf, to, from, None, ethertype::IPV4),
            Some(14)
        );
        assert_eq!(buf[..14], plain);
        assert_eq!(
            write_header(&mut buf, to, from, Some(7), ethertype::ARP),
            Some(18)
        );
        assert_eq!(buf[..12], plain[..12]);
        assert_eq!(buf[12..], [0x81, 0, 0, 7, 8, 6]);
        for short in 0..14 {
            assert_eq!(write_header(&mut buf[..short], to, from, None, 0), None);
        }
        assert_eq!(write_header(&mut buf[..17], to, from, Some(7), 0), None);
    }
}
