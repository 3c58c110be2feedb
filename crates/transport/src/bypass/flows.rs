//! The flows of a stack, for an operator.

use hioload_device::Device;

use super::{Bypass, conn_of};
use crate::{ConnId, FlowDetails, FlowInfo, Wanted};

/// Slots that one call examines.
const SLOTS_AT_ONCE: u32 = 4096;

impl<D: Device> Bypass<D> {
    /// Implements [`Transport::flows`](crate::Transport::flows).
    pub(super) fn list_flows(
        &self,
        from: u32,
        wanted: &Wanted,
        rows: &mut Vec<FlowInfo>,
    ) -> Option<u32> {
        let slots = u32::try_from(self.features.max_connections).unwrap_or(u32::MAX);
        let end = slots.min(from.saturating_add(SLOTS_AT_ONCE));
        for index in from..end {
            if rows.len() == rows.capacity() {
                return Some(index);
            }
            let Some(flow) = self.stack.flow_at(index) else {
                continue;
            };
            let other = |peer| !wanted.matches(peer);
            if *wanted != Wanted::default() && self.stack.peer(flow).is_none_or(other) {
                continue;
            }
            let Some(info) = self.stack.info(flow) else {
                continue;
            };
            let mut row = row(conn_of(flow), &info);
            if wanted.details {
                row.details = self.stack.details(flow).map(details);
                rows.push(row);
                return Some(index + 1);
            }
            rows.push(row);
        }
        (end < slots).then_some(end)
    }
}

// What an operator sees is defined by the contract, so that a user of sockets alone does not need the TCP crate.

fn row(conn: ConnId, info: &hioload_tcp::FlowInfo) -> FlowInfo {
    FlowInfo {
        local: info.local,
        peer: info.peer,
        conn: (conn.index, conn.generation),
        client: None,
        state: info.state,
        recv_queue: info.recv_queue,
        send_queue: info.send_queue,
        recv_window: info.recv_window,
        srtt: info.srtt,
        rto: info.rto,
        retransmits: info.retransmits,
        orphan: info.orphan,
        details: info.details.map(details),
    }
}

fn details(of: hioload_tcp::FlowDetails) -> FlowDetails {
    FlowDetails {
        in_flight: of.in_flight,
        send_window: of.send_window,
        cwnd: of.cwnd,
        mss: of.mss,
    }
}
