//! What `hioload serve` runs: the settings with their defaults, checked against this machine.

use std::net::SocketAddr;

use hioload_lcore::topology::Topology;
use hioload_ws::deflate::{DeflateConfig, Sharing};
use hioload_ws::{
    Config, Hosts, Lcores, Limits, Networks, Origins, Proxies, ProxyProtocol, RealIpHeader,
    ServerOptions, SocketOptions, Tunables,
};

use super::Settings;
use super::apply::{bytes, set, span, within};
use super::bypass::{self, BypassSettings};
use super::sections::{
    AfXdpArgs, DeflateArgs, DpdkArgs, EngineArgs, LimitArgs, ServerArgs, SocketArgs,
};
use super::tls::TlsSettings;
use super::values::{
    AllowHost, AllowOrigin, Control, Deflate, ListenOn, LogFilter, LogFormat, NetworkValue, Size,
    TransportKind, TrustedProxy,
};
use crate::Failure;

/// Everything `hioload serve` needs to run.
#[derive(Debug)]
pub(crate) struct ServeConfig {
    /// The engine's options.
    pub server: ServerOptions,
    /// The sockets of systemd to listen on besides: all, or those of a name.
    pub systemd: Vec<Option<String>>,
    /// Whether the operator chose the listeners.
    pub listen_set: bool,
    /// The group of the files of Unix sockets.
    pub unix_group: Option<String>,
    /// The transport.
    pub transport: TransportKind,
    /// For transports with user-space TCP.
    pub bypass: BypassSettings,
    /// For af-xdp.
    pub af_xdp: AfXdpArgs,
    /// For dpdk.
    #[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
    pub dpdk: DpdkArgs,
    /// TLS.
    pub tls: TlsSettings,
    /// The path of the control socket.
    pub control: Control,
    /// Whether `/stats` is served.
    pub stats: bool,
    /// The log records to write.
    pub log: LogFilter,
    /// Their format.
    pub log_format: LogFormat,
    /// Whether the operator chose `max_connections`.
    pub max_connections_set: bool,
}

impl ServeConfig {
    /// Fills in the defaults.
    pub(crate) fn new(settings: Settings) -> Self {
        let max_connections_set = settings.limits.max_connections.is_some();
        let config = start_config(tunables(&settings), &settings.engine);
        let Settings {
            server,
            sockets,
            bypass,
            af_xdp,
            dpdk,
            tcp,
            tls,
            log,
            ..
        } = settings;
        let mut tls = TlsSettings::new(tls);
        tls.handshake_timeout(config.tunables.limits.handshake_timeout);
        let mut socket_options = sockets_from(&sockets);
        if let Some(huge_pages) = server.huge_pages {
            socket_options.huge_pages = huge_pages;
        }

        let wanted = server.listen.unwrap_or_default();
        let listen_set = !wanted.is_empty();
        let (mut listen, mut systemd) = (Vec::new(), Vec::new());
        for wanted in wanted {
            match wanted {
                ListenOn::Socket(socket) => listen.push(socket),
                ListenOn::Systemd(name) => systemd.push(name),
            }
        }
        if !listen_set {
            listen.push(SocketAddr::from(([127, 0, 0, 1], 9001)).into());
        }
        let lcores = server.lcores.map_or(Lcores::Auto, |lcores| lcores.0);
        let mut options = ServerOptions::new()
            .lcores(lcores)
            .config(config)
            .sockets(socket_options);
        options.listen = listen;
        Self {
            server: options,
            systemd,
            listen_set,
            unix_group: sockets.unix_group.and_then(|group| group.0),
            transport: server.transport.unwrap_or(TransportKind::Sockets),
            bypass: BypassSettings::new(bypass, &tcp),
            af_xdp,
            dpdk,
            tls,
            control: server.control.unwrap_or(Control::Auto),
            stats: server.stats.unwrap_or(false),
            log: log.log.unwrap_or_else(|| LogFilter("info".to_owned())),
            log_format: log.log_format.unwrap_or(LogFormat::Text),
            max_connections_set,
        }
    }

    /// The checks that need more than one setting: that settings agree, and that the CPUs exist.
    ///
    /// # Errors
    /// Code 2, and the flag to change.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.transport != TransportKind::Sockets && !self.systemd.is_empty() {
            return Err(Failure::usage(
                "--listen systemd needs --transport sockets: user-space TCP has no sockets of the kernel",
            ));
        }
        bypass::check(
            self.transport,
            &self.bypass,
            &self.af_xdp,
            &self.server.listen,
        )?;
        check_proxies(&self.server.config.tunables.proxies)?;
        self.tls.check()?;
        let Lcores::Cpus(wanted) = &self.server.lcores else {
            return Ok(());
        };
        let topology = Topology::detect();
        let allowed: Vec<usize> = topology.cpus().iter().map(|cpu| cpu.id).collect();
        let Some(missing) = wanted.iter().find(|cpu| !allowed.contains(cpu)) else {
            return Ok(());
        };
        let allowed: Vec<String> = allowed.iter().map(usize::to_string).collect();
        Err(Failure::usage(format!(
            "--lcores: CPU {missing} does not exist or is not allowed to this process, which may use {}",
            allowed.join(",")
        )))
    }

    /// Settings that are allowed and probably a mistake.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let limits = &self.server.config.tunables.limits;
        let mut warnings = Vec::new();
        if !limits.ping_interval.is_zero()
            && !limits.idle_timeout.is_zero()
            && limits.ping_interval >= limits.idle_timeout
        {
            warnings.push(
                "ping_interval is not below idle_timeout: idle connections are closed without a Ping",
            );
        }
        if limits.reassembly_memory / 4 < limits.max_message {
            warnings.push("reassembly_memory is below four times max_message: the largest messages are refused with 1013, since one connection may use a quarter of it");
        }
        warnings.extend(self.tls.warning());
        warnings
    }
}

fn networks(list: Option<&[NetworkValue]>) -> Networks {
    let list = list.unwrap_or_default();
    list.iter().filter_map(|network| network.0).collect()
}

/// One `*` among them allows any origin.
fn origins(list: Option<&[AllowOrigin]>) -> Origins {
    let list = list.unwrap_or_default();
    if list.contains(&AllowOrigin::Any) {
        return Origins::any();
    }
    let add = |origins: Origins, origin: &AllowOrigin| match origin {
        AllowOrigin::Only(origin) => origins.and(origin.as_str()),
        AllowOrigin::Same | AllowOrigin::Any => origins,
    };
    list.iter().fold(Origins::same(), add)
}

/// One `*` among them allows any name.
fn hosts(list: Option<&[AllowHost]>) -> Hosts {
    let list = list.unwrap_or_default();
    if list.contains(&AllowHost::Any) {
        return Hosts::any();
    }
    let add = |hosts: Hosts, host: &AllowHost| match host {
        AllowHost::Only(name) => hosts.and(name.as_str()),
        AllowHost::Auto | AllowHost::Any => hosts,
    };
    list.iter().fold(Hosts::default(), add)
}

fn proxies(args: &ServerArgs) -> Proxies {
    let list = args.trusted_proxies.as_deref().unwrap_or_default();
    let networks = list.iter().filter_map(|proxy| match proxy {
        TrustedProxy::In(network) => Some(*network),
        TrustedProxy::Unix | TrustedProxy::None => None,
    });
    Proxies::new()
        .trusted(networks.collect())
        .trust_unix(list.contains(&TrustedProxy::Unix))
        .protocol(args.proxy_protocol.unwrap_or_default())
        .header(args.real_ip_header.unwrap_or_default())
}

/// A statement about a client is believed only if somebody is trusted to make it.
fn check_proxies(proxies: &Proxies) -> Result<(), Failure> {
    if proxies.trust_unix || !proxies.trusted.is_empty() {
        return Ok(());
    }
    let flag = if proxies.protocol != ProxyProtocol::Off {
        "--proxy-protocol"
    } else if proxies.header != RealIpHeader::None {
        "--real-ip-header"
    } else {
        return Ok(());
    };
    Err(Failure::usage(format!(
        "{flag} needs the networks of the proxies: --trusted-proxies"
    )))
}

fn limits_from(args: &LimitArgs) -> Limits {
    let mut limits = Limits::default();
    set! {
        limits.max_connections => within(args.max_connections);
        limits.max_connections_per_source => args.max_connections_per_source;
        limits.connection_rate_per_source => args.connection_rate_per_source;
        limits.source_factor_56 => args.source_factor_56;
        limits.source_factor_48 => args.source_factor_48;
        limits.accept_rate => args.accept_rate;
        limits.handshake_timeout => span(within(args.handshake_timeout));
        limits.max_handshake => bytes(args.max_handshake);
        limits.max_message => bytes(args.max_message);
        limits.max_fragments => within(args.max_fragments);
        limits.message_timeout => span(args.message_timeout);
        limits.message_min_rate => args.message_min_rate.map(|size| size.0);
        limits.reassembly_memory => bytes(args.reassembly_memory);
        limits.published_memory => bytes(args.published_memory);
        limits.send_queue => bytes(args.send_queue);
        limits.send_policy => args.send_policy;
        limits.publish_policy => args.publish_policy;
        limits.send_timeout => span(args.send_timeout);
        limits.message_rate => args.message_rate;
        limits.ping_interval => span(args.ping_interval);
        limits.idle_timeout => span(args.idle_timeout);
        limits.max_lifetime => span(args.max_lifetime);
        limits.close_timeout => span(within(args.close_timeout));
        limits.max_subscriptions => args.max_subscriptions;
        limits.subscription_bytes => bytes(args.subscription_bytes);
        limits.mailbox_bytes => bytes(args.mailbox_bytes);
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
        config.max => args.deflate_max.map(|size| size.0);
        config.mem_level => within(args.deflate_mem_level);
        config.server_max_window_bits => within(args.deflate_server_window_bits);
        config.client_max_window_bits => within(args.deflate_client_window_bits);
        config.server_no_context_takeover => args.deflate_server_no_context_takeover;
        config.client_no_context_takeover => args.deflate_client_no_context_takeover;
    }
    Some(config)
}

/// The settings that can change while the server runs: those that [`Change`](super::declaration::Change) calls `Running` or
/// `UpToStart`.
pub(super) fn tunables(settings: &Settings) -> Tunables {
    let Settings {
        server,
        drain,
        engine,
        ..
    } = settings;
    let mut tunables = Tunables::default();
    tunables.limits = limits_from(&settings.limits);
    tunables.allow = networks(server.allow.as_deref());
    tunables.deny = networks(server.deny.as_deref());
    tunables.origins = origins(server.allow_origin.as_deref());
    tunables.hosts = hosts(server.allow_host.as_deref());
    tunables.proxies = proxies(server);
    tunables.deflate = deflate_from(&settings.deflate);
    set! {
        tunables.idle => server.idle;
        tunables.drain_jitter => span(drain.drain_jitter);
        tunables.drain_deadline => span(drain.drain_deadline);
        tunables.turn_events => within(engine.turn_events);
        tunables.turn_messages => within(engine.turn_messages);
        tunables.turn_time => span(engine.turn_time);
        tunables.visit_time => span(engine.visit_time);
        tunables.watchdog => span(engine.watchdog);
    }
    tunables
}

/// The settings of the engine that are fixed at start, with the tunables to start with.
fn start_config(tunables: Tunables, args: &EngineArgs) -> Config {
    let mut config = Config::new(tunables);
    set! {
        config.executor_threads => within(args.executor_threads);
        config.executor_queue => within(args.executor_queue);
        config.mailbox => within(args.mailbox);
        config.subscription_memory => bytes(args.subscription_memory);
    }
    config
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
    options.unix_mode = args.unix_mode.and_then(|mode| mode.0);
    let size = |size: Option<Size>| size.map(|size| size.0).filter(|bytes| *bytes > 0);
    options.recv_buffer = size(args.recv_buffer);
    options.send_buffer = size(args.send_buffer);
    options
}
