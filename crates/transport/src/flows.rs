//! Flows as an operator sees them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Which flows [`Transport::flows`](crate::Transport::flows) describes, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// Only those with this peer.
    pub peer: Option<IpAddr>,
    /// Only those with this port of the peer.
    pub port: Option<u16>,
    /// With [`FlowDetails`], which are slow to collect: one flow in each call.
    pub details: bool,
}

impl Wanted {
    /// Whether a flow with this peer is one of them.
    pub fn matches(&self, peer: SocketAddr) -> bool {
        self.peer.is_none_or(|ip| ip == peer.ip())
            && self.port.is_none_or(|port| port == peer.port())
    }
}

/// The state of one flow, as `ss -ti` would show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowInfo {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// Index and generation of its connection, which may have ended or not have begun.
    pub conn: (u32, u32),
    /// The client, if the peer is a proxy that has named it. A transport does not know it; the engine fills it in.
    pub client: Option<SocketAddr>,
    /// The state's name in RFC 9293: `ESTABLISHED`, ...
    pub state: &'static str,
    /// Bytes received and not yet consumed.
    pub recv_queue: usize,
    /// Bytes queued for sending and not yet acknowledged.
    pub send_queue: usize,
    /// Receive window, in bytes.
    pub recv_window: usize,
    /// Smoothed round-trip time, when measured.
    pub srtt: Option<Duration>,
    /// Retransmission timeout.
    pub rto: Duration,
    /// Retransmission timeouts and fast retransmissions since the flow was opened; 63 may be more.
    pub retransmits: u32,
    /// Whether it was released and is closing on its own.
    pub orphan: bool,
    /// The rest of its state, if asked for.
    pub details: Option<FlowDetails>,
}

/// The rest of the state of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowDetails {
    /// Of the bytes queued for sending, those that were sent.
    pub in_flight: usize,
    /// Send window, in bytes.
    pub send_window: usize,
    /// Congestion window, in bytes.
    pub cwnd: usize,
    /// Largest payload that we send in a segment.
    pub mss: usize,
}
