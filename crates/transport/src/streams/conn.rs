//! The state of a connection over a readiness-based network, besides its flags and its send queue.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::Peer;

/// One connection: 40 bytes with a stream of 8.
pub(crate) struct Conn<S> {
    /// `None` once the connection is dead, and before the driver accepts it if the network chooses slots.
    pub(crate) stream: Option<S>,
    /// Received bytes that the driver left.
    pub(super) held: Option<Box<Held>>,
    peer: CompactPeer,
}

impl<S> Conn<S> {
    pub(super) fn new(stream: Option<S>, peer: Peer) -> Self {
        Self {
            stream,
            held: None,
            peer: peer.into(),
        }
    }
    pub(super) fn peer(&self) -> Peer {
        self.peer.into()
    }
}

impl<S> Default for Conn<S> {
    fn default() -> Self {
        Self::new(None, Peer::Unix)
    }
}

/// A peer address in 20 bytes. The scope of a link-local IPv6 address is not kept.
#[derive(Clone, Copy)]
struct CompactPeer {
    addr: [u8; 16],
    port: u16,
    ip: bool,
}

impl From<Peer> for CompactPeer {
    fn from(peer: Peer) -> Self {
        match peer {
            Peer::Unix => Self {
                addr: [0; 16],
                port: 0,
                ip: false,
            },
            Peer::Ip(addr) => {
                let bytes = match addr.ip() {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                    IpAddr::V6(ip) => ip.octets(),
                };
                Self {
                    addr: bytes,
                    port: addr.port(),
                    ip: true,
                }
            }
        }
    }
}

impl From<CompactPeer> for Peer {
    fn from(peer: CompactPeer) -> Self {
        if peer.ip {
            Self::Ip(SocketAddr::new(
                Ipv6Addr::from(peer.addr).to_canonical(),
                peer.port,
            ))
        } else {
            Self::Unix
        }
    }
}

/// Received bytes that the driver left.
#[derive(Default)]
pub(crate) struct Held {
    buf: Vec<u8>,
    start: usize,
}

impl Held {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buf[self.start..]
    }
    pub(super) fn len(&self) -> usize {
        self.buf.len() - self.start
    }
    pub(super) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.buf.len());
    }
    pub(super) fn clear(&mut self) {
        self.buf.clear();
        self.start = 0;
    }
    pub(super) fn capacity(&self) -> usize {
        self.buf.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Entry;

    #[test]
    fn a_slot_is_at_most_56_bytes_with_a_stream_of_8() {
        assert!(
            size_of::<Entry<Conn<[u32; 2]>>>() <= 56,
            "{}",
            size_of::<Entry<Conn<[u32; 2]>>>()
        );
    }

    #[test]
    fn peers_survive_the_round_trip() {
        for text in [
            "127.0.0.1:80",
            "[::1]:9001",
            "[2001:db8::7]:65535",
            "0.0.0.0:0",
        ] {
            let peer = Peer::Ip(text.parse().unwrap());
            assert_eq!(Peer::from(CompactPeer::from(peer)), peer);
        }
        assert_eq!(Peer::from(CompactPeer::from(Peer::Unix)), Peer::Unix);
        let mapped = Peer::Ip("[::ffff:10.0.0.1]:5".parse().unwrap());
        assert_eq!(
            Peer::from(CompactPeer::from(mapped)),
            Peer::Ip("10.0.0.1:5".parse().unwrap())
        );
    }

    #[test]
    fn held_bytes_are_contiguous() {
        let mut held = Held::default();
        held.push(b"abcd");
        held.consume(3);
        held.push(b"ef");
        assert_eq!(held.bytes_mut(), b"def");
        assert_eq!(held.len(), 3);
    }
}
