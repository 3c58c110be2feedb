//! From what was set to what is run: defaults filled in, checked against this machine.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use hioload_ws::deflate::{DeflateConfig, Sharing};
use hioload_ws::lcore::topology::Topology;
use hioload_ws::{Config, Endpoint, Lcores, Limits, ServerOptions, SocketOptions};

use super::Settings;
use super::af_xdp::AfXdp;
use super::bypass::BypassPlan;
use super::dpdk::Dpdk;
use super::sections::{DeflateArgs, DrainArgs, EngineArgs, LimitArgs, SocketArgs};
use super::values::{
    AllowOrigin, Control, Deflate, LcoreSet, LogFilter, LogFormat, Size, Span, TransportKind,
    Within,
};

/// Everything `hioload serve` needs to run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// For the engine.
    pub server: ServerOptions,
    /// What moves the bytes.
    pub transport: TransportKind,
    /// For transports with a TCP of our own.
    pub bypass: BypassPlan,
    /// For af-xdp.
    pub af_xdp: AfXdp,
    /// For dpdk.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub dpdk: Dpdk,
    /// Whether the operator chose the lcores.
    #[cfg_attr(not(bypass), allow(dead_code))]
    pub lcores_set: bool,
    /// Where the control socket is to be.
    pub control: Control,
    /// The origins to let in; none at all lets any in.
    pub origins: Vec<String>,
    /// Whether `/stats` is there.
    pub stats: bool,
    /// Which log records are wanted.
    pub log: LogFilter,
    /// How they look.
    pub log_format: LogFormat,
    /// Whether the operator chose `max_connections`.
    pub max_connections_set: bool,
}

impl Plan {
    /// Fills in the defaults.
    pub(crate) fn new(settings: Settings) -> Self {
        let Settings {
            server,
            limits,
            deflate,
            drain,
            sockets,
            bypass,
            af_xdp,
            dpdk,
            tcp,
            engine,
            log,
        } = settings;
        let max_connections_set = limits.max_connections.is_some();
        let mut config = Config {
            limits: limits_from(&limits),
            ..Config::default()
        };
        if let Some(idle) = server.idle {
            config.idle = idle;
        }
        config.deflate = deflate_from(&deflate);
        set_drain(&mut config, &drain);
        set_engine(&mut config, &engine);

        let mut socket_options = sockets_from(&sockets);
        if let Some(huge_pages) = server.huge_pages {
            socket_options.huge_pages = huge_pages;
        }

        let listen = match server.listen {
            Some(list) if !list.is_empty() => list.into_iter().map(|listen| listen.0).collect(),
            _ => vec![Endpoint::Tcp(SocketAddr::from(([127, 0, 0, 1], 9001)))],
        };
        let af_xdp = AfXdp::new(af_xdp);
        let mut bypass = BypassPlan::new(bypass, &tcp);
        bypass.stack.answers_for_addresses = !af_xdp.share_address;
        let lcores = server.lcores.unwrap_or(LcoreSet::All);
        let lcores_set = lcores != LcoreSet::All;
        let lcores = match lcores {
            LcoreSet::Some(lcores) => lcores,
            // Counts the affinity mask and the CPU quota of a container.
            LcoreSet::All => Lcores::Count(thread::available_parallelism().map_or(1, usize::from)),
        };
        let mut options = ServerOptions::new()
            .lcores(lcores)
            .config(config)
            .sockets(socket_options);
        options.listen = listen;
        Self {
            server: options,
            transport: server.transport.unwrap_or(TransportKind::Sockets),
            bypass,
            af_xdp,
            dpdk: Dpdk::new(dpdk),
            lcores_set,
            control: server.control.unwrap_or(Control::Auto),
            origins: origins_from(server.allow_origin),
            stats: server.stats.unwrap_or(false),
            log: log.log.unwrap_or_else(|| LogFilter("info".to_owned())),
            log_format: log.log_format.unwrap_or(LogFormat::Text),
            max_connections_set,
        }
    }

    /// Checks what parsing could not: that settings go together, and that the CPUs exist.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.transport {
            TransportKind::Sockets => (),
            TransportKind::AfXdp => self.af_xdp.check()?,
            TransportKind::Dpdk if self.af_xdp.share_address => {
                return Err(
                    "--share-address: a port of DPDK is ours alone; af-xdp can share".to_owned(),
                );
            }
            TransportKind::Dpdk => (),
        }
        if self.transport != TransportKind::Sockets {
            self.bypass.check(self.transport, &self.server.listen)?;
        }
        let Lcores::Cpus(wanted) = &self.server.lcores else {
            return Ok(());
        };
        let topology = Topology::detect();
        let allowed: Vec<usize> = topology.cpus().iter().map(|cpu| cpu.id).collect();
        match wanted.iter().find(|cpu| !allowed.contains(cpu)) {
            None => Ok(()),
            Some(missing) => {
                let allowed = allowed
                    .iter()
                    .map(usize::to_string)
                    .collect::<Vec<_>>()
                    .join(",");
                Err(format!(
                    "--lcores: CPU {missing} is not there or not allowed to this process, which has {allowed}"
                ))
            }
        }
    }

    /// Settings that are allowed but hardly meant.
    pub(crate) fn doubts(&self) -> Vec<&'static str> {
        let limits = &self.server.config.limits;
        let mut doubts = Vec::new();
        if !limits.ping_interval.is_zero()
            && !limits.idle_timeout.is_zero()
            && limits.ping_interval >= limits.idle_timeout
        {
            doubts.push(
                "ping_interval is not below idle_timeout: quiet connections are closed unasked",
            );
        }
        if limits.reassembly_memory < limits.max_message {
            doubts.push("reassembly_memory is below max_message: the largest messages are refused with 1013");
        }
        doubts
    }
}

/// `target` takes what `source` holds, if anything.
macro_rules! set {
    ($($target:expr => $source:expr;)*) => {
        $(if let Some(value) = $source { $target = value; })*
    };
}
pub(super) use set;

pub(super) fn bytes<const A: u64, const B: u64>(size: Option<Within<Size, A, B>>) -> Option<usize> {
    size.map(|size| size.0.0)
}

pub(super) fn within<T, const A: u64, const B: u64>(value: Option<Within<T, A, B>>) -> Option<T> {
    value.map(|value| value.0)
}

pub(super) fn span(span: Option<Span>) -> Option<Duration> {
    span.map(|span| span.0)
}

fn limits_from(args: &LimitArgs) -> Limits {
    let mut limits = Limits::default();
    set! {
        limits.max_connections => within(args.max_connections);
        limits.max_connections_per_source => args.max_connections_per_source;
        limits.accept_rate => args.accept_rate;
        limits.handshake_timeout => span(within(args.handshake_timeout));
        limits.max_handshake => bytes(args.max_handshake);
        limits.max_message => bytes(args.max_message);
        limits.max_fragments => within(args.max_fragments);
        limits.reassembly_memory => bytes(args.reassembly_memory);
        limits.published_memory => bytes(args.published_memory);
        limits.send_queue => bytes(args.send_queue);
        limits.send_policy => args.send_policy;
        limits.message_rate => args.message_rate;
        limits.ping_interval => span(args.ping_interval);
        limits.idle_timeout => span(args.idle_timeout);
        limits.max_lifetime => span(args.max_lifetime);
        limits.close_timeout => span(within(args.close_timeout));
        limits.max_subscriptions => args.max_subscriptions;
    }
    limits
}

fn deflate_from(args: &DeflateArgs) -> Option<DeflateConfig> {
    let sharing = match args.deflate.unwrap_or(Deflate::Shared) {
        Deflate::Off => return None,
        Deflate::Shared => Sharing::Shared,
        Deflate::Own => Sharing::Own,
    };
    let mut config = DeflateConfig::new(sharing);
    set! {
        config.level => within(args.deflate_level);
        config.threshold => args.deflate_threshold.map(|size| size.0);
        config.mem_level => within(args.deflate_mem_level);
        config.server_max_window_bits => within(args.deflate_server_window_bits);
        config.client_max_window_bits => within(args.deflate_client_window_bits);
        config.server_no_context_takeover => args.deflate_server_no_context_takeover;
        config.client_no_context_takeover => args.deflate_client_no_context_takeover;
    }
    Some(config)
}

fn set_drain(config: &mut Config, args: &DrainArgs) {
    set! {
        config.drain_jitter => span(args.drain_jitter);
        config.drain_deadline => span(args.drain_deadline);
    }
}

fn set_engine(config: &mut Config, args: &EngineArgs) {
    set! {
        config.executor_threads => within(args.executor_threads);
        config.executor_queue => within(args.executor_queue);
        config.mailbox => within(args.mailbox);
        config.turn_events => within(args.turn_events);
        config.turn_messages => within(args.turn_messages);
    }
}

fn sockets_from(args: &SocketArgs) -> SocketOptions {
    let mut options = SocketOptions::default();
    set! {
        options.backlog => within(args.backlog);
        options.nodelay => args.nodelay;
        options.rx_buffer => bytes(args.rx_buffer);
        options.tx_chunk => bytes(args.tx_chunk);
        options.tx_chunks => within(args.tx_chunks);
    }
    let size = |size: Option<Size>| size.map(|size| size.0).filter(|bytes| *bytes > 0);
    options.recv_buffer = size(args.recv_buffer);
    options.send_buffer = size(args.send_buffer);
    options
}

/// One that is "any" makes the others void.
fn origins_from(list: Option<Vec<AllowOrigin>>) -> Vec<String> {
    let only = list.into_iter().flatten().map(|origin| match origin {
        AllowOrigin::Any => None,
        AllowOrigin::Only(origin) => Some(origin),
    });
    only.collect::<Option<_>>().unwrap_or_default()
}
