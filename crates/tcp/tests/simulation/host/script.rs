//! The steps of a script: reading, writing, and ending a connection.

use hioload_device::memory::MemoryDevice;
use hioload_tcp::{FlowId, Stack};

use super::{Host, bits};
use crate::ledger::Ledger;
use crate::plan::{Ends, Reads, Script};
use crate::random::{Content, HEADER};

impl Host {
    /// Runs the steps of the script that are due.
    pub(super) fn work(&mut self, id: FlowId, ledger: &mut Ledger) {
        self.identify(id, ledger);
        let Some(flow) = self.flows.get(&id) else {
            return;
        };
        let (Some(number), true) = (flow.number, flow.established) else {
            return;
        };
        let dialogue = ledger.connections[number].dialogue;
        let script = if self.server {
            dialogue.down
        } else {
            dialogue.up
        };
        let echo = self.server && dialogue.echo;
        loop {
            let read = self.reads(id, script, echo, ledger);
            let wrote = self.writes(id, script, echo, ledger);
            // With new room an echo reads on, and after reading it writes.
            if !echo || !(read || wrote) {
                break;
            }
        }
        self.ends(id, script, ledger);
    }

    fn reads(&mut self, id: FlowId, script: Script, echo: bool, ledger: &mut Ledger) -> bool {
        let now = ledger.now;
        let Some(flow) = self.flows.get_mut(&id) else {
            return false;
        };
        if !flow.left || flow.read_at.is_some() {
            return false;
        }
        let mut most = usize::MAX;
        match script.reads {
            Reads::All => {}
            Reads::Drip(bytes, every) => {
                most = bytes;
                flow.read_at = Some(now + every);
            }
            Reads::Stall(from, pause) if !flow.stalled => {
                most = from.saturating_sub(flow.read) as usize;
                if self.stack.received(id) >= most {
                    flow.stalled = true;
                    flow.read_at = Some(now + pause);
                }
            }
            Reads::Stall(..) => {}
        }
        if echo {
            // An echo reads only as many bytes as it can send back.
            let owed = flow.read.saturating_sub(HEADER) - flow.sent;
            most = most.min(self.stack.send_room(id).saturating_sub(owed as usize));
            if flow.read < HEADER {
                most = HEADER as usize;
            }
        }
        self.read(id, most, ledger) > 0
    }

    /// Reads and checks at most `most` bytes. Returns their number.
    pub(super) fn read(&mut self, id: FlowId, most: usize, ledger: &mut Ledger) -> usize {
        let Some(flow) = self.flows.get_mut(&id) else {
            return 0;
        };
        let Some(number) = flow.number else { return 0 };
        let content = ledger.content(number, self.server);
        let known = self.stack.received(id);
        let there = self.stack.readable(id);
        assert_eq!(there.len(), known, "{id}: readable and received differ");
        let taken = there.len().min(most);
        if let Some(at) = content.differs(flow.read, &there[..taken]) {
            let wrong = &there[(at - flow.read) as usize..taken];
            let wrong = &wrong[..wrong.len().min(32)];
            let mut right = [0; 32];
            content.fill(at, &mut right[..wrong.len()]);
            panic!(
                "{id}: connection {number} differs at byte {at}, read at {}: {wrong:02x?} instead of {right:02x?}",
                flow.read
            );
        }
        flow.left = taken < there.len();
        self.stack.consume(id, taken);
        assert_eq!(
            self.stack.received(id),
            known - taken,
            "{id}: after consume"
        );
        flow.read += taken as u64;
        if taken > 0 {
            ledger.trace.note("reads", bits(id), taken as u64);
            self.counts.consumed += taken as u64;
            flow.progress = ledger.now;
        }
        taken
    }

    fn writes(&mut self, id: FlowId, script: Script, echo: bool, ledger: &mut Ledger) -> bool {
        let Some(flow) = self.flows.get_mut(&id) else {
            return false;
        };
        let Some(number) = flow.number else {
            return false;
        };
        let content = ledger.content(number, !self.server);
        let before = flow.sent;
        while !flow.finished && !flow.blocked && flow.write_at.is_none() {
            let limit = match echo {
                true => flow.read.saturating_sub(HEADER).min(script.total),
                false => script.total,
            };
            let wanted = script.chunk.min((limit - flow.sent) as usize);
            if wanted == 0 {
                break;
            }
            let taken = write(
                &mut self.stack,
                id,
                content,
                flow.sent,
                wanted,
                script.lends,
            );
            assert!(taken <= wanted);
            flow.blocked = taken < wanted;
            flow.sent += taken as u64;
            self.counts.sent += taken as u64;
            if !script.pause.is_zero() && !echo {
                flow.write_at = Some(ledger.now + script.pause);
            }
        }
        if flow.sent > before {
            flow.progress = ledger.now;
            ledger.connections[number].half(!self.server).queued = flow.sent;
        }
        flow.sent > before
    }

    fn ends(&mut self, id: FlowId, script: Script, ledger: &mut Ledger) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let Some(number) = flow.number else { return };
        let all_sent = flow.sent == script.total;
        let all_read = flow.end && !flow.left;
        let mut finish = false;
        match script.ends {
            Ends::Abort(after) if flow.sent + flow.read >= after => {
                return self.abort(id, ledger);
            }
            Ends::Early if all_sent => return self.release(id, ledger),
            Ends::Second | Ends::Finish | Ends::Abort(_) if all_sent && all_read => {
                return self.release(id, ledger);
            }
            Ends::Finish | Ends::Closed | Ends::Abort(_) => finish = all_sent,
            Ends::Second | Ends::Early => {}
        }
        if finish && !flow.finished {
            flow.finished = true;
            ledger.connections[number].half(!self.server).done = true;
            ledger.trace.note("finishes", number as u64, flow.sent);
            self.stack.finish(id);
        }
    }
}

/// Queues as many as possible of `wanted` bytes from `offset` on.
fn write(
    stack: &mut Stack<MemoryDevice>,
    id: FlowId,
    content: Content,
    offset: u64,
    wanted: usize,
    lends: bool,
) -> usize {
    let room = stack.send_room(id);
    let mut taken = 0;
    if lends {
        while taken < wanted {
            let want = wanted - taken;
            let Some(space) = stack.send_space(id, want) else {
                break;
            };
            assert!(space.len() >= want.min(256), "{id}: too little send space");
            let n = space.len().min(want);
            content.fill(offset + taken as u64, &mut space[..n]);
            stack.commit(id, n);
            taken += n;
        }
        assert!(taken <= room, "{id}: more than there was room for");
    } else {
        let mut bytes = vec![0; wanted];
        content.fill(offset, &mut bytes);
        taken = stack.send(id, &bytes);
        assert_eq!(taken, wanted.min(room), "{id}: send and send_room differ");
    }
    taken
}
