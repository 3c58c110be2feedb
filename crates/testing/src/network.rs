//! The lcores of a server, with virtual time.

use std::cell::RefCell;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hioload_engine::{Config, Handler, ReconfigureError, Remote, Totals, Tunables};
use hioload_lcore::Time;
use hioload_transport::Endpoint;

use crate::client::Client;
use crate::protocol::Protocol;
use crate::upgrade::{HttpResponse, Upgrade};
use crate::upstream::Upstream;
use crate::world::{Lcores, World};

/// The lcores of a server on the thread of a test, each with its own instance of the handler, a clock that the test moves, and
/// any number of [`Client`]s.
///
/// Everything that a call causes has happened when it returns, on all lcores and at all clients, as far as it takes no time.
/// What takes time happens in [`advance`](Self::advance). Two runs of the same calls have the same result, as far as the handler
/// and the jitter of a drain allow it.
///
/// Each lcore has room for 4,096 connections at a time.
pub struct Network<H: Handler> {
    world: Rc<RefCell<Lcores<H>>>,
}

impl<H: Handler> Network<H> {
    /// Starts lcores with the handlers that `make` builds from their numbers. `make` takes a clone of the values that the test shares with
    /// its handlers, such as an `Rc<RefCell<_>>`: all of them run on this thread.
    ///
    /// Of the configuration, `executor_threads` counts only if it is 0: then every job is refused.
    ///
    /// # Panics
    /// `lcores` is 0.
    pub fn new(config: Config, lcores: usize, make: impl FnMut(u16) -> H) -> Self {
        let world = Lcores::new(config, lcores, make);
        Self {
            world: Rc::new(RefCell::new(world)),
        }
    }

    // Clients.

    /// A client of lcore 0 requests a WebSocket. [`Client::expect_open`] or [`Client::expect_refused`] states the expected response.
    #[track_caller]
    pub fn connect(&mut self, upgrade: impl Into<Upgrade>) -> Client {
        self.connect_to(0, upgrade)
    }

    /// A client of this lcore requests a WebSocket.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended. A value must not be written into a request.
    #[track_caller]
    pub fn connect_to(&mut self, lcore: usize, upgrade: impl Into<Upgrade>) -> Client {
        let upgrade = upgrade.into();
        let mut client = self.dial_from(lcore, upgrade.source);
        client.upgrade(upgrade);
        client
    }

    /// A TCP connection to this lcore on which the client has sent nothing.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended.
    #[track_caller]
    pub fn dial(&mut self, lcore: usize) -> Client {
        self.dial_from(lcore, None)
    }

    #[track_caller]
    fn dial_from(&mut self, lcore: usize, source: Option<SocketAddr>) -> Client {
        let end = self.world.borrow_mut().dial(lcore, source);
        Client::new(Rc::clone(&self.world) as Rc<RefCell<dyn World>>, end)
    }

    /// The response of this lcore to a plain GET request.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended, or it does not answer.
    #[track_caller]
    pub fn get(&mut self, lcore: usize, target: &str) -> HttpResponse {
        let mut client = self.dial(lcore);
        client.send_bytes(format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        client.expect_refused()
    }

    // Connections that handlers open.

    /// The lcores and endpoints of the connections that handlers open and that the test has neither accepted nor failed: by lcore,
    /// the oldest of each lcore first.
    pub fn connecting(&self) -> Vec<(usize, Endpoint)> {
        let connecting = self.world.borrow_mut().connecting();
        connecting
            .into_iter()
            .map(|(lcore, _, to)| (lcore, to))
            .collect()
    }

    /// The test plays the server of the first of [`connecting`](Self::connecting): TCP connects, and the request arrives.
    ///
    /// # Panics
    /// No handler opens a connection.
    #[track_caller]
    pub fn accept(&mut self) -> Upstream {
        let end = {
            let mut world = self.world.borrow_mut();
            let (lcore, id) = world.end_connect(Ok(()));
            world.attach(lcore, id, Protocol::of_server())
        };
        Upstream::new(Client::new(
            Rc::clone(&self.world) as Rc<RefCell<dyn World>>,
            end,
        ))
    }

    /// The first of [`connecting`](Self::connecting) fails with this error, such as `ConnectionRefused`.
    ///
    /// # Panics
    /// No handler opens a connection.
    #[track_caller]
    pub fn fail_connect(&mut self, error: ErrorKind) {
        let mut world = self.world.borrow_mut();
        world.end_connect(Err(error));
        world.settle();
    }

    // Time.

    /// The time of the network. It starts at 1 s and changes by [`advance`](Self::advance) only.
    pub fn now(&self) -> Time {
        self.world.borrow().now
    }

    /// Moves the clock. Every timer on the way fires at its own time: timers of handlers, pings, idle timeouts, timeouts of
    /// handshakes, drains. Timers have a resolution of 1 ms.
    pub fn advance(&mut self, span: Duration) {
        self.world.borrow_mut().advance(span);
    }

    /// Runs everything that is left to do at the present time: needed after other threads have used a
    /// [`remote`](Self::remote), or after [`with_handler`](Self::with_handler) has changed something.
    pub fn settle(&mut self) {
        self.world.borrow_mut().settle();
    }

    // Jobs and events.

    /// Runs the jobs that wait for the executor, in the order in which handlers submitted them, and delivers their results.
    /// Returns their number. Jobs that these results lead to wait for the next call, as do results for a full mailbox.
    pub fn run_jobs(&mut self) -> usize {
        let mut world = self.world.borrow_mut();
        let ran = world.jobs.run();
        world.settle();
        ran
    }

    /// The number of jobs that wait.
    pub fn jobs_waiting(&self) -> usize {
        self.world.borrow().jobs.waiting()
    }

    /// Hands an event to the handler of an lcore, as another thread does.
    ///
    /// # Panics
    /// There is no such lcore, or its mailbox is full.
    #[track_caller]
    pub fn post(&mut self, lcore: u16, event: H::Event) {
        let mut world = self.world.borrow_mut();
        if world.remote.post(lcore, event).is_err() {
            panic!(
                "lcore {lcore} takes no event: there is none with this number, or its mailbox is full"
            );
        }
        world.settle();
    }

    /// The handle that other threads of a server have.
    pub fn remote(&self) -> Remote<H::Event> {
        self.world.borrow().remote.clone()
    }

    /// Begins a drain, as a server does after SIGTERM: each connection is closed with 1001 within `drain_jitter`, and reset at
    /// `drain_deadline`.
    pub fn drain(&mut self) {
        let mut world = self.world.borrow_mut();
        world.remote.drain();
        world.settle();
    }

    /// Ends all lcores at once. Every handler receives `on_close` for its connections.
    pub fn stop(&mut self) {
        let mut world = self.world.borrow_mut();
        world.remote.stop_now();
        world.settle();
    }

    /// Gives the lcores new tunables.
    ///
    /// # Errors
    /// A value exceeds a size that was chosen at start.
    pub fn reconfigure(&mut self, tunables: Tunables) -> Result<(), ReconfigureError> {
        let mut world = self.world.borrow_mut();
        world.remote.reconfigure(tunables)?;
        world.settle();
        Ok(())
    }

    // What has happened.

    /// The counters of all lcores.
    pub fn totals(&self) -> Totals {
        self.world.borrow().remote.counters()
    }

    /// The counters of an lcore.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended.
    #[track_caller]
    pub fn totals_of(&self, lcore: usize) -> Totals {
        self.world.borrow_mut().lcore(lcore).totals()
    }

    /// The number of open WebSockets of an lcore.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended.
    #[track_caller]
    pub fn connections(&self, lcore: usize) -> usize {
        self.world.borrow_mut().lcore(lcore).connections()
    }

    /// Lends the handler of an lcore to `f`.
    ///
    /// # Panics
    /// There is no such lcore, or it has ended.
    #[track_caller]
    pub fn with_handler<R>(&mut self, lcore: usize, f: impl FnOnce(&mut H) -> R) -> R {
        f(self.world.borrow_mut().lcore(lcore).handler())
    }

    /// Whether an lcore has ended: it was stopped, or all lcores have drained.
    pub fn has_ended(&self, lcore: usize) -> bool {
        self.world.borrow().has_ended(lcore)
    }
}

impl<H: Handler> fmt::Debug for Network<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("now", &self.now())
            .field("totals", &self.totals())
            .finish_non_exhaustive()
    }
}
