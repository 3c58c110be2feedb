//! A server: its lcores, each with its own transport, and the handle that stops it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use hioload_lcore::{Clock, Time, Topology, pin_to};
use hioload_transport::layer::{Layer, Layered};
use hioload_transport::sockets::{BoundListener, Listen, SocketOptions, Sockets};
use hioload_transport::{Endpoint, ParseEndpointError, Transport};

use crate::config::{Config, MAX_LCORES};
use crate::core::LcoreInit;
use crate::counters::{CountersHandle, Totals};
use crate::executor::{Executor, Workers};
use crate::group::prepare;
use crate::handler::Handler;
use crate::heartbeat::Step;
use crate::lcore::Lcore;
use crate::remote::Remote;
use crate::server_errors::{RunError, StartError};
use crate::watchdog::Watchdog;

/// The lcores to run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Lcores {
    /// Over sockets, one for each CPU that this process may use; the CPU quota of a container counts. Over the queues of a
    /// port, one for each queue, on CPUs of the port's NUMA node if there are enough.
    #[default]
    Auto,
    /// This many, pinned to the CPUs this process may use: node by node, whole cores before their second hyperthreads.
    /// Unpinned if there are more of them than CPUs.
    Count(usize),
    /// One pinned to each of these CPUs.
    Cpus(Vec<usize>),
}

impl From<usize> for Lcores {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl From<Vec<usize>> for Lcores {
    fn from(cpus: Vec<usize>) -> Self {
        Self::Cpus(cpus)
    }
}

/// The number, CPU and NUMA node of an lcore, for the function that makes its transport.
#[derive(Debug, Clone, Copy)]
pub struct LcorePlacement {
    /// The number of the lcore, from 0.
    pub lcore: u16,
    /// The CPU it is pinned to, if any.
    pub cpu: Option<usize>,
    /// That CPU's NUMA node, where there are several.
    pub node: Option<u32>,
    /// Now, on the lcore's clock.
    pub now: Time,
}

/// Makes the transport of one lcore: called once, on the lcore's thread and CPU, so that its allocations are local.
pub type MakeTransport<T> = Box<dyn FnOnce(LcorePlacement) -> Result<T, StartError> + Send>;

/// The options of a server over sockets.
///
/// ```
/// use hioload_engine::ServerOptions;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ServerOptions::new().listen("127.0.0.1:9001")?.lcores(2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// What to listen on. May be empty: a client has no listeners.
    pub listen: Vec<Listen>,
    /// The lcores.
    pub lcores: Lcores,
    /// The engine's configuration.
    pub config: Config,
    /// The sockets' configuration. `max_connections` and `send_queue` are set from `config`; `node`, where it is `None`, is
    /// that of each lcore's CPU.
    pub sockets: SocketOptions,
}

impl ServerOptions {
    /// No listeners, an lcore for each CPU ([`Lcores::default`]), and default configurations.
    pub fn new() -> Self {
        Self::default()
    }
    /// Listens on one more endpoint: `:PORT` (every address, IPv4 and IPv6), `ADDR:PORT`, `[IPV6]:PORT`, `NAME:PORT` or
    /// `unix:PATH`. [`Listen`] says what each takes.
    ///
    /// # Errors
    /// The text is none of these.
    pub fn listen(self, endpoint: &str) -> Result<Self, ParseEndpointError> {
        Ok(self.listen_on(endpoint.parse::<Listen>()?))
    }
    /// Listens on one more endpoint, or on a socket that listens already.
    pub fn listen_on(mut self, endpoint: impl Into<Listen>) -> Self {
        self.listen.push(endpoint.into());
        self
    }
    /// Sets the lcores: a count, a list of CPUs, or an [`Lcores`].
    pub fn lcores(mut self, lcores: impl Into<Lcores>) -> Self {
        self.lcores = lcores.into();
        self
    }
    /// Sets the engine's configuration.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }
    /// Sets the sockets' configuration.
    pub fn sockets(mut self, sockets: SocketOptions) -> Self {
        self.sockets = sockets;
        self
    }
}

/// A server whose lcores do not run yet; over sockets, its addresses are bound.
pub struct Server<T: Transport = Sockets> {
    config: Arc<Config>,
    /// One for each lcore; `None` is not pinned.
    cpus: Vec<Option<usize>>,
    /// By lcore.
    transports: Vec<MakeTransport<T>>,
    endpoints: Vec<Endpoint>,
    counters: CountersHandle,
}

impl<T: Transport> fmt::Debug for Server<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}

impl Server<Sockets> {
    /// Binds every address for every lcore.
    pub fn bind(options: ServerOptions) -> Result<Self, StartError> {
        let cpus = choose_cpus(&options.lcores)?;
        let lcores = cpus.len();
        let mut listeners: Vec<Vec<BoundListener>> = (0..lcores).map(|_| Vec::new()).collect();
        let mut endpoints = Vec::new();
        for listen in &options.listen {
            let failed = |e| StartError::Listen(listen.clone(), e);
            let bound = listen.bind(lcores, &options.sockets).map_err(failed)?;
            for (addr, error) in bound.skipped {
                tracing::warn!("{listen}: cannot listen on {addr}: {error}");
            }
            endpoints.extend(bound.endpoints);
            for (all, more) in listeners.iter_mut().zip(bound.lcores) {
                all.extend(more);
            }
        }
        let sockets = options
            .sockets
            .max_connections(options.config.slots())
            .send_queue(options.config.send_bound());
        let transports = listeners.into_iter().map(|listeners| {
            let sockets = sockets.clone();
            let make = move |placement: LcorePlacement| {
                let node = sockets.node.or(placement.node);
                let sockets = sockets.node(node);
                Sockets::new(&sockets, listeners)
                    .map_err(|e| StartError::System("set up the sockets transport", e))
            };
            Box::new(make) as MakeTransport<Sockets>
        });
        let transports = transports.collect();
        Ok(Self::over(options.config, cpus, endpoints, transports))
    }
}

impl<T: Transport + 'static> Server<T> {
    /// A server with an lcore for each of `transports`. [`Config::slots`] and [`Config::send_bound`] say what each must
    /// have room for; `endpoints` are the endpoints that they listen on.
    ///
    /// # Errors
    /// The numbers of lcores and of transports differ, or a CPU is not allowed to this process.
    pub fn on(
        config: Config,
        lcores: &Lcores,
        endpoints: Vec<Endpoint>,
        transports: Vec<MakeTransport<T>>,
    ) -> Result<Self, StartError> {
        let cpus = match lcores {
            Lcores::Auto => choose_cpus(&Lcores::Count(transports.len()))?,
            chosen => choose_cpus(chosen)?,
        };
        if cpus.len() != transports.len() {
            return Err(StartError::LcoreCount(transports.len()));
        }
        Ok(Self::over(config, cpus, endpoints, transports))
    }

    /// The same server with a layer, such as TLS, above each transport. `make` builds the layer of an lcore on its thread.
    pub fn layered<L: Layer + 'static>(
        self,
        make: impl Fn(LcorePlacement) -> L + Clone + Send + 'static,
    ) -> Server<Layered<T, L>> {
        let transports = self.transports.into_iter().map(|below| {
            let make = make.clone();
            let make = move |placement| Ok(Layered::new(below(placement)?, make(placement)));
            Box::new(make) as MakeTransport<Layered<T, L>>
        });
        Server {
            transports: transports.collect(),
            counters: CountersHandle::new::<Layered<T, L>>(self.cpus.len()),
            config: self.config,
            cpus: self.cpus,
            endpoints: self.endpoints,
        }
    }

    fn over(
        config: Config,
        cpus: Vec<Option<usize>>,
        endpoints: Vec<Endpoint>,
        transports: Vec<MakeTransport<T>>,
    ) -> Self {
        Self {
            config: Arc::new(config),
            counters: CountersHandle::new::<T>(cpus.len()),
            cpus,
            transports,
            endpoints,
        }
    }

    /// The endpoints that it listens on, with the assigned port in place of 0.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The number of lcores.
    pub fn lcores(&self) -> usize {
        self.cpus.len()
    }

    /// The counters, for a handler that shows them.
    pub fn counters(&self) -> CountersHandle {
        self.counters.clone()
    }

    /// Starts the lcores. `make` builds each one's handler, on its thread.
    pub fn start<H: Handler>(
        self,
        make: impl Fn(u16) -> H + Send + Sync + 'static,
    ) -> Result<Running<H::Event>, StartError> {
        let (executor, workers) =
            Executor::start(self.config.executor_threads, self.config.executor_queue)
                .map_err(|e| StartError::System("start the executor", e))?;
        let (inits, remote) = prepare(&self.config, &self.counters, &executor, H::event_bytes);
        let lcores = inits.len();
        let make = Arc::new(make);
        let (ready, started) = mpsc::channel();
        let (done, ended) = mpsc::channel();
        let mut threads = Vec::new();
        for ((init, cpu), transport) in inits.into_iter().zip(self.cpus).zip(self.transports) {
            let n = init.lcore;
            let (make, ready) = (Arc::clone(&make), ready.clone());
            let done = done.clone();
            let run = move || {
                let counters = Arc::clone(&init.counters);
                let run = || run_lcore(init, cpu, transport, &*make, ready);
                let result = catch_unwind(AssertUnwindSafe(run));
                counters.heartbeat.enter(Step::Ended);
                // The receiver is gone if another lcore failed to start.
                let _ = done.send(result.unwrap_or(Err(RunError::Panic(n))));
            };
            let thread = thread::Builder::new()
                .name(format!("lcore-{n}"))
                .spawn(run)
                .map_err(|e| StartError::System("start an lcore", e))?;
            threads.push(thread);
        }
        drop(ready);
        let mut running = Running {
            remote,
            threads,
            ended,
            workers,
            watchdog: None,
        };
        // The workers end only when every executor handle is dropped, so this one is dropped here.
        drop(executor);
        for result in started.iter().take(lcores) {
            if let Err(e) = result {
                running.remote.stop_now();
                let _ = running.join();
                return Err(e);
            }
        }
        // A start may take long: memory is reserved, devices are opened.
        match Watchdog::start(running.remote(), &self.counters) {
            Ok(watchdog) => running.watchdog = Some(watchdog),
            Err(e) => {
                running.remote.stop_now();
                let _ = running.join();
                return Err(StartError::System("start the watchdog", e));
            }
        }
        Ok(running)
    }
}

fn run_lcore<T: Transport, H: Handler>(
    init: LcoreInit<H::Event>,
    cpu: Option<usize>,
    transport: MakeTransport<T>,
    make: &(impl Fn(u16) -> H + Send + Sync),
    ready: mpsc::Sender<Result<(), StartError>>,
) -> Result<(), RunError> {
    let n = init.lcore;
    // Pinned first, so that the memory it allocates and touches is local to its node.
    if let Some(cpu) = cpu
        && pin_to(cpu).is_err()
    {
        tracing::warn!(
            lcore = n,
            cpu,
            "cannot pin the lcore to its CPU; it runs unpinned"
        );
    }
    let mut clock = Clock::new();
    let placement = LcorePlacement {
        lcore: n,
        cpu,
        node: cpu.and_then(|cpu| Topology::detect().node_of(cpu)),
        now: clock.tick(),
    };
    let io = match transport(placement) {
        Ok(io) => io,
        Err(e) => {
            let _ = ready.send(Err(e));
            return Ok(());
        }
    };
    let lcore = Lcore::new(io, make(n), init, clock.tick());
    let _ = ready.send(Ok(()));
    // The starting thread waits until each lcore has reported or dropped its sender: an lcore that panics reports nothing.
    drop(ready);
    lcore.run(&mut clock).map_err(|e| RunError::Io(n, e))
}

fn choose_cpus(lcores: &Lcores) -> Result<Vec<Option<usize>>, StartError> {
    let allowed = Topology::detect().placement();
    let pinned = |n: usize| match allowed.get(..n) {
        Some(cpus) => cpus.iter().copied().map(Some).collect(),
        None => vec![None; n.min(MAX_LCORES + 1)],
    };
    let cpus: Vec<Option<usize>> = match lcores {
        Lcores::Auto => pinned(thread::available_parallelism().map_or(1, usize::from)),
        Lcores::Count(n) => pinned(*n),
        Lcores::Cpus(cpus) => {
            if let Some(cpu) = cpus.iter().find(|cpu| !allowed.contains(cpu)) {
                return Err(StartError::Cpu(*cpu));
            }
            cpus.iter().copied().map(Some).collect()
        }
    };
    match cpus.len() {
        1..=MAX_LCORES => Ok(cpus),
        n => Err(StartError::LcoreCount(n)),
    }
}

/// A server that runs.
pub struct Running<E> {
    remote: Remote<E>,
    threads: Vec<JoinHandle<()>>,
    ended: mpsc::Receiver<Result<(), RunError>>,
    workers: Workers,
    watchdog: Option<Watchdog>,
}

impl<E> fmt::Debug for Running<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("lcores", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl<E: Send> Running<E> {
    /// A handle for other threads.
    pub fn remote(&self) -> Remote<E> {
        self.remote.clone()
    }

    /// Waits until every lcore has ended, and the executor's jobs with them. If one fails, the others are stopped.
    pub fn join(self) -> Result<Totals, RunError> {
        let mut failure = None;
        for _ in 0..self.threads.len() {
            // Every thread reports how it ended, also after a panic.
            if let Ok(Err(e)) = self.ended.recv() {
                self.remote.stop_now();
                failure.get_or_insert(e);
            }
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        self.workers.join();
        drop(self.watchdog);
        match failure {
            None => Ok(self.remote.counters()),
            Some(e) => Err(e),
        }
    }
}
