//! The command line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) mod cert;
pub(crate) mod load;
pub(crate) mod tls;

use crate::Failure;
use crate::config::Settings;
use crate::config::declaration::Setting;
use crate::config::reference::settings;
use crate::config::sections::{AfXdpArgs, BypassArgs, DpdkArgs};
use crate::config::values::{
    AtLeastOne, EalArguments, LcoreSet, PeerFilter, ReferenceFormat, Size, Span, TransportKind,
    UpTo, Within,
};
use crate::streams;

/// A WebSocket data plane that owns its cores.
#[derive(Parser, Debug)]
#[command(
    name = "hioload",
    version,
    max_term_width = 110,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Serve WebSockets: /echo, /topics, /healthz, and a page to try them at /
    Serve(Box<ServeArgs>),
    /// Send messages to an echo server, and check and time the replies
    Connect(Box<ConnectArgs>),
    /// Load a server: closed and open loops, connection ramps, churn, fan-out; every reply is checked
    Load(Box<load::LoadArgs>),
    /// Check this machine for AF_XDP or DPDK, with a hint for each missing part
    Check(CheckArgs),
    /// Make certificates for development, and keys of session tickets
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// List the connections of a running server's user-space TCP, as ss -ti lists those of the kernel
    Flows(FlowsArgs),
    /// Record packets of a running server's user-space TCP, which tcpdump does not see
    #[command(subcommand)]
    Tap(TapCommand),
    /// Print the reference of the settings, as deploy/hioload.toml and docs/configuration.md hold it
    #[command(subcommand, hide = true)]
    Config(ConfigCommand),
}

/// `hioload config`
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigCommand {
    /// Print every setting with its default
    Reference {
        /// toml (deploy/hioload.toml) or markdown (docs/configuration.md)
        #[arg(long, value_name = "NAME", default_value = "toml")]
        format: ReferenceFormat,
    },
}

/// `hioload tap`
#[derive(Subcommand, Debug)]
pub(crate) enum TapCommand {
    /// Start recording
    Start(TapStartArgs),
    /// Stop recording, and print what was recorded
    Stop(TapStopArgs),
}

/// `hioload tap start`
#[derive(Args, Debug)]
pub(crate) struct TapStartArgs {
    /// The pcapng file that the server creates; it must not exist
    #[arg(long, value_name = "FILE")]
    pub file: PathBuf,
    /// Bytes kept of each packet
    #[arg(long, value_name = "N", default_value = "65535")]
    pub snaplen: UpTo<u32, 65535>,
    /// The largest file; recording stops at this size
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    pub max_size: AtLeastOne<Size>,
    /// The control socket of the server; needed if several servers run
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `hioload tap stop`
#[derive(Args, Debug)]
pub(crate) struct TapStopArgs {
    /// The control socket of the server; needed if several servers run
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

/// `hioload flows`
#[derive(Args, Debug)]
pub(crate) struct FlowsArgs {
    /// The control socket of the server; needed if several servers run
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Print one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// List only connections of this peer: ADDR, or ADDR:PORT
    #[arg(long, value_name = "ADDR")]
    pub peer: Option<PeerFilter>,
    /// Add the send window, congestion window and segment size; they cost the lcore milliseconds per connection
    #[arg(long)]
    pub details: bool,
}

/// `hioload serve`
#[derive(Args, Debug)]
#[command(after_help = AFTER_SERVE)]
pub(crate) struct ServeArgs {
    /// A TOML file with any of these settings; flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings, which the file can hold too.
    #[command(flatten)]
    pub settings: Settings,
}

const AFTER_SERVE: &str = "\
Sizes: 65536, 64KiB, 16MiB. Times: 500ms, 2s, 5m, 1h, or 0.
In the file, a flag is a key with underscores; `hioload config reference` prints a file with every key.
SIGTERM or SIGINT drains the connections and ends with code 0; a second signal ends the process at once.";

/// `hioload connect`
#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    /// ws://HOST[:PORT][/PATH], ws+unix:/SOCKET[:/PATH], or the same with wss for TLS
    pub url: String,
    /// Messages to send
    #[arg(long, value_name = "N", default_value = "1000")]
    pub count: AtLeastOne<u32>,
    /// Bytes of each message
    #[arg(long, value_name = "SIZE", default_value = "64")]
    pub size: Within<Size, 0, { 1 << 30 }>,
    /// Send text instead of binary messages
    #[arg(long)]
    pub text: bool,
    /// Offer permessage-deflate
    #[arg(long)]
    pub deflate: bool,
    /// Messages in flight
    #[arg(long, value_name = "K", default_value = "1")]
    pub in_flight: UpTo<u32, 65536>,
    /// The Origin to send
    #[arg(long)]
    pub origin: Option<String>,
    /// A subprotocol to offer; repeatable
    #[arg(long, value_name = "NAME")]
    pub protocol: Vec<String>,
    /// Time for the whole run
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub timeout: AtLeastOne<Span>,
    /// How it speaks TLS.
    #[command(flatten)]
    pub tls: tls::ClientTlsArgs,
    /// How it reaches the network.
    #[command(flatten)]
    pub link: LinkArgs,
}

/// How a client reaches the network.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(crate) struct LinkArgs {
    /// The transport: sockets, or user-space TCP on the queues of a network interface (af-xdp) or of a DPDK port (dpdk)
    #[arg(long, value_name = "NAME", default_value = "sockets")]
    pub transport: TransportKind,
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

/// `hioload check`
#[derive(Args, Debug)]
#[command(after_help = AFTER_CHECK)]
pub(crate) struct CheckArgs {
    /// The transport to check for: af-xdp or dpdk [default: that of --config, or af-xdp]
    #[arg(long, value_name = "NAME")]
    pub transport: Option<TransportKind>,
    /// Check the settings in this file, and the certificates and keys that they name
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The interface to check (af-xdp)
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// The CPUs of the lcores
    #[arg(long, value_name = "LCORES", default_value = "all")]
    pub lcores: LcoreSet,
    /// Attach the XDP program and bind the queues for a moment; on some NICs this interrupts the link
    #[arg(long, requires = "interface")]
    pub trial: bool,
    /// The arguments to start DPDK's EAL with (dpdk)
    #[arg(
        long,
        value_name = "ARGS",
        default_value = "none",
        allow_hyphen_values = true
    )]
    pub dpdk_args: EalArguments,
    /// Print a JSON array of findings
    #[arg(long)]
    pub json: bool,
    /// Start EAL in this process and print its ports; the check runs this in a child.
    #[arg(long, hide = true)]
    pub list_ports: bool,
}

const AFTER_CHECK: &str = "\
The check changes nothing, except for a moment with --trial. It starts DPDK in a child process. The exit code is 0 if the transport can work here, and 1 if a requirement is missing. With --config, certificates are listed with the days until they expire.";

impl ConnectArgs {
    /// Time for the whole run.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout.0.0
    }
}

/// Parses the command line. `None`: it asked for help or the version, which has been printed.
///
/// # Errors
/// Code 2: a wrong flag or value.
pub(crate) fn parse<T: Into<OsString> + Clone>(
    arguments: impl IntoIterator<Item = T>,
) -> Result<Option<Cli>, Failure> {
    let parsed = command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => Ok(Some(cli)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            print(&error);
            Ok(None)
        }
        Err(error) => Err(Failure::usage(one_line(&error))),
    }
}

/// Prints the help or the version, in colours on a terminal. A reader that is gone has seen enough of it.
fn print(text: &clap::Error) {
    match text.print() {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            streams::note(format_args!(
                "hioload: cannot write to standard output: {why}"
            ));
        }
        _ => {}
    }
}

/// The command, with the texts of the declared settings as the help of `serve`.
fn command() -> clap::Command {
    Cli::command().mut_subcommand("serve", |serve| {
        let settings: HashMap<&str, &Setting> = settings()
            .map(|(_, setting)| (setting.key, setting))
            .collect();
        let help = |argument: clap::Arg| match settings.get(argument.get_id().as_str()) {
            Some(setting) => argument
                .help(setting.short_help())
                .long_help(setting.long_help()),
            None => argument,
        };
        // `mut_arg` moves the argument to the end: visiting all in their order keeps it.
        let names: Vec<String> = serve
            .get_arguments()
            .map(|argument| argument.get_id().to_string())
            .collect();
        names
            .into_iter()
            .fold(serve, |serve, name| serve.mut_arg(name, help))
    })
}

/// The error of clap, which has several lines, in one line.
fn one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "a subcommand is missing: serve, connect, load, check, cert, flows or tap (try hioload --help)"
            .to_owned();
    }
    let text = error.to_string();
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join("; ");
    let said = said
        .strip_prefix("error: ")
        .unwrap_or(&said)
        .replace(":; ", ": ");
    format!("{said} (try --help)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(arguments: &[&str]) -> Failure {
        let arguments = ["hioload"].iter().chain(arguments);
        parse(arguments).expect_err("wrong arguments")
    }

    #[test]
    fn the_declaration_of_the_command_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_line_with_code_2() {
        for (arguments, part) in [
            (&["serve", "--nonsense"][..], "--nonsense"),
            (&["serve", "--listne", "127.0.0.1:1"], "--listen"),
            (
                &["serve", "--listen", "nowhere"],
                "expected :PORT, ADDR:PORT",
            ),
            (&["serve", "--lcores", "3-1"], "expected a count"),
            (&["serve", "--idle", "lazy"], "--idle"),
            (
                &["serve", "--transport", "dove"],
                "expected sockets, af-xdp or dpdk",
            ),
            (&["serve", "--max-message", "many"], "expected a size"),
            (&["serve", "--max-connections", "0"], "must be at least 1"),
            (&["serve", "--idle-timeout", "5"], "a time needs a unit"),
            (&["serve", "--log", "inof"], "expected off, error"),
            (&["serve", "--max-message"], "a value is required"),
            (
                &["serve", "--max-message=1", "--max-message=2"],
                "cannot be used multiple times",
            ),
            (&["serve", "extra"], "extra"),
            (&["connect"], "<URL>"),
            (
                &["connect", "ws://x/", "--count", "0"],
                "must be at least 1",
            ),
            (&["dance"], "dance"),
            (&["check", "--trial"], "--interface"),
            (&[], "serve, connect, load, check, cert, flows or tap"),
            (&["tap", "start"], "--file"),
            (
                &["tap", "start", "--file=x", "--snaplen=0"],
                "must be at least 1",
            ),
        ] {
            let failure = failure(arguments);
            assert_eq!(failure.code(), 2, "{arguments:?}");
            let message = failure.to_string();
            assert!(message.contains(part), "{arguments:?}: {message}");
            assert!(!message.contains('\n'), "{message}");
            assert!(message.contains("--help"), "{message}");
        }
    }

    #[test]
    fn the_unit_for_systemd_has_a_command_that_is_understood() {
        let unit = include_str!("../../../deploy/systemd/hioload.service");
        let command = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let words = command.expect("a command").split_whitespace();
        let parsed = parse(words).expect("right").expect("a subcommand");
        assert!(matches!(parsed.command, Command::Serve(_)));
    }

    #[test]
    fn stats_is_a_switch_with_an_optional_value() {
        for (flag, on) in [
            ("--stats", true),
            ("--stats=true", true),
            ("--stats=false", false),
        ] {
            let Ok(Some(Cli {
                command: Command::Serve(serve),
            })) = parse(["hioload", "serve", flag])
            else {
                panic!("{flag} is valid");
            };
            assert_eq!(serve.settings.server.stats, Some(on));
        }
    }

    #[test]
    fn help_names_every_default() {
        let help = command()
            .find_subcommand_mut("serve")
            .expect("serve")
            .render_help()
            .to_string();
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for (_, setting) in settings() {
            let flag = format!("--{}", setting.key.replace('_', "-"));
            assert!(words.contains(&flag), "{flag}");
            let default = format!("[default: {}]", setting.default);
            assert!(words.contains(&default), "{flag} {default}");
        }
    }
}
