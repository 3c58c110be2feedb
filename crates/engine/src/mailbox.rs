//! What an lcore does with the commands in its mailbox.

use hioload_transport::{ConnId, Transport};

use crate::app::App;
use crate::commands::{Command, FlowsRequest};
use crate::handler::{ClosedBy, Handler};
use crate::work::cost;

/// Commands taken from the mailbox in one turn: what they send to connections is sent in it as well.
const COMMANDS_PER_TURN: usize = 256;

impl<H: Handler> App<H> {
    /// Runs commands in the mailbox, as many as the turn has time for, and none while what earlier ones have published waits to be
    /// sent. Returns their number.
    pub(crate) fn run_commands<T: Transport>(&mut self, io: &mut T) -> usize {
        for taken in 0..COMMANDS_PER_TURN {
            if self.core.work.is_exhausted() || self.core.fan_out_is_full() {
                return taken;
            }
            let Some(command) = self.core.mailbox.pop() else {
                return taken;
            };
            self.run_command(io, command);
            self.core.work.charge(cost::COMMAND);
        }
        COMMANDS_PER_TURN
    }

    fn run_command<T: Transport>(&mut self, io: &mut T, command: Command<H::Event>) {
        match command {
            Command::Publish { topic, kind, frame } => {
                self.core.publish_here(io, &topic, kind, frame);
            }
            Command::Send { to, kind, payload } => {
                // No result goes back to the sender. A full queue is counted.
                let _ = self.core.send_message(io, to, kind, &payload);
            }
            Command::Ping { to, payload } => {
                let _ = self.core.send_ping(io, to, &payload);
            }
            Command::Close { to, code, reason } => {
                self.core
                    .begin_close(io, to, code, &reason, ClosedBy::Application);
            }
            Command::Event {
                to: Some(id),
                event,
            } => {
                self.call(io, id, |handler, conn, cx| {
                    handler.on_event(conn, cx, event);
                });
            }
            Command::Event { to: None, event } => {
                self.call_lcore(io, |handler, cx| handler.on_lcore_event(cx, event));
            }
            Command::JobPanicked { to } => match to.filter(|id| self.core.session(*id).is_some()) {
                Some(id) => self.panicked(io, id),
                None => self.core.counters.handler_panics.bump(),
            },
            Command::Flows(request) => {
                let FlowsRequest {
                    from,
                    wanted,
                    mut rows,
                    answer,
                } = *request;
                let next = io.flows(from, &wanted, &mut rows);
                self.core.work.add(cost::FLOWS);
                for row in &mut rows {
                    let (index, generation) = row.conn;
                    row.client = self.core.client(ConnId { index, generation });
                }
                // The caller may have timed out.
                let _ = answer.try_send((rows, next));
            }
            Command::Drain => self.core.drain(),
            Command::Stop => self.core.stopping = true,
            Command::Wake => {}
        }
    }
}
