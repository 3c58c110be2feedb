//! New tunables for an lcore that runs. It applies them between two turns, and visits some of its sessions in each:
//! a visit of a million sessions in one turn would stop the lcore.

use std::sync::Arc;

use hioload_ws_proto::Compressor;

use crate::app::App;
use crate::config::Tunables;
use crate::core::{Core, RETAINED_OUTPUT, SESSIONS_PER_TURN};
use crate::handler::Handler;
use crate::session::Phase;

impl<H: Handler> App<H> {
    pub(crate) fn reconfigure(&mut self, new: Arc<Tunables>) {
        let limits = &new.limits;
        self.assembler.set_limits(limits.of_messages());
        self.assembler.set_budget(limits.reassembly_memory);
        let core = &mut self.core;
        core.admission.set_bounds(limits);
        core.mailbox.bytes().set_bound(limits.mailbox_bytes);
        // Without compression in the new tunables the compressor stays, for connections that have agreed on it.
        if let Some(deflate) = &new.deflate
            && core.tunables.deflate.as_ref() != Some(deflate)
        {
            core.compressor = Some(Compressor::new(deflate, RETAINED_OUTPUT));
        }
        core.tunables = new;
        core.unvisited = Some(0);
    }
}

impl<E: Send + 'static> Core<E> {
    /// Applies the new tunables to some of the sessions.
    #[inline]
    pub(crate) fn visit_sessions(&mut self) {
        let Some(from) = self.unvisited else { return };
        let to = (from + SESSIONS_PER_TURN).min(self.sessions.len());
        let rate = self.tunables.limits.message_rate;
        for index in from..to {
            let session = &mut self.sessions[index];
            if session.phase == Phase::Free {
                continue;
            }
            session.tokens = session.tokens.min(rate);
            self.rearm(index as u32);
        }
        self.unvisited = (to < self.sessions.len()).then_some(to);
    }
}
