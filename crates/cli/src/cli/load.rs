//! The flags of `hioload load`.

pub(crate) mod attack;
pub(crate) mod output;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use hioload_attack::AttackPlan;
use hioload_loadgen::{Arrival, Dialect, Scenario, Sizes, Verify};

use self::attack::{AFTER_ATTACK, MessageArgs};
use self::output::{AFTER_OUTPUT, LoadCommand, OutputArgs};
use hioload_tcp::Cidr;

use crate::cli::LinkArgs;
use crate::cli::tls::ClientTlsArgs;
use crate::config::sections::{AfXdpArgs, BypassArgs, DpdkArgs};
use crate::config::values::{AtLeastOne, LcoreSet, Span, TransportKind, UpTo};

/// `hioload load`
#[derive(Args, Debug)]
#[command(after_help = format!("{AFTER_LOAD}\n\n{AFTER_ATTACK}\n\n{AFTER_OUTPUT}"), args_conflicts_with_subcommands = true)]
pub(crate) struct LoadArgs {
    /// A subcommand for existing reports.
    #[command(subcommand)]
    pub command: Option<LoadCommand>,
    /// ws://HOST[:PORT][/PATH], ws+unix:/SOCKET[:/PATH], or the same with wss for TLS; with --transport memory there is none, or only a /PATH
    pub url: Option<String>,
    /// echo, rate, ramp, hold, churn, fanout or bulk (below) [default: echo; rate beside an attack with messages]
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<Scenario>,
    /// Connections; with fanout, subscribers [default: 64; bulk 4, ramp and hold 10000, beside an attack with messages 32]
    #[arg(long, value_name = "N")]
    pub connections: Option<UpTo<u32, 16_777_216>>,
    /// Messages in flight on each connection [default: 1; rate 1024]
    #[arg(long, value_name = "K")]
    pub in_flight: Option<UpTo<u32, 65_536>>,
    /// With echo: messages in flight on all connections together; each has at most one, and they take turns
    #[arg(long, value_name = "K")]
    pub active: Option<UpTo<u32, 16_777_216>>,
    /// With echo: connections that stay open and send nothing
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub silent: u32,
    /// Bytes of messages: 64, 64..4096 (any of these), or 64:90,4096:10 (with weights) [default: 64; bulk 1MiB]
    #[arg(long, value_name = "SIZES")]
    pub size: Option<Sizes>,
    /// The rate per second over all connections: messages (rate), opens (ramp, churn), publications (fanout)
    /// [default with rate beside an attack with messages: 500]
    #[arg(long, value_name = "N")]
    pub rate: Option<Rate>,
    /// When the messages of an open loop are due: even or poisson
    #[arg(long, value_name = "NAME", default_value = "even")]
    pub arrival: Arrival,
    /// Time of the measurement
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub duration: AtLeastOne<Span>,
    /// Time before the measurement, which is not counted
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub warmup: Span,
    /// Number of runs
    #[arg(long, value_name = "N", default_value = "1")]
    pub repeat: UpTo<u32, 1000>,
    /// Lcores of the generator: a count, or CPUs (0,1 or 0-3,8 or cpu:3) [default: 1, on the last CPU]
    #[arg(long, value_name = "LCORES")]
    pub lcores: Option<LcoreSet>,
    /// Send text instead of binary messages
    #[arg(long)]
    pub text: bool,
    /// Frames of each message
    #[arg(long, value_name = "N", default_value = "1")]
    pub fragments: UpTo<u32, 65_536>,
    /// Offer permessage-deflate
    #[arg(long)]
    pub deflate: bool,
    /// What to compare of each reply: length (and order), or content, byte for byte
    #[arg(long, value_name = "WHAT", default_value = "content")]
    pub verify: Verify,
    /// The Origin to send
    #[arg(long)]
    pub origin: Option<String>,
    /// A subprotocol to offer; repeatable
    #[arg(long, value_name = "NAME")]
    pub protocol: Vec<String>,
    /// A header field to send, as "NAME: VALUE"; repeatable
    #[arg(long, value_name = "FIELD")]
    pub header: Vec<Header>,
    /// Time for a handshake, and for a reply
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub timeout: AtLeastOne<Span>,
    /// Connections that may fail before the run fails; a wrong reply always fails the run
    #[arg(long, value_name = "N", default_value = "0")]
    pub max_errors: u64,
    /// With churn: messages on each connection
    #[arg(long, value_name = "N", default_value = "1")]
    pub echoes: UpTo<u32, 1_000_000>,
    /// With fanout: publishers
    #[arg(long, value_name = "N", default_value = "1")]
    pub publishers: UpTo<u32, 65_536>,
    /// With fanout: topics, over which the subscribers are spread
    #[arg(long, value_name = "N", default_value = "1")]
    pub topics: UpTo<u32, 65_536>,
    /// With fanout: topics (hioload.topics.v1); plain: the server forwards every message to all connections;
    /// greeted: like plain, and the server sends each subscriber a message first
    #[arg(long, value_name = "NAME", default_value = "topics")]
    pub dialect: Dialect,
    /// With fanout: the path that publishers connect to [default: the path of the URL]
    #[arg(long, value_name = "PATH")]
    pub publish_path: Option<String>,
    /// Concurrent handshakes on each lcore [default: 128; memory 512]
    #[arg(long, value_name = "N")]
    pub opening: Option<UpTo<u32, 4096>>,
    /// An address of this machine to connect from; repeatable. Each has ports for about 28000 connections
    #[arg(long, value_name = "ADDR")]
    pub source: Vec<IpAddr>,
    /// The server process on this machine, whose CPU time and memory are reported
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// The transport: sockets; user-space TCP on the queues of a network interface (af-xdp) or of a DPDK port (dpdk);
    /// or memory: server and generator in this process, without a network
    #[arg(long, value_name = "NAME", default_value = "sockets")]
    pub transport: LoadTransport,
    /// An attack beside the load, as NAME[,KEY=VALUE...] (below); repeatable. The load runs twice, without and with it
    #[arg(long, value_name = "ATTACK")]
    pub attack: Vec<AttackPlan>,
    /// The network that attacks with packets come from [default: other ports of the load's addresses; memory 198.18.0.0/24]
    #[arg(long, value_name = "ADDR/PREFIX")]
    pub attack_source: Option<Cidr>,
    /// Allow attacks on a server whose address is not private
    #[arg(long)]
    pub i_own_the_target: bool,
    /// Texts of attacks with messages.
    #[command(flatten)]
    pub messages: MessageArgs,
    /// Record the packets of the run in this new pcapng file; with af-xdp, dpdk and memory, whose packets tcpdump does not see
    #[arg(long, value_name = "FILE")]
    pub tap: Option<PathBuf>,
    /// Output.
    #[command(flatten)]
    pub output: OutputArgs,
    /// How it speaks TLS.
    #[command(flatten)]
    pub tls: ClientTlsArgs,
    /// For transports with user-space TCP.
    #[command(flatten)]
    pub bypass: BypassArgs,
    /// For af-xdp.
    #[command(flatten)]
    pub af_xdp: AfXdpArgs,
    /// For dpdk.
    #[command(flatten)]
    pub dpdk: DpdkArgs,
}

/// The rate of a bystander of an attack with messages: modest.
const BYSTANDER_RATE: f64 = 500.0;

impl LoadArgs {
    /// Whether an attack sends messages over sockets.
    pub(crate) fn attacks_with_messages(&self) -> bool {
        self.attack.iter().any(AttackPlan::is_messages)
    }

    /// The scenario: the given one, or the default.
    pub(crate) fn scenario(&self) -> Scenario {
        let default = match self.attacks_with_messages() {
            true => Scenario::Rate,
            false => Scenario::Echo,
        };
        self.scenario.unwrap_or(default)
    }

    /// The rate: the given one, or that of a bystander.
    pub(crate) fn rate(&self) -> Option<f64> {
        let bystander = self.attacks_with_messages() && self.scenario() == Scenario::Rate;
        let default = bystander.then_some(BYSTANDER_RATE);
        self.rate.map(|rate| rate.0).or(default)
    }

    /// How the load reaches the network; `None` if there is none.
    pub(crate) fn link(&self) -> Option<LinkArgs> {
        match self.transport {
            LoadTransport::Memory => None,
            LoadTransport::Network(transport) => Some(LinkArgs {
                transport,
                bypass: self.bypass.clone(),
                af_xdp: self.af_xdp.clone(),
                dpdk: self.dpdk.clone(),
            }),
        }
    }
}

const AFTER_LOAD: &str = "\
Scenarios:
  echo    closed loop: each reply is followed by the next message
  rate    open loop: sends --rate messages per second when they are due, and measures from that time, so that a stall
          of the server is in the latencies
  ramp    opens --connections, as fast as possible or --rate per second
  hold    opens --connections and keeps them silent: measures memory per connection
  churn   opens, sends --echoes, closes, and repeats, on --connections at a time
  fanout  publishes to --connections subscribers, --in-flight publications at a time or --rate per second
  bulk    closed loop with large messages";

/// Messages per second: `20000`, `20k`, `1.5M`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub f64);

impl FromStr for Rate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = match text.strip_suffix(['k', 'K']) {
            Some(number) => (number, 1e3),
            None => match text.strip_suffix('M') {
                Some(number) => (number, 1e6),
                None => (text, 1.0),
            },
        };
        match number.parse::<f64>() {
            Ok(n) if n.is_finite() && (0.001..=1e9).contains(&(n * unit)) => Ok(Self(n * unit)),
            _ => Err("expected a rate per second (20000, 20k, 1.5M)"),
        }
    }
}

/// A header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header(pub String, pub String);

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() => {
                Ok(Self(name.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err("expected NAME: VALUE"),
        }
    }
}

/// The transport of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoadTransport {
    /// A network.
    Network(TransportKind),
    /// Devices in memory.
    Memory,
}

impl LoadTransport {
    /// Whether the kernel has the connections.
    pub(crate) fn is_sockets(self) -> bool {
        self == Self::Network(TransportKind::Sockets)
    }
}

impl fmt::Display for LoadTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(kind) => kind.fmt(f),
            Self::Memory => f.write_str("memory"),
        }
    }
}

impl FromStr for LoadTransport {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "memory" => Ok(Self::Memory),
            Ok(kind) => Ok(Self::Network(kind)),
            Err(_) => Err("expected sockets, af-xdp, dpdk or memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_fields() {
        for (text, rate) in [
            ("20000", 20e3),
            ("20k", 20e3),
            ("1.5M", 1.5e6),
            ("0.5", 0.5),
        ] {
            assert_eq!(text.parse(), Ok(Rate(rate)));
        }
        for bad in ["", "k", "-1", "0", "1e30", "nan", "inf"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
        assert_eq!("A: b: c".parse(), Ok(Header("A".into(), "b: c".into())));
        assert!(": b".parse::<Header>().is_err());
    }
}
