//! Counters.

use hioload_counters::counters;

counters! {
    /// Counters of a stack; monotonic, except the gauges.
    pub struct StackStats: Tcp, "tcp_" {
        /// TCP segments received.
        rx_segments: Counter, Count;
        /// TCP segments sent.
        tx_segments: Counter, Count;
        /// Payload bytes consumed from the frame they arrived in.
        rx_bytes_in_place: Counter, Bytes;
        /// Payload bytes consumed from a ring.
        rx_bytes_from_ring: Counter, Bytes;
        /// Payload bytes sent, including retransmissions.
        tx_bytes: Counter, Bytes;
        /// Retransmissions: timeouts, fast retransmissions and probes.
        retransmits: Counter, Count;
        /// Of these, probes after a time without acknowledgements.
        probes: Counter, Count;
        /// Flows that have a user.
        flows: Gauge, Count;
        /// Flows whose handshake is not complete.
        half_open: Gauge, Count;
        /// Flows that are released and still closing.
        orphans: Gauge, Count;
        /// Entries in TIME_WAIT.
        time_wait: Gauge, Count;
        /// Connections accepted.
        accepted: Counter, Count;
        /// Connections begun by us and established.
        connected: Counter, Count;
        /// SYNs received for a listened port.
        syns: Counter, Count;
        /// SYNs dropped because the stack is not accepting, or has no free slot.
        syn_drops: Counter, Count;
        /// Half-open flows evicted by newer ones.
        half_open_evicted: Counter, Count;
        /// Half-open flows whose peer has not answered in time.
        half_open_expired: Counter, Count;
        /// Orphans reset because there were too many or because they have not closed in time.
        orphans_reset: Counter, Count;
        /// Entries of TIME_WAIT evicted by newer ones.
        time_wait_evicted: Counter, Count;
        /// Connections accepted on a 4-tuple in TIME_WAIT.
        time_wait_reused: Counter, Count;
        /// Flows that failed because nothing was acknowledged within the user timeout.
        timeouts: Counter, Count;
        /// Flows reset by their peer.
        resets: Counter, Count;
        /// RST segments sent.
        rst_sent: Counter, Count;
        /// Answers to segments of no flow, and challenges of RSTs and SYNs, not sent because of the rate limit.
        rst_limited: Counter, Count;
        /// RST segments ignored because their sequence number is not the next one expected (RFC 5961).
        rst_ignored: Counter, Count;
        /// Dumps of a socket with its rings, for state that smoltcp does not expose: at most ten a second for each of three
        /// purposes.
        socket_dumps: Counter, Count;
        /// ICMP errors ignored because they quote no outstanding segment, or because there were too many.
        icmp_ignored: Counter, Count;
        /// Frames handed to another lcore.
        handoffs_out as "tcp_handoffs": Counter, Count;
        /// Frames handed over by another lcore.
        handoffs_in: Counter, Count;
        /// Frames for another lcore that were lost because there was no buffer for them.
        handoff_drops: Counter, Count;
        /// Frames that are too short or inconsistent.
        rx_malformed: Counter, Count;
        /// IP fragments, dropped.
        rx_fragments: Counter, Count;
        /// Frames that are not for us.
        rx_not_ours: Counter, Count;
        /// Frames with a wrong checksum.
        bad_checksums: Counter, Count;
        /// Segments of no flow.
        rx_no_flow: Counter, Count;
        /// Times another host claimed an address of ours.
        address_conflicts: Counter, Count;
        /// ARP packets received.
        arp_in: Counter, Count;
        /// ARP packets sent.
        arp_out: Counter, Count;
        /// NDP messages received.
        ndp_in: Counter, Count;
        /// NDP messages sent.
        ndp_out: Counter, Count;
        /// Requests for an address of ours, by ARP or NDP, that were not answered because of the rate limits.
        discovery_limited: Counter, Count;
        /// ICMP messages received, NDP not included.
        icmp_in: Counter, Count;
        /// ICMP messages sent, NDP not included.
        icmp_out: Counter, Count;
        /// ICMP messages not sent because of the rate limit.
        icmp_limited: Counter, Count;
        /// Path MTUs lowered because of ICMP errors.
        pmtu_lowered: Counter, Count;
        /// Times that there was no free frame to send.
        no_frames: Counter, Count;
        /// Frames dropped because the transmit queue was full.
        tx_drops: Counter, Count;
        /// Resident bytes of rings, at most: each page that may have been written counts.
        ring_bytes: Gauge, Bytes;
        /// Received segments whose payload was dropped because `ring_memory` was used up.
        ring_drops: Counter, Count;
        /// Sends that had to wait because `ring_memory` was used up.
        ring_waits: Counter, Count;
        /// Pairs of rings whose memory was given back to the system.
        rings_given_back: Counter, Count;
    }
}
