//! What only DPDK itself can tell: whether EAL starts with these arguments, and which ports it then has. It is asked in a process
//! of its own, so that one that crashes, or never comes back, is a line like any other.

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

/// How long EAL may take: with many gigabytes of huge pages to clear it is seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port, from the child to its parent.
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
/// Why it does not start.
pub(super) fn list(arguments: &CheckArgs) -> Result<(), Failure> {
    let refused = |why: hioload_dpdk::Error| Failure::usage(why.to_string());
    let words = split_arguments(&arguments_of(arguments)).map_err(refused)?;
    let eal = Eal::init(&words).map_err(refused)?;
    let ports: Vec<Seen> = Port::list(&eal)
        .iter()
        .map(|port| Seen { text: shown(port) })
        .collect();
    let text = serde_json::to_string(&ports).map_err(|why| Failure::run(why.to_string()))?;
    println!("{text}");
    Ok(())
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

/// The parent: has a child do that, and tells how it went.
///
/// Where nobody has said how EAL is to be started and no NIC is DPDK's (`has_nic`), it is told to leave the kernel's alone.
pub(super) fn look(findings: &mut Findings, arguments: &CheckArgs, has_nic: bool) {
    let subject = "eal";
    let words = match &arguments.dpdk_args.0 {
        Some(words) => words.clone(),
        None if has_nic => String::new(),
        None => "--no-pci".to_owned(),
    };
    let mend = "--dpdk-args with what EAL is to be started with; its log: hioload serve --transport dpdk --log debug";
    match ask(&words) {
        Err(why) => findings.missing(subject, why, mend),
        Ok(ports) if ports.is_empty() => findings.missing(
            subject,
            format!("starts with \"{words}\", and has no port"),
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
/// What became of it, in one line.
fn ask(words: &str) -> Result<Vec<Seen>, String> {
    let own = std::env::current_exe().map_err(|why| format!("cannot find this program: {why}"))?;
    let mut child = Command::new(own)
        .args(["check", "--list-ports", "--dpdk-args", words])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|why| format!("cannot try it in a process of its own: {why}"))?;
    let (out, err) = (drained(child.stdout.take()), drained(child.stderr.take()));
    let ended = await_end(&mut child)?;
    let text = |reader: thread::JoinHandle<String>| reader.join().unwrap_or_default();
    let (out, err) = (text(out), text(err));
    if !ended.success() {
        return Err(describe(ended, &err));
    }
    let last = out.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|why| format!("its list of ports is not understood: {why}"))
}

fn drained(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What there was until then.
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

/// Its own last line, or the signal that ended it.
fn describe(ended: ExitStatus, err: &str) -> String {
    let last = err.lines().rfind(|line| !line.trim().is_empty());
    let last = last.unwrap_or_default().trim();
    match ended.signal() {
        Some(signal) if last.is_empty() => format!("EAL crashed (signal {signal})"),
        Some(signal) => format!("EAL crashed (signal {signal}); its last words: {last}"),
        None => last.strip_prefix("hioload: ").unwrap_or(last).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_told_apart_from_a_refusal() {
        let refused = ExitStatus::from_raw(2 << 8);
        assert_eq!(describe(refused, "hioload: no\n"), "no");
        let crashed = ExitStatus::from_raw(11);
        assert_eq!(describe(crashed, ""), "EAL crashed (signal 11)");
        assert!(describe(crashed, "a\nb\n\n").ends_with("last words: b"));
    }
}
