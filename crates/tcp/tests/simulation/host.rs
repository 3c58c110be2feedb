//! One host: a stack, and an application that follows the scripts of its connections.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::memory::MemoryDevice;
use hioload_lcore::Time;
use hioload_mem::frames::Frame;
use hioload_tcp::{ConnectError, Event, EventFlags, FlowId, Stack};

use crate::ledger::{Fate, Ledger};
use crate::plan::Reads;
use crate::random::{Content, HEADER};

/// The time that a server waits for the header of a stream. Only a client that has gone sends none.
const PATIENCE: Duration = Duration::from_secs(100);

/// The number of stale ids that are remembered and used.
const STALE: usize = 16;

mod checks;
mod script;

/// One end of a connection, as its application sees it.
struct Flow {
    /// The number of the connection. A server reads it from the stream.
    number: Option<usize>,
    established: bool,
    end: bool,
    finished: bool,
    /// The stack had no room: `SPACE` will come.
    blocked: bool,
    /// Bytes are left that the script does not read yet.
    left: bool,
    sent: u64,
    read: u64,
    stalled: bool,
    read_at: Option<Time>,
    write_at: Option<Time>,
    /// The time of the last progress.
    progress: Time,
}

/// Counts that the counters of the stack have to agree with.
#[derive(Clone, Copy, Default, Debug)]
struct Counts {
    accepted: u64,
    connected: u64,
    consumed: u64,
    sent: u64,
}

/// A stack and its application.
pub struct Host {
    pub index: usize,
    server: bool,
    pub stack: Stack<MemoryDevice>,
    flows: BTreeMap<FlowId, Flow>,
    stale: Vec<FlowId>,
    /// Frames that the application keeps for a time.
    held: Vec<(Time, Frame)>,
    counts: Counts,
}

impl Host {
    pub fn new(index: usize, server: bool, stack: Stack<MemoryDevice>) -> Self {
        Self {
            index,
            server,
            stack,
            flows: BTreeMap::new(),
            stale: Vec::new(),
            held: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Runs one turn. Returns whether anything happened.
    pub fn turn(&mut self, ledger: &mut Ledger) -> bool {
        let now = ledger.now;
        if ledger.random.chance(10) {
            // An application may act without an event.
            self.wake(ledger);
        }
        let mut busy = self.stack.receive(now) > 0;
        let mut events = 0;
        while let Some(event) = self.stack.next() {
            self.event(event, ledger);
            busy = true;
            events += 1;
            assert!(events < 100_000, "a turn without end");
        }
        busy |= self.wake(ledger);
        self.poke(ledger);
        self.held.retain(|(until, _)| *until > now);
        self.stack.transmit();
        self.bounds(ledger);
        busy
    }

    /// The time of its next turn.
    pub fn next_deadline(&self) -> Option<Time> {
        let wakes = self.flows.values().flat_map(|f| [f.read_at, f.write_at]);
        let held = self.held.iter().map(|&(until, _)| until);
        let own = wakes.flatten().chain(held).min();
        [self.stack.next_deadline(), own]
            .into_iter()
            .flatten()
            .min()
    }

    /// Opens a connection.
    pub fn connect(&mut self, number: usize, ledger: &mut Ledger) -> Result<(), ConnectError> {
        let to = ledger
            .plan
            .server_address(&ledger.connections[number].dialogue);
        let id = self.stack.connect(to)?;
        ledger
            .trace
            .note("connects, as flow", number as u64, bits(id));
        assert!(!self.flows.contains_key(&id), "{id} is in use");
        assert_eq!(self.stack.peer(id), Some(to));
        let from = self.stack.local(id).expect("a flow has an address");
        let connection = &mut ledger.connections[number];
        connection.client = Fate::Open;
        connection.from = Some(from);
        self.flows.insert(id, Flow::new(Some(number), ledger.now));
        Ok(())
    }

    /// The host loses all its state.
    pub fn forget(&mut self, ledger: &mut Ledger) {
        for flow in self.flows.values() {
            if let Some(number) = flow.number {
                *ledger.connections[number].fate(!self.server) = Fate::Lost;
            }
        }
        self.held.clear();
    }

    fn event(&mut self, event: Event<Frame>, ledger: &mut Ledger) {
        let Event {
            flow: id,
            flags,
            error,
            payload,
            ..
        } = event;
        ledger
            .trace
            .note(describe(flags), bits(id), self.index as u64);
        assert!(!flags.is_empty(), "an event without flags");
        assert!(
            (id.index as usize) < self.stack.capacity(),
            "{id}: beyond capacity"
        );
        assert!(
            error.is_none() || flags.contains(EventFlags::CLOSED),
            "an error of a live flow"
        );
        if flags.contains(EventFlags::ACCEPTED) && !self.accepted(id, ledger) {
            return;
        }
        let Some(flow) = self.flows.get_mut(&id) else {
            panic!("{id}: {} of a stale flow", describe(flags));
        };
        if flags.contains(EventFlags::CONNECTED) {
            assert!(!self.server && !flow.established, "{id}: connected");
            flow.established = true;
            self.counts.connected += 1;
        }
        let stream = [EventFlags::DATA, EventFlags::END, EventFlags::SPACE];
        let stream = stream.iter().any(|&bit| flags.contains(bit));
        assert!(
            !stream || flow.established,
            "{id}: {} before it is established",
            describe(flags)
        );
        if flags.contains(EventFlags::DATA) {
            assert!(!flow.end, "{id}: data after the end");
            assert!(self.stack.received(id) > 0, "{id}: data, but none is there");
            flow.left = true;
        }
        if flags.contains(EventFlags::END) {
            assert!(!flow.end, "{id}: a second end");
            assert!(self.stack.ended(id), "{id}: end, and not ended");
            flow.end = true;
        }
        if flags.contains(EventFlags::SPACE) {
            flow.blocked = false;
        }
        flow.progress = ledger.now;
        if flags.contains(EventFlags::END) {
            self.check_complete(id, ledger);
        }
        if let Some(payload) = payload {
            assert!(flags.contains(EventFlags::DATA), "a payload without data");
            let hold = self.in_place(id, payload, ledger);
            self.held.extend(hold);
        }
        if flags.contains(EventFlags::CLOSED) {
            self.closed(id, error, ledger);
        } else {
            self.work(id, ledger);
        }
    }

    /// A new flow; `false` if the application ends it at once.
    fn accepted(&mut self, id: FlowId, ledger: &mut Ledger) -> bool {
        assert!(self.server, "{id}: accepted by a client");
        assert!(!self.flows.contains_key(&id), "{id}: accepted twice");
        assert!(self.stack.peer(id).is_some() && self.stack.local(id).is_some());
        self.counts.accepted += 1;
        if ledger.plan.whims && ledger.healed.is_none() && ledger.random.chance(20) {
            match ledger.random.chance(50) {
                true => self.stack.abort(id),
                false => self.stack.release(id),
            }
            self.forget_id(id);
            return false;
        }
        let mut flow = Flow::new(None, ledger.now);
        flow.established = true;
        flow.read_at = Some(ledger.now + PATIENCE);
        self.flows.insert(id, flow);
        true
    }

    /// Checks that all bytes of the peer have arrived with its end.
    fn check_complete(&mut self, id: FlowId, ledger: &mut Ledger) {
        let Some(flow) = self.flows.get(&id) else {
            return;
        };
        let there = flow.read + self.stack.received(id) as u64;
        let Some(number) = flow.number.or_else(|| self.peek(id)) else {
            panic!("{id}: the end after {there} bytes, and no header");
        };
        let half = *ledger.connections[number].half(self.server);
        // The server has dropped it before it knew the number.
        let dropped = ledger.excuses.whims && there == 0 && !self.server;
        assert!(
            dropped || half.done && half.queued == there,
            "{id}: the end of connection {number} after {there} bytes, but its peer has {half:?}"
        );
    }

    /// The connection of a stream at a server, if its header is there.
    fn peek(&mut self, id: FlowId) -> Option<usize> {
        let header = self.stack.readable(id).get(..HEADER as usize)?;
        let header = header.try_into().expect("its length");
        let number = Content::connection(header);
        Some(number.unwrap_or_else(|| panic!("{id}: a stream begins with {header:x?}")))
    }

    /// Checks that the payload in the frame is equal to the bytes in the ring. Sometimes returns the frame, to be kept.
    fn in_place(
        &mut self,
        id: FlowId,
        payload: hioload_tcp::FramePayload<Frame>,
        ledger: &mut Ledger,
    ) -> Option<(Time, Frame)> {
        let hioload_tcp::FramePayload { mut frame, range } = payload;
        let there = self.stack.readable(id);
        assert_eq!(
            frame.bytes().get(range.clone()),
            Some(&*there),
            "{id}: the frame's payload is not what is in the ring"
        );
        if self.takes_all(id, ledger) {
            // A receiver may modify bytes that it consumes.
            frame.bytes_mut()[range].fill(0xee);
        }
        let hold = self.held.len() < 4 && ledger.random.chance(2);
        hold.then(|| (ledger.now + ledger.random.micros(1..=100_000), frame))
    }

    /// Whether the application consumes all bytes of an event.
    fn takes_all(&self, id: FlowId, ledger: &Ledger) -> bool {
        let number = self.flows.get(&id).and_then(|flow| flow.number);
        number.is_some_and(|number| {
            let dialogue = ledger.connections[number].dialogue;
            let script = if self.server {
                dialogue.down
            } else {
                dialogue.up
            };
            script.reads == Reads::All && !(self.server && dialogue.echo)
        })
    }

    fn closed(&mut self, id: FlowId, error: Option<io::ErrorKind>, ledger: &mut Ledger) {
        // The bytes in the ring are lost after this event.
        self.identify(id, ledger);
        while self.read(id, usize::MAX, ledger) > 0 {}
        let flow = self.flows.remove(&id).expect("looked at before");
        self.forget_id(id);
        if error.is_none() {
            assert!(
                flow.end && flow.finished,
                "{id}: closed in order, but only one side has ended"
            );
        }
        let Some(number) = flow.number else { return };
        ledger
            .trace
            .say(format!("connection {number} closed, {error:?}"));
        ledger.judge(number, !self.server, flow.established, error);
        *ledger.connections[number].fate(!self.server) = Fate::Closed(error);
    }

    fn forget_id(&mut self, id: FlowId) {
        if self.stale.len() == STALE {
            self.stale.remove(0);
        }
        self.stale.push(id);
    }

    /// Continues the flows whose pause has ended.
    fn wake(&mut self, ledger: &mut Ledger) -> bool {
        let now = ledger.now;
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        let due: Vec<FlowId> = self
            .flows
            .iter()
            .filter(|(_, flow)| is_due(flow.read_at) || is_due(flow.write_at))
            .map(|(&id, _)| id)
            .collect();
        for &id in &due {
            let flow = self.flows.get_mut(&id).expect("just seen");
            if is_due(flow.write_at) {
                flow.write_at = None;
            }
            if is_due(flow.read_at) {
                flow.read_at = None;
                if flow.number.is_none() {
                    self.give_up(id, ledger);
                    continue;
                }
            }
            self.work(id, ledger);
        }
        !due.is_empty()
    }

    /// Resets a flow whose peer has gone.
    pub fn give_up(&mut self, id: FlowId, ledger: &mut Ledger) {
        ledger.trace.note("gives up", bits(id), self.index as u64);
        self.abort(id, ledger);
    }

    fn abort(&mut self, id: FlowId, ledger: &mut Ledger) {
        let flow = self.flows.remove(&id);
        self.stack.abort(id);
        self.forget_id(id);
        if let Some(number) = flow.and_then(|flow| flow.number) {
            *ledger.connections[number].fate(!self.server) = Fate::Aborted;
        }
    }

    fn release(&mut self, id: FlowId, ledger: &mut Ledger) {
        let Some(flow) = self.flows.remove(&id) else {
            return;
        };
        let complete = flow.end && self.stack.received(id) == 0;
        self.stack.release(id);
        self.forget_id(id);
        if let Some(number) = flow.number {
            ledger
                .trace
                .note("releases", number as u64, u64::from(complete));
            let connection = &mut ledger.connections[number];
            connection.half(!self.server).done = true;
            *connection.fate(!self.server) = Fate::Released(ledger.now, complete);
        }
    }

    /// Reads the number of a server's connection from its stream.
    fn identify(&mut self, id: FlowId, ledger: &mut Ledger) {
        let unknown = |flow: &Flow| flow.number.is_none();
        if !self.flows.get(&id).is_some_and(unknown) {
            return;
        }
        let Some(number) = self.peek(id) else { return };
        let connection = ledger.connections.get_mut(number);
        let connection = connection.unwrap_or_else(|| panic!("{id}: connection {number}"));
        assert_eq!(
            connection.server,
            Fate::None,
            "connection {number} reached the server twice"
        );
        assert_eq!(
            connection.from,
            self.stack.peer(id),
            "connection {number} comes from elsewhere"
        );
        connection.server = Fate::Open;
        let flow = self.flows.get_mut(&id).expect("just seen");
        flow.number = Some(number);
        flow.read_at = None;
        ledger.trace.note("is connection", bits(id), number as u64);
    }

    pub fn is_idle(&self) -> bool {
        self.flows.is_empty()
    }

    /// The local ends of its flows, for the attacker.
    pub fn ends_of(&self, nth: u64) -> Option<(SocketAddr, SocketAddr)> {
        let nth = nth as usize % self.flows.len().max(1);
        let id = *self.flows.keys().nth(nth)?;
        Some((self.stack.local(id)?, self.stack.peer(id)?))
    }
}

impl Flow {
    fn new(number: Option<usize>, now: Time) -> Self {
        Self {
            number,
            established: false,
            end: false,
            finished: false,
            blocked: false,
            left: false,
            sent: 0,
            read: 0,
            stalled: false,
            read_at: None,
            write_at: None,
            progress: now,
        }
    }
}

fn bits(id: FlowId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index)
}

/// A text for the trace.
fn describe(flags: EventFlags) -> &'static str {
    let closed = flags.contains(EventFlags::CLOSED);
    let opened = flags.contains(EventFlags::ACCEPTED) || flags.contains(EventFlags::CONNECTED);
    match (
        opened,
        closed,
        flags.contains(EventFlags::END),
        flags.contains(EventFlags::DATA),
    ) {
        (true, true, ..) => "event: opened, closed",
        (true, _, true, _) => "event: opened, end",
        (true, _, _, true) => "event: opened, data",
        (true, ..) => "event: opened",
        (_, true, true, _) => "event: end, closed",
        (_, true, ..) => "event: closed",
        (_, _, true, true) => "event: data, end",
        (_, _, true, _) => "event: end",
        (_, _, _, true) => "event: data",
        _ => "event: space",
    }
}
