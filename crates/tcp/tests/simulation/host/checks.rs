//! Checks of a stack: stale ids, limits, stalled connections, and the state at the end.

use std::time::Duration;

use hioload_tcp::FlowId;

use super::{Flow, Host};
use crate::ledger::{Fate, Ledger};

impl Host {
    /// Uses a stale id, which must have no effect.
    pub(super) fn poke(&mut self, ledger: &mut Ledger) {
        if self.stale.is_empty() || !ledger.random.chance(5) {
            return;
        }
        let id = ledger.random.pick(&self.stale);
        let stack = &mut self.stack;
        assert!(
            stack.readable(id).is_empty() && stack.received(id) == 0,
            "{id} is stale"
        );
        assert_eq!(stack.send(id, b"nothing"), 0, "{id} is stale");
        assert!(stack.send_space(id, 1).is_none(), "{id} is stale");
        assert!(
            stack.send_room(id) == 0 && stack.send_queued(id) == 0,
            "{id} is stale"
        );
        assert!(
            stack.peer(id).is_none() && stack.local(id).is_none(),
            "{id} is stale"
        );
        assert!(stack.info(id).is_none(), "{id} is stale");
        stack.consume(id, 3);
        stack.commit(id, 3);
        stack.finish(id);
        stack.release(id);
        stack.abort(id);
    }

    /// Checks that no limit is exceeded.
    pub(super) fn bounds(&self, ledger: &Ledger) {
        let config = &ledger.plan.hosts[self.index];
        let stats = self.stack.stats();
        let within = |what, is: u64, most: usize| {
            assert!(
                is <= most as u64,
                "host {}: {is} {what}, of at most {most}",
                self.index
            );
        };
        within("flows", stats.flows, config.max_flows);
        within("half-open flows", stats.half_open, config.half_open);
        within("orphans", stats.orphans, config.orphans);
        within("in TIME_WAIT", stats.time_wait, config.time_wait);
        let slots = config.max_flows + config.half_open + config.orphans;
        let rings = slots * (config.rx_ring + config.tx_ring);
        let rings = rings.min(config.ring_memory);
        within("bytes of rings", stats.ring_bytes, rings);
    }

    /// Resets the flows that have waited for longer than `patience`, and checks that their peers have gone.
    pub fn impatient(&mut self, patience: Duration, ledger: &mut Ledger) {
        let since = ledger.healed.unwrap_or(ledger.now);
        let waiting = |flow: &Flow| ledger.now.saturating_sub(flow.progress.max(since));
        let long: Vec<FlowId> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.number.is_some() && waiting(flow) > patience)
            .map(|(&id, _)| id)
            .collect();
        for id in long {
            let flow = &self.flows[&id];
            let number = flow.number.expect("asked for");
            let peer = *ledger.connections[number].fate(self.server);
            let queued = self.stack.send_queued(id);
            assert!(
                peer != Fate::Open && flow.established && queued == 0,
                "connection {number} has stalled: {id} at host {} has sent {} and read {} bytes, {queued} are queued; its peer is {peer:?}; blocked {}, left {}; {:?}; {:?}",
                self.index,
                flow.sent,
                flow.read,
                flow.blocked,
                flow.left,
                self.stack.info(id),
                ledger.connections[number],
            );
            self.give_up(id, ledger);
        }
    }

    /// Checks at the end that nothing is left, and that the counters agree with the events.
    pub fn check_end(&mut self) {
        let index = self.index;
        assert!(
            self.flows.is_empty(),
            "host {index}: the application has flows left"
        );
        let left: Vec<_> = self.stack.flows().collect();
        let states: Vec<_> = left.iter().map(|&id| self.stack.info(id)).collect();
        assert!(
            left.is_empty(),
            "host {index}: flows left over: {left:?} {states:?}"
        );
        let stats = self.stack.stats();
        let gauges = [stats.flows, stats.half_open, stats.orphans, stats.time_wait];
        assert_eq!(
            gauges, [0; 4],
            "host {index}: flows, half-open, orphans, TIME_WAIT"
        );
        assert_eq!(stats.ring_bytes, 0, "host {index}: ring memory left over");
        let counts = self.counts;
        assert_eq!(stats.accepted, counts.accepted, "host {index}: accepted");
        assert_eq!(stats.connected, counts.connected, "host {index}: connected");
        let consumed = stats.rx_bytes_in_place + stats.rx_bytes_from_ring;
        assert_eq!(consumed, counts.consumed, "host {index}: bytes consumed");
        assert!(stats.accepted <= stats.syns, "host {index}: {stats:?}");
    }
}
