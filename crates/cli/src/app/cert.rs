//! `hioload cert`: makes certificates for development, and keys of session tickets.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hioload_certs::{DevCertificate, TicketFile, dev_folder};

use super::time::rfc3339;
use crate::Failure;
use crate::cli::cert::{CertCommand, CertDevArgs, CertTicketsArgs};
use crate::streams;

/// Carries out the subcommand, and prints what there is now.
///
/// # Errors
/// Code 2 if the arguments do not fit, 1 if a file cannot be written.
pub(crate) fn run(command: &CertCommand) -> Result<(), Failure> {
    match command {
        CertCommand::Dev(arguments) => dev(arguments),
        CertCommand::Tickets(arguments) => tickets(arguments),
    }
}

fn dev(arguments: &CertDevArgs) -> Result<(), Failure> {
    let folder = match &arguments.dir {
        Some(folder) => folder.clone(),
        None => dev_folder().map_err(Failure::usage)?,
    };
    let make = if arguments.renew {
        DevCertificate::create
    } else {
        DevCertificate::find_or_create
    };
    let made = make(&folder, &arguments.name, SystemTime::now()).map_err(Failure::run)?;
    let mut text = String::new();
    for (what, value) in [
        ("authority", made.ca.display().to_string()),
        ("certificate", made.certificate.display().to_string()),
        ("key", made.key.display().to_string()),
        ("SHA-256", format!("{} (authority)", made.ca_fingerprint)),
        ("valid until", date(made.not_after.unsigned_abs())),
    ] {
        let _ = writeln!(text, "{what:<12} {value}");
    }
    streams::result(&text)
}

fn tickets(arguments: &CertTicketsArgs) -> Result<(), Failure> {
    let period = arguments.period.as_ref().map(|period| period.0.0);
    if period.is_some_and(|period| {
        period < Duration::from_secs(1) || period > hioload_certs::LONGEST_PERIOD
    }) {
        return Err(Failure::usage(
            "--period: expected a time from 1s to 168h (RFC 8446: tickets live 7 days at most)",
        ));
    }
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    let file = TicketFile::extend(&arguments.file, period, arguments.ahead.0, now)
        .map_err(Failure::run)?;
    streams::result(&format!(
        "{}: {} keys, each for {} s; the last one ends {}\n",
        file.path().display(),
        file.keys(),
        file.period().as_secs(),
        date(file.end())
    ))
}

fn date(seconds: u64) -> String {
    rfc3339(UNIX_EPOCH + Duration::from_secs(seconds))
}
