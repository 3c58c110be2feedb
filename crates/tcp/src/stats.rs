//! Counters.

/// Counters of a stack; monotonic, except those said to be gauges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackStats {
    /// TCP segments received.
    pub rx_segments: u64,
    /// TCP segments sent.
    pub tx_segments: u64,
    /// Payload bytes consumed from the frame they arrived in.
    pub rx_bytes_in_place: u64,
    /// Payload bytes consumed from a ring.
    pub rx_bytes_from_ring: u64,
    /// Payload bytes sent, including retransmissions.
    pub tx_bytes: u64,
    /// Retransmissions: timeouts, fast retransmissions and probes.
    pub retransmits: u64,
    /// Of these, probes after a time without acknowledgements.
    pub probes: u64,
    /// Flows that have a user (gauge).
    pub flows: u64,
    /// Flows whose handshake is not complete (gauge).
    pub half_open: u64,
    /// Flows that are released and still closing (gauge).
    pub orphans: u64,
    /// Entries in TIME_WAIT (gauge).
    pub time_wait: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections begun by us and established.
    pub connected: u64,
    /// SYNs received for a listened port.
    pub syns: u64,
    /// SYNs dropped because the stack is not accepting, or has no free slot.
    pub syn_drops: u64,
    /// Half-open flows evicted by newer ones.
    pub half_open_evicted: u64,
    /// Half-open flows whose peer has not answered in time.
    pub half_open_expired: u64,
    /// Orphans reset because there were too many or because they have not closed in time.
    pub orphans_reset: u64,
    /// Entries of TIME_WAIT evicted by newer ones.
    pub time_wait_evicted: u64,
    /// Connections accepted on a 4-tuple in TIME_WAIT.
    pub time_wait_reused: u64,
    /// Flows that failed because nothing was acknowledged within the user timeout.
    pub timeouts: u64,
    /// Flows reset by their peer.
    pub resets: u64,
    /// RST segments sent.
    pub rst_sent: u64,
    /// RST segments not sent because of the rate limit.
    pub rst_limited: u64,
    /// RST segments ignored because their sequence number is not the next one expected (RFC 5961).
    pub rst_ignored: u64,
    /// Dumps of a socket with its rings, for state that smoltcp does not expose: at most ten a second for each of three
    /// purposes.
    pub socket_dumps: u64,
    /// ICMP errors ignored because they quote no outstanding segment, or because there were too many.
    pub icmp_ignored: u64,
    /// Frames handed to another lcore.
    pub handoffs_out: u64,
    /// Frames handed over by another lcore.
    pub handoffs_in: u64,
    /// Frames for another lcore that were lost because there was no buffer for them.
    pub handoff_drops: u64,
    /// Frames that are too short or inconsistent.
    pub rx_malformed: u64,
    /// IP fragments, dropped.
    pub rx_fragments: u64,
    /// Frames that are not for us.
    pub rx_not_ours: u64,
    /// Frames with a wrong checksum.
    pub bad_checksums: u64,
    /// Segments of no flow.
    pub rx_no_flow: u64,
    /// Times another host claimed an address of ours.
    pub address_conflicts: u64,
    /// ARP packets received.
    pub arp_in: u64,
    /// ARP packets sent.
    pub arp_out: u64,
    /// NDP messages received.
    pub ndp_in: u64,
    /// NDP messages sent.
    pub ndp_out: u64,
    /// ICMP messages received, NDP not included.
    pub icmp_in: u64,
    /// ICMP messages sent, NDP not included.
    pub icmp_out: u64,
    /// ICMP messages not sent because of the rate limit.
    pub icmp_limited: u64,
    /// Path MTUs lowered because of ICMP errors.
    pub pmtu_lowered: u64,
    /// Times that there was no free frame to send.
    pub no_frames: u64,
    /// Frames dropped because the transmit queue was full.
    pub tx_drops: u64,
    /// Resident bytes of rings, as estimated (gauge).
    pub ring_bytes: u64,
    /// Pairs of rings whose memory was given back to the system.
    pub rings_given_back: u64,
}
