//! Whether EAL starts with given arguments, and which ports it has then. EAL runs in a child process, so that a crash or a hang is a
//! finding like any other.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hioload_dpdk::{Eal, Port, PortInfo, split_arguments};
use serde::{Deserialize, Serialize};

use super::Findings;
use crate::Failure;
use crate::cli::CheckArgs;
use crate::streams;

/// Time for EAL to start. Clearing many gigabytes of huge pages takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port, as the child reports it to its parent.
#[derive(Serialize, Deserialize)]
struct Seen {
    text: String,
}

fn arguments_of(arguments: &CheckArgs) -> String {
    arguments.dpdk_args.0.clone().unwrap_or_default()
}

/// The child: starts EAL and prints its ports.
///
/// # Errors
/// Code 2: EAL does not start.
pub(super) fn list(arguments: &CheckArgs) -> Result<(), Failure> {
    let words = split_arguments(&arguments_of(arguments)).map_err(Failure::usage)?;
    let eal = Eal::init(&words).map_err(Failure::usage)?;
    let ports: Vec<Seen> = Port::list(&eal)
        .iter()
        .map(|port| Seen { text: shown(port) })
        .collect();
    let text = serde_json::to_string(&ports).map_err(Failure::run)?;
    streams::result(&(text + "\n"))
}

/// `0 net_af_packet0 (net_af_packet): 02:00:00:00:00:01, node 0, 1 queue, mtu 1500, checksums rx tx, TSO, RSS`
fn shown(port: &PortInfo) -> String {
    let mac = port.mac.map(|byte| format!("{byte:02x}")).join(":");
    let node = port
        .node
        .map_or(String::new(), |node| format!(", node {node}"));
    let offers = [
        (port.rx_checksum, "RX checksums"),
        (port.tx_checksum, "TX checksums"),
        (port.tso, "TSO"),
        (port.rss, "RSS"),
    ];
    let offers = offers.iter().filter(|(offered, _)| *offered);
    let offers: Vec<_> = offers.map(|(_, name)| *name).collect();
    let offers = match offers.is_empty() {
        true => "no offloads".to_owned(),
        false => offers.join(", "),
    };
    format!(
        "{} {} ({}): {mac}{node}, at most {} queues, mtu {}, offers {offers}",
        port.number, port.name, port.driver, port.max_queues, port.mtu.0
    )
}

/// The parent: starts a child and adds its report to the findings.
///
/// Without `--dpdk-args`, and if DPDK can use none of the NICs (`has_nic`), EAL gets `--no-pci`.
pub(super) fn look(findings: &mut Findings, arguments: &CheckArgs, has_nic: bool) {
    let subject = "eal";
    let words = match &arguments.dpdk_args.0 {
        Some(words) => words.clone(),
        None if has_nic => String::new(),
        None => "--no-pci".to_owned(),
    };
    let hint = "set --dpdk-args; hioload serve --transport dpdk --log debug shows EAL's log";
    match ask(&words) {
        Err(why) => findings.missing(subject, why, hint),
        Ok(ports) if ports.is_empty() => findings.missing(
            subject,
            format!("starts with \"{words}\" and finds no port"),
            "deploy/dpdk/nic bind ADDRESS, or a virtual device: --dpdk-args \"--vdev=net_af_packet0,iface=eth1\"",
        ),
        Ok(ports) => {
            findings.ok(subject, format!("starts with \"{words}\""));
            for port in ports {
                findings.ok("port", port.text);
            }
        }
    }
}

/// The ports that EAL has with these arguments.
///
/// # Errors
/// How the child failed, in one line.
fn ask(words: &str) -> Result<Vec<Seen>, String> {
    let own =
        std::env::current_exe().map_err(|why| format!("cannot find this executable: {why}"))?;
    let mut child = Command::new(own)
        .args(["check", "--list-ports", "--dpdk-args", words])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("cannot start a child process: {why}"))?;
    let (out, err) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let ended = await_end(&mut child)?;
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let (out, err) = (text(out), text(err));
    if !ended.success() {
        return Err(describe(ended, &err));
    }
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|why| format!("cannot read its list of ports: {why}"))
}

fn drained(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // An error ends the output. The lines before it count.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn await_end(child: &mut Child) -> Result<ExitStatus, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "EAL has not started within {} s",
                    PATIENCE.as_secs()
                ));
            }
            Err(why) => return Err(format!("cannot wait for it: {why}")),
        }
    }
}

/// The child's last line, or the signal that ended it.
fn describe(ended: ExitStatus, err: &str) -> String {
    let last = err.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or_default().trim();
    match ended.signal() {
        Some(signal) if last.is_empty() => format!("EAL crashed (signal {signal})"),
        Some(signal) => format!("EAL crashed (signal {signal}); its last line: {last}"),
        None => last.strip_prefix("hioload: ").unwrap_or(last).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_reported_with_its_signal() {
        let refused = ExitStatus::from_raw(2 << 8);
        assert_eq!(describe(refused, "hioload: no\n"), "no");
        let crashed = ExitStatus::from_raw(11);
        assert_eq!(describe(crashed, ""), "EAL crashed (signal 11)");
        assert!(describe(crashed, "a\nb\n\n").ends_with("last line: b"));
    }
}
