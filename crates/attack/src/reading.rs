//! For tests: what etherparse reads in a frame.

use etherparse::{NetSlice, SlicedPacket, TcpSlice, TransportSlice};

/// A frame as a TCP segment whose checksums are valid.
pub(crate) fn tcp_packet(frame: &[u8]) -> (SlicedPacket<'_>, TcpSlice<'_>) {
    let packet = SlicedPacket::from_ethernet(frame).expect("etherparse reads the frame");
    let Some(TransportSlice::Tcp(tcp)) = packet.transport.clone() else {
        panic!("no TCP in {packet:?}");
    };
    let sum = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            tcp.calc_checksum_ipv4(header.source, header.destination)
        }
        Some(NetSlice::Ipv6(ip)) => {
            tcp.calc_checksum_ipv6(ip.header().source(), ip.header().destination())
        }
        other => panic!("no IP in {other:?}"),
    };
    assert_eq!(tcp.checksum(), sum.expect("a sum"));
    (packet, tcp)
}
