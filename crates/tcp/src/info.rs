//! A flow as an operator sees it.

use std::net::SocketAddr;
use std::time::Duration;

/// The state of one flow, as `ss -ti` would show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowInfo {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// The state's name in RFC 9293: `ESTABLISHED`, ...
    pub state: &'static str,
    /// Bytes received and not yet consumed.
    pub recv_queue: usize,
    /// Bytes queued for sending and not yet acknowledged.
    pub send_queue: usize,
    /// Of these, how many were sent.
    pub in_flight: usize,
    /// Bytes the peer is ready to take.
    pub send_window: usize,
    /// Bytes we are ready to take.
    pub recv_window: usize,
    /// Congestion window, in bytes.
    pub cwnd: usize,
    /// Largest payload we send in a segment.
    pub mss: usize,
    /// Smoothed round-trip time, when measured.
    pub srtt: Option<Duration>,
    /// Retransmission timeout.
    pub rto: Duration,
    /// Times its retransmission timer fired or a fast retransmission began, since it was opened; saturates at 255.
    pub retransmits: u32,
    /// Whether it was released and is closing on its own.
    pub orphan: bool,
}
