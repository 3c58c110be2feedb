//! Counters.

/// Counters of a stack; monotonic, except those said to be gauges.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackStats {
    /// TCP segments received for us.
    pub rx_segments: u64,
    /// TCP segments sent.
    pub tx_segments: u64,
    /// Payload bytes consumed from the frame they arrived in.
    pub rx_bytes_in_place: u64,
    /// Payload bytes consumed from a ring.
    pub rx_bytes_from_ring: u64,
    /// Payload bytes sent, those sent again included.
    pub tx_bytes: u64,
    /// Retransmission timers that fired and fast retransmissions.
    pub retransmits: u64,
    /// Of these, probes for want of acknowledgements.
    pub probes: u64,
    /// Flows that can be used (gauge).
    pub flows: u64,
    /// Flows whose handshake is not complete (gauge).
    pub half_open: u64,
    /// Flows released and still closing (gauge).
    pub orphans: u64,
    /// Entries in TIME_WAIT (gauge).
    pub time_wait: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections of our own established.
    pub connected: u64,
    /// SYNs received for a listened port.
    pub syns: u64,
    /// Of these, dropped: not accepting, or no slot.
    pub syn_drops: u64,
    /// Half-open flows that made room for others.
    pub half_open_evicted: u64,
    /// Half-open flows whose peer never answered.
    pub half_open_expired: u64,
    /// Orphans reset to make room, or because they took too long.
    pub orphans_reset: u64,
    /// Entries of TIME_WAIT dropped early to make room.
    pub time_wait_evicted: u64,
    /// Connections accepted on a 4-tuple in TIME_WAIT.
    pub time_wait_reused: u64,
    /// Flows given up because nothing was acknowledged in time.
    pub timeouts: u64,
    /// Flows reset by their peer.
    pub resets: u64,
    /// RST segments sent.
    pub rst_sent: u64,
    /// RST segments not sent because of the rate limit.
    pub rst_limited: u64,
    /// RST segments received that could not be genuine.
    pub rst_ignored: u64,
    /// Times a socket was printed with its rings to learn what is not told otherwise: at most ten a second for each of three
    /// reasons.
    pub socket_dumps: u64,
    /// ICMP errors not believed: they quote nothing that is outstanding, or there were too many.
    pub icmp_ignored: u64,
    /// Frames handed to another lcore.
    pub handoffs_out: u64,
    /// Frames handed over by another lcore.
    pub handoffs_in: u64,
    /// Frames for another lcore that were lost because its ring was full.
    pub handoff_drops: u64,
    /// Frames too short or inconsistent.
    pub rx_malformed: u64,
    /// IP fragments, dropped.
    pub rx_fragments: u64,
    /// Frames that are not for us.
    pub rx_not_ours: u64,
    /// Frames with a wrong checksum.
    pub bad_checksums: u64,
    /// Segments of no flow.
    pub rx_no_flow: u64,
    /// Times another station claimed an address of ours.
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
    /// Path MTUs lowered by ICMP.
    pub pmtu_lowered: u64,
    /// Times no frame was free for something to be sent.
    pub no_frames: u64,
    /// Frames dropped because the transmit queue was full.
    pub tx_drops: u64,
    /// Resident bytes of rings, as estimated (gauge).
    pub ring_bytes: u64,
    /// Rings given back to the system.
    pub rings_given_back: u64,
}
