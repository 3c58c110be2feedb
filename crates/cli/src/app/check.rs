//! `hioload check`: looks at the machine, line by line.

use std::io::{self, Write};

use serde::Serialize;

use crate::Failure;
use crate::cli::CheckArgs;
use crate::config::values::TransportKind;

#[cfg(all(feature = "dpdk", target_os = "linux"))]
mod eal;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod interface;
mod machine;
mod ports;
#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod trial;

/// How a thing stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// It works, but could be better; or it is for the operator to judge.
    Note,
    /// Required, and not there.
    Missing,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Finding {
    level: Level,
    /// What was looked at.
    subject: &'static str,
    /// What was found.
    found: String,
    /// The command that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, subject: &'static str, found: impl Into<String>) {
        self.push(Level::Ok, subject, found.into(), None);
    }

    fn note(&mut self, subject: &'static str, found: impl Into<String>, mend: impl Into<String>) {
        self.push(Level::Note, subject, found.into(), Some(mend.into()));
    }

    fn missing(
        &mut self,
        subject: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.push(Level::Missing, subject, found.into(), Some(mend.into()));
    }

    fn push(&mut self, level: Level, subject: &'static str, found: String, mend: Option<String>) {
        let mend = mend.filter(|mend| !mend.is_empty());
        self.0.push(Finding {
            level,
            subject,
            found,
            mend,
        });
    }

    /// One line for each.
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
            if let Some(mend) = &finding.mend {
                text.push_str(&format!("\n         {:<13} -> {mend}", ""));
            }
            text.push('\n');
        }
        text
    }
}

/// Looks, and says what it saw.
///
/// # Errors
/// Code 1 if something required is missing.
pub(crate) fn run(arguments: &CheckArgs) -> Result<(), Failure> {
    #[cfg(all(feature = "dpdk", target_os = "linux"))]
    if arguments.list_ports {
        return eal::list(arguments);
    }
    let mut findings = Findings::default();
    let what = match arguments.transport {
        TransportKind::Sockets => {
            return Err(Failure::usage(
                "sockets need nothing that could be missing: --transport af-xdp or dpdk",
            ));
        }
        TransportKind::AfXdp => {
            af_xdp(&mut findings, arguments);
            "AF_XDP"
        }
        TransportKind::Dpdk => {
            dpdk(&mut findings, arguments);
            "DPDK"
        }
    };
    let text = if arguments.json {
        serde_json::to_string_pretty(&findings.0).map_or_else(|why| why.to_string(), |t| t + "\n")
    } else {
        findings.lines()
    };
    // A closed standard output is not worth an error.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    let missing = |finding: &&Finding| finding.level == Level::Missing;
    match findings.0.iter().filter(missing).count() {
        0 => Ok(()),
        1 => Err(Failure::run(format!(
            "{what} would not work: one thing is missing"
        ))),
        n => Err(Failure::run(format!(
            "{what} would not work: {n} things are missing"
        ))),
    }
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

/// Whether this binary can do it at all.
fn build_of_dpdk(findings: &mut Findings) {
    if cfg!(all(feature = "dpdk", target_os = "linux")) {
        #[cfg(all(feature = "dpdk", target_os = "linux"))]
        findings.ok(
            "build",
            format!("this binary has {}", hioload_dpdk::version()),
        );
    } else if cfg!(not(target_os = "linux")) {
        findings.missing(
            "build",
            "this binary's DPDK is for Linux",
            "run it on Linux",
        );
    } else {
        findings.missing(
            "build",
            "this binary was built without DPDK",
            "apt-get install libdpdk-dev libclang-dev pkg-config && cargo build --release --features dpdk",
        );
    }
}

/// Whether this binary can do it at all.
fn build_of_af_xdp(findings: &mut Findings) {
    if cfg!(not(target_os = "linux")) {
        findings.missing("build", "AF_XDP is Linux's", "run it on Linux");
    } else if cfg!(feature = "af-xdp") {
        findings.ok("build", "this binary has AF_XDP");
    } else {
        findings.missing(
            "build",
            "this binary was built without AF_XDP",
            "apt-get install clang libbpf-dev linux-libc-dev && cargo build --release --features af-xdp",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_line_and_what_mends_it_another() {
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
        assert_eq!(json[2]["mend"], "sudo !!");
        assert!(json[0].get("mend").is_none());
    }
}
