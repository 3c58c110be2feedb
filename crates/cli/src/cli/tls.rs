//! The flags of clients for TLS.

use std::path::PathBuf;

use clap::Args;
use hioload_certs::PairFiles;

use crate::config::values::UpTo;

/// How a client speaks TLS, with wss:// URLs.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(next_help_heading = "TLS (wss://)")]
pub(crate) struct ClientTlsArgs {
    /// Trust the authorities in this file, and not those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub ca: Option<PathBuf>,
    /// Accept any certificate: anybody on the path can read and change the messages
    #[arg(long)]
    pub insecure: bool,
    /// The name that the server's certificate must have, and that is asked for [default: the host of the URL]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Show this certificate if the server asks: CERTIFICATE,KEY, or a file or folder with both
    #[arg(long, value_name = "FILES")]
    pub certificate: Option<PairFiles>,
    /// Resume sessions, of which as many are kept
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "65536")]
    pub resume: Option<UpTo<usize, 16_777_216>>,
    /// Write the secrets of all connections to a file, for Wireshark; debugging only
    #[arg(long, value_name = "FILE")]
    pub key_log: Option<PathBuf>,
}
