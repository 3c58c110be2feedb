//! The lcores of a network and the clients' ends of its connections, and the loop that runs both until nothing is left to do.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hioload_engine::{Config, Group, Handler, Jobs, Lcore, Remote};
use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeEnd, FakeOptions};
use hioload_transport::{ConnId, Endpoint, Peer, Transport};

use crate::protocol::Protocol;
use crate::received::TcpState;

/// The time at which a network starts: not zero, so that a handler that confuses "never" with "at the start" fails.
const START: Time = Time::from_millis(1000);
/// Connections of one lcore at a time.
const MAX_CONNECTIONS: usize = 4096;
/// Rounds after which lcores that still have work are taken to be in a loop.
const MAX_ROUNDS: usize = 1000;
/// Rounds of a handler with `TURNS`, which may have work in every turn.
const ROUNDS_WITH_TURNS: usize = 8;

/// A client's end of a connection.
pub(crate) struct End {
    pub(crate) lcore: usize,
    pub(crate) id: ConnId,
    pub(crate) protocol: Protocol,
    pub(crate) tcp: TcpState,
    /// Whether it answers Pings and Closes, and ends its direction after the server's.
    pub(crate) answers: bool,
    /// Whether it has ended its direction.
    pub(crate) ended: bool,
}

/// The operations of a network that a client needs, independent of the handler.
pub(crate) trait World {
    /// Runs lcores and clients until nothing is left to do at the present time.
    fn settle(&mut self);

    /// The transport of an lcore; `None` after the lcore has ended.
    fn fake(&mut self, lcore: usize) -> Option<&mut Fake>;
}

/// The lcores and all ends of connections.
pub(crate) struct Lcores<H: Handler> {
    lcores: Vec<Option<Lcore<Fake, H>>>,
    ends: Vec<Rc<RefCell<End>>>,
    pub(crate) remote: Remote<H::Event>,
    pub(crate) jobs: Jobs,
    pub(crate) now: Time,
    next_port: u16,
}

impl<H: Handler> Lcores<H> {
    pub(crate) fn new(config: Config, lcores: usize, make: impl FnMut(u16) -> H) -> Self {
        assert!(lcores > 0, "a network has at least one lcore");
        let options = FakeOptions::default()
            .max_connections(config.slots().min(MAX_CONNECTIONS))
            .send_queue(config.send_bound());
        let fakes = (0..lcores).map(|_| Fake::new(&options).expect("memory for send buffers"));
        let Group {
            lcores,
            remote,
            jobs,
            ..
        } = Lcore::group(fakes, make, config, START);
        let mut world = Self {
            lcores: lcores.into_iter().map(Some).collect(),
            ends: Vec::new(),
            remote,
            jobs,
            now: START,
            next_port: 40_000,
        };
        world.settle();
        world
    }

    #[track_caller]
    pub(crate) fn lcore(&mut self, lcore: usize) -> &mut Lcore<Fake, H> {
        let lcores = self.lcores.len();
        match self.lcores.get_mut(lcore) {
            Some(Some(running)) => running,
            Some(None) => panic!("lcore {lcore} has ended"),
            None => panic!("there is no lcore {lcore}: the network has {lcores}"),
        }
    }

    pub(crate) fn has_ended(&self, lcore: usize) -> bool {
        self.lcores.get(lcore).is_some_and(Option::is_none)
    }

    /// A client connects to an lcore.
    #[track_caller]
    pub(crate) fn dial(&mut self, lcore: usize, source: Option<SocketAddr>) -> Rc<RefCell<End>> {
        let source = source.unwrap_or_else(|| {
            self.next_port = self.next_port.wrapping_add(1).max(1024);
            SocketAddr::from(([192, 0, 2, 1], self.next_port))
        });
        let id = self.lcore(lcore).transport().accept(Peer::Ip(source));
        self.attach(lcore, id, Protocol::new())
    }

    /// The connections that handlers open and that have no outcome: by lcore, the oldest of each first.
    pub(crate) fn connecting(&mut self) -> Vec<(usize, ConnId, Endpoint)> {
        let lcores = self.lcores.iter_mut().enumerate();
        let running = lcores.filter_map(|(n, lcore)| Some((n, lcore.as_mut()?)));
        let each = running.flat_map(|(n, lcore)| {
            let connecting = lcore.transport().connecting().into_iter();
            connecting.map(move |(id, to)| (n, id, to))
        });
        each.collect()
    }

    /// The first of the connections that handlers open has this outcome. Returns it.
    #[track_caller]
    pub(crate) fn end_connect(&mut self, outcome: Result<(), ErrorKind>) -> (usize, ConnId) {
        let Some((lcore, id, _)) = self.connecting().into_iter().next() else {
            panic!("no handler opens a connection");
        };
        self.lcore(lcore).transport().connect_outcome(id, outcome);
        (lcore, id)
    }

    /// The other end of a connection.
    pub(crate) fn attach(
        &mut self,
        lcore: usize,
        id: ConnId,
        protocol: Protocol,
    ) -> Rc<RefCell<End>> {
        let end = Rc::new(RefCell::new(End {
            lcore,
            id,
            protocol,
            tcp: TcpState::Open,
            answers: true,
            ended: false,
        }));
        self.ends.push(Rc::clone(&end));
        self.settle();
        end
    }

    /// Moves the clock, and stops at each timer on the way.
    pub(crate) fn advance(&mut self, span: Duration) {
        // The resolution of timers.
        const MIN_STEP: Duration = Duration::from_millis(1);
        // An lcore that throttles accepts has no timer for it.
        const ACCEPTS: Duration = Duration::from_millis(10);
        let throttled = self.remote.tunables().limits.accept_rate != 0;
        let until = self.now + span;
        self.settle();
        while self.now < until {
            let timers = self.lcores.iter().flatten().filter_map(Lcore::next_timer);
            let step = timers.chain(throttled.then_some(ACCEPTS)).min();
            let step = step.unwrap_or(span).max(MIN_STEP);
            self.now = (self.now + step).min(until);
            self.settle();
        }
    }

    /// Turns every lcore once. Returns whether there is more to do at the same time.
    fn turn_all(&mut self) -> bool {
        let mut more = false;
        for lcore in self.lcores.iter_mut().flatten() {
            let io = lcore.transport();
            io.wait(None).expect("a fake cannot fail to wait");
            more |= io.last_wait() == Some(Some(Duration::ZERO));
            lcore.turn(self.now);
        }
        more || self.lcores.iter().flatten().any(Lcore::has_work)
    }

    /// Lets the clients receive. Returns whether one of them has sent something.
    fn pump(&mut self) -> bool {
        let mut sent = false;
        for end in &self.ends {
            let end = &mut *end.borrow_mut();
            if let Some(lcore) = &mut self.lcores[end.lcore] {
                sent |= end.pump(lcore.transport());
            }
        }
        let ends = &mut self.ends;
        // The client holds the other reference to an end, and the protocol's state with it.
        ends.retain(|end| !matches!(end.borrow().tcp, TcpState::Closed | TcpState::Reset));
        sent
    }

    /// Ends the lcores whose loop would end. Returns whether there were any.
    fn finish_done(&mut self) -> bool {
        let mut any = false;
        for at in 0..self.lcores.len() {
            if let Some(lcore) = self.lcores[at].take_if(|lcore| lcore.is_done()) {
                lcore.finish();
                any = true;
                let ends = self.ends.iter().map(|end| end.borrow_mut());
                for mut end in ends.filter(|end| end.lcore == at && end.tcp != TcpState::Reset) {
                    end.tcp = TcpState::Closed;
                }
            }
        }
        any
    }
}

impl<H: Handler> World for Lcores<H> {
    fn settle(&mut self) {
        let mut quiet = 0;
        for round in 0..MAX_ROUNDS {
            if H::TURNS && round == ROUNDS_WITH_TURNS {
                return;
            }
            let busy = self.turn_all();
            let sent = self.pump();
            let ended = self.finish_done();
            // What a timer does is not work of the turn, so that the turn after it has to be seen too.
            quiet = if busy || sent || ended { 0 } else { quiet + 1 };
            if quiet == 2 {
                return;
            }
        }
        panic!(
            "the lcores still have work after {MAX_ROUNDS} turns at the same time: does a handler send itself events?"
        );
    }

    fn fake(&mut self, lcore: usize) -> Option<&mut Fake> {
        self.lcores.get_mut(lcore)?.as_mut().map(Lcore::transport)
    }
}

impl End {
    /// Receives the bytes that the server has sent. Returns whether the client has sent something.
    fn pump(&mut self, io: &mut Fake) -> bool {
        let mut answers = Vec::new();
        let bytes = io.sent(self.id);
        if !bytes.is_empty() {
            answers = self.protocol.receive(bytes);
        }
        self.tcp = match io.closed(self.id) {
            Some(FakeEnd::Closed) => TcpState::Closed,
            Some(FakeEnd::Reset) => TcpState::Reset,
            None if io.finished(self.id) => TcpState::Finished,
            None => TcpState::Open,
        };
        if !self.answers || self.ended {
            return false;
        }
        let mut sent = io.deliver(self.id, &answers);
        // RFC 6455 §7.1.1: the client waits for the server to close first.
        if self.tcp == TcpState::Finished || self.protocol.ends_tcp() {
            self.ended = true;
            sent |= io.end(self.id);
        }
        sent
    }
}
