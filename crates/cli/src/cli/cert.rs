//! `hioload cert`: certificates and keys in files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::values::{AtLeastOne, Span, Within};

/// `hioload cert`
#[derive(Subcommand, Debug)]
pub(crate) enum CertCommand {
    /// Make a certificate for development: one that only the user of this machine has a reason to trust
    Dev(CertDevArgs),
    /// Make or extend a file of keys for session tickets, with which several servers resume each other's sessions
    Tickets(CertTicketsArgs),
}

/// `hioload cert dev`
#[derive(Args, Debug)]
#[command(after_help = AFTER_DEV)]
pub(crate) struct CertDevArgs {
    /// The folder of the files [default: hioload/tls in the user's folder for state]
    #[arg(long, value_name = "FOLDER")]
    pub dir: Option<PathBuf>,
    /// A host name or address besides localhost, *.localhost, 127.0.0.1, ::1 and the machine's name; repeatable
    #[arg(long, value_name = "NAME")]
    pub name: Vec<String>,
    /// Make a new certificate even if there is one
    #[arg(long)]
    pub renew: bool,
}

const AFTER_DEV: &str = "\
The folder gets ca.pem, which clients can be configured to trust, cert.pem and key.pem. The key of the authority is not kept, so nobody can \
make another certificate that such a client trusts. A certificate that is there is kept until the day before it expires.";

/// `hioload cert tickets`
#[derive(Args, Debug)]
pub(crate) struct CertTicketsArgs {
    /// The file; only its owner can read it
    pub file: PathBuf,
    /// Time for which each key encrypts; it decrypts for one more [default: that of the file, or 12h]
    #[arg(long, value_name = "TIME")]
    pub period: Option<AtLeastOne<Span>>,
    /// Keys of the future in the file: it needs no change for as many periods
    #[arg(long, value_name = "N", default_value = "14")]
    pub ahead: Within<usize, 0, 253>,
}
