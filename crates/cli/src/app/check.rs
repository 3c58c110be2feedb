//! `hioload check`: reports the state of a machine for a transport, one line for each finding.

use std::path::Path;

use serde::Serialize;

use crate::Failure;
use crate::cli::CheckArgs;
use crate::config::file;
use crate::config::serve::ServeConfig;
use crate::config::values::TransportKind;
use crate::streams;

#[cfg(all(feature = "dpdk", target_os = "linux"))]
mod eal;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod interface;
mod machine;
mod ports;
mod tls;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod trial;

/// The result of one check.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As required.
    Ok,
    /// It works and could be better, or the operator has to judge.
    Note,
    /// Required and missing.
    Missing,
}

/// One finding: a line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was checked.
    subject: &'static str,
    /// What was found.
    found: String,
    /// The command or setting that changes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: &'static str, found: impl Into<String>) {
        self.push(Level::Ok, subject, found.into(), None);
    }

    fn note(&mut self, subject: &'static str, found: impl Into<String>, hint: impl Into<String>) {
        self.push(Level::Note, subject, found.into(), Some(hint.into()));
    }

    fn missing(
        &mut self,
        subject: &'static str,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Level::Missing, subject, found.into(), Some(hint.into()));
    }

    fn push(&mut self, level: Level, subject: &'static str, found: String, hint: Option<String>) {
        let hint = hint.filter(|hint| !hint.is_empty());
        self.0.push(Finding {
            level,
            subject,
            found,
            hint,
        });
    }

    /// The findings as text, one line for each and one for each hint.
    fn lines(&self) -> String {
        let mut text = String::new();
        for finding in &self.0 {
            let level = match finding.level {
                Level::Ok => "ok     ",
                Level::Note => "note   ",
                Level::Missing => "MISSING",
            };
            let Finding { subject, found, .. } = finding;
            text.push_str(&format!("{level}  {subject:<13} {found}"));
            if let Some(hint) = &finding.hint {
                text.push_str(&format!("\n         {:<13} -> {hint}", ""));
            }
            text.push('\n');
        }
        text
    }
}

/// Checks the machine and prints the findings.
///
/// # Errors
/// Code 1 if something required is missing.
pub(crate) fn run(arguments: &CheckArgs) -> Result<(), Failure> {
    #[cfg(all(feature = "dpdk", target_os = "linux"))]
    if arguments.list_ports {
        return eal::list(arguments);
    }
    let mut findings = Findings::default();
    let configured = match &arguments.config {
        Some(path) => Some(config(&mut findings, path)?),
        None => None,
    };
    let transport = arguments.transport.or(configured);
    let what = match transport.unwrap_or(TransportKind::AfXdp) {
        TransportKind::Sockets if configured.is_none() => {
            return Err(Failure::usage(
                "sockets have no requirements to check; use --transport af-xdp or dpdk, or --config FILE",
            ));
        }
        TransportKind::Sockets => "the server",
        TransportKind::AfXdp => {
            af_xdp(&mut findings, arguments);
            "AF_XDP"
        }
        TransportKind::Dpdk => {
            dpdk(&mut findings, arguments);
            "DPDK"
        }
    };
    if arguments.json {
        let json = serde_json::to_string_pretty(&findings.0).map_err(Failure::run)?;
        streams::result(&(json + "\n"))?;
    } else {
        streams::say(&findings.lines());
    }
    let missing = |finding: &&Finding| finding.level == Level::Missing;
    match findings.0.iter().filter(missing).count() {
        0 => Ok(()),
        1 => Err(Failure::run(format!(
            "{what} cannot work here: one requirement is missing"
        ))),
        n => Err(Failure::run(format!(
            "{what} cannot work here: {n} requirements are missing"
        ))),
    }
}

/// Checks a file of settings, and what TLS needs. Returns its transport.
fn config(findings: &mut Findings, path: &Path) -> Result<TransportKind, Failure> {
    let config = ServeConfig::new(file::read(path)?);
    config.check()?;
    findings.ok("settings", path.display().to_string());
    for warning in config.warnings() {
        findings.note("settings", warning, "");
    }
    tls::look(findings, &config.tls);
    Ok(config.transport)
}

fn af_xdp(findings: &mut Findings, arguments: &CheckArgs) {
    build_of_af_xdp(findings);
    machine::look(findings, arguments);
    #[cfg(all(feature = "af-xdp", target_os = "linux"))]
    {
        trial::program(findings);
        if let Some(name) = &arguments.interface {
            interface::look(findings, name, arguments);
        }
    }
}

fn dpdk(findings: &mut Findings, arguments: &CheckArgs) {
    build_of_dpdk(findings);
    let has_nic = ports::look(findings, arguments);
    #[cfg(all(feature = "dpdk", target_os = "linux"))]
    eal::look(findings, arguments, has_nic);
    #[cfg(not(all(feature = "dpdk", target_os = "linux")))]
    let _ = has_nic;
}

/// Whether this binary contains the transport.
fn build_of_dpdk(findings: &mut Findings) {
    if cfg!(all(feature = "dpdk", target_os = "linux")) {
        #[cfg(all(feature = "dpdk", target_os = "linux"))]
        findings.ok(
            "build",
            format!("this binary has {}", hioload_dpdk::version()),
        );
    } else if cfg!(not(target_os = "linux")) {
        findings.missing("build", "DPDK needs Linux", "run it on Linux");
    } else {
        findings.missing(
            "build",
            "this binary is built without DPDK",
            "apt-get install libdpdk-dev libclang-dev pkg-config && cargo build --release --features dpdk",
        );
    }
}

/// Whether this binary contains the transport.
fn build_of_af_xdp(findings: &mut Findings) {
    if cfg!(not(target_os = "linux")) {
        findings.missing("build", "AF_XDP needs Linux", "run it on Linux");
    } else if cfg!(feature = "af-xdp") {
        findings.ok("build", "this binary has AF_XDP");
    } else {
        findings.missing(
            "build",
            "this binary is built without AF_XDP",
            "apt-get install clang libbpf-dev linux-libc-dev && cargo build --release --features af-xdp",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_hint_another() {
        let mut findings = Findings::default();
        findings.ok("kernel", "Linux 6.18");
        findings.note("isolation", "none", "");
        findings.missing("privileges", "no CAP_BPF", "sudo !!");
        assert_eq!(
            findings.lines(),
            "ok       kernel        Linux 6.18\n\
             note     isolation     none\n\
             MISSING  privileges    no CAP_BPF\n                       -> sudo !!\n"
        );
        let json = serde_json::to_value(&findings.0).expect("plain data");
        assert_eq!(json[2]["level"], "missing");
        assert_eq!(json[2]["hint"], "sudo !!");
        assert!(json[0].get("hint").is_none());
    }
}
