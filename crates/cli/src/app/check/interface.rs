//! One network interface.

use std::collections::BTreeSet;
use std::fs;

use hioload_afxdp::nic::{self, Ethtool, Nic};
use hioload_lcore::topology::{Topology, parse_cpu_list};

use super::machine::{self, join};
use super::{Findings, trial};
use crate::cli::CheckArgs;

/// Drivers that run XDP programs, and those of them with AF_XDP zero-copy.
const NATIVE: &[&str] = &[
    "atlantic",
    "bnxt_en",
    "cxgb4",
    "ena",
    "gve",
    "hv_netvsc",
    "i40e",
    "ice",
    "idpf",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "mana",
    "mlx4_en",
    "mlx5_core",
    "mvneta",
    "nfp",
    "qede",
    "sfc",
    "stmmac",
    "tun",
    "veth",
    "virtio_net",
    "vmxnet3",
];
const ZERO_COPY: &[&str] = &[
    "gve",
    "i40e",
    "ice",
    "idpf",
    "igb",
    "igc",
    "ixgbe",
    "mlx5_core",
    "nfp",
    "stmmac",
    "virtio_net",
];

/// Checks everything in this file.
pub(super) fn look(findings: &mut Findings, name: &str, arguments: &CheckArgs) {
    let nic = match Nic::find(name) {
        Ok(nic) => nic,
        Err(why) => {
            let found = format!("{name}: {why}");
            return findings.missing("interface", found, "ip link lists the interfaces");
        }
    };
    let Ok(ethtool) = Ethtool::new(name) else {
        return;
    };
    state(findings, &nic, &ethtool);
    attached(findings, &nic);
    if arguments.trial {
        trial::port(findings, name);
    } else {
        driver(findings, &nic);
    }
    mtu(findings, &nic);
    let lcores = machine::lcores(arguments);
    queues(findings, &nic, &ethtool, lcores.len());
    rss(findings, &nic, &ethtool);
    rings(findings, &nic, &ethtool);
    offloads(findings, &nic, &ethtool);
    interrupts(findings, &nic, &lcores);
    numa(findings, &nic, &lcores);
}

fn state(findings: &mut Findings, nic: &Nic, ethtool: &Ethtool) {
    let Nic { name, driver, .. } = nic;
    let found = format!(
        "{name}, driver {}",
        if driver.is_empty() { "unknown" } else { driver }
    );
    match ethtool.is_up() {
        Ok((true, true)) => findings.ok("interface", found),
        Ok((true, false)) => findings.note(
            "interface",
            format!("{found}, no carrier"),
            "connect the cable",
        ),
        _ => findings.missing(
            "interface",
            format!("{found}, down"),
            format!("ip link set {name} up"),
        ),
    }
}

fn attached(findings: &mut Findings, nic: &Nic) {
    let Nic { name, .. } = nic;
    match nic::attached_program(nic.index) {
        Ok(None) => findings.ok("xdp program", "none is attached"),
        Ok(Some(program)) => {
            let off = if program.generic { "xdpgeneric" } else { "xdp" };
            let (whose, hint) = match nic::program_owner(program.id) {
                Some((pid, command)) => (format!(", of {command}"), format!("kill {pid}")),
                None => (String::new(), format!("ip link set dev {name} {off} off")),
            };
            findings.missing(
                "xdp program",
                format!("another program (id {}{whose}) is attached", program.id),
                hint,
            );
        }
        Err(why) => findings.note("xdp program", format!("cannot ask the kernel: {why}"), ""),
    }
}

fn driver(findings: &mut Findings, nic: &Nic) {
    let Nic { name, driver, .. } = nic;
    let knows = |list: &[&str]| list.contains(&driver.as_str());
    let trial = format!("hioload check --interface {name} --trial tests it");
    if knows(NATIVE) {
        findings.ok("xdp mode", format!("native: {driver} runs XDP programs"));
    } else {
        findings.note(
            "xdp mode",
            format!("SKB: {driver} is not known to run XDP programs"),
            &trial,
        );
    }
    if knows(ZERO_COPY) {
        findings.ok(
            "zero-copy",
            format!("{driver} supports it, if the NIC and its configuration do"),
        );
    } else {
        findings.note(
            "zero-copy",
            format!("{driver} is not known to support it: the kernel copies each packet once"),
            "",
        );
    }
}

fn mtu(findings: &mut Findings, nic: &Nic) {
    let Nic { name, mtu, .. } = nic;
    match nic.chunk_sizes() {
        Some((frame, piece)) if frame == piece => {
            findings.ok("mtu", format!("{mtu}: a packet fits into one chunk of {frame} bytes"));
        }
        Some((frame, _)) => findings.note(
            "mtu",
            format!("{mtu}: a packet needs several chunks and frames of {frame} bytes, without checksum offload"),
            format!("ip link set {name} mtu 1500, if jumbo frames are not needed"),
        ),
        None => findings.missing(
            "mtu",
            format!("{mtu} is above the largest that a frame holds ({})", nic::largest_mtu()),
            format!("ip link set {name} mtu 9000"),
        ),
    }
}

fn queues(findings: &mut Findings, nic: &Nic, ethtool: &Ethtool, lcores: usize) {
    let Nic { name, queues, .. } = nic;
    let most = ethtool.channels().map_or(*queues, |channels| channels.rx.1);
    let found = format!("{queues} (at most {most}), for {lcores} lcores");
    let wanted = lcores.min(most as usize).max(1);
    if *queues as usize == lcores {
        findings.ok("queues", found);
    } else if *queues as usize > lcores {
        findings.note(
            "queues",
            format!("{found}: packets for the server on a queue without an lcore are dropped"),
            format!("ethtool -L {name} combined {lcores}"),
        );
    } else {
        let hint = if wanted > *queues as usize {
            format!("ethtool -L {name} combined {wanted}, or fewer lcores")
        } else {
            format!("--lcores {queues}, as many as queues")
        };
        findings.note("queues", found, hint);
    }
}

fn rss(findings: &mut Findings, nic: &Nic, ethtool: &Ethtool) {
    let Nic { name, queues, .. } = nic;
    if *queues < 2 {
        return findings.ok("rss", "one queue receives everything");
    }
    match ethtool.rss() {
        Ok(rss) => {
            let used: BTreeSet<_> = rss.indirection.iter().copied().collect();
            let unused: Vec<_> = (0..*queues).filter(|queue| !used.contains(queue)).collect();
            if !unused.is_empty() && !used.is_empty() {
                findings.note("rss", format!("queues {} receive no flows", join(&unused)), format!("ethtool -X {name} equal {queues}"));
            } else {
                findings.ok("rss", format!("{} entries over {queues} queues", rss.indirection.len()));
            }
            if rss.symmetric {
                findings.ok("rss key", "symmetric: both directions of a flow go to one queue");
            } else {
                let key = vec!["6d:5a"; rss.key.len() / 2].join(":");
                findings.note(
                    "rss key",
                    "not symmetric: it matters only if client and server are on NICs of one machine",
                    if key.is_empty() { String::new() } else { format!("ethtool -X {name} hkey {key}") },
                );
            }
        }
        Err(_) => findings.note(
            "rss",
            "the driver does not report how it spreads flows; a packet on the wrong lcore is handed to the owner of its flow",
            "",
        ),
    }
}

fn rings(findings: &mut Findings, nic: &Nic, ethtool: &Ethtool) {
    let Nic { name, .. } = nic;
    match ethtool.rings() {
        Ok(rings) => {
            let ((rx, rx_max), (tx, tx_max)) = (rings.rx, rings.tx);
            let found = format!("rx {rx} of {rx_max}, tx {tx} of {tx_max}");
            if rx < rx_max.min(1024) {
                let hint = format!(
                    "ethtool -G {name} rx {} tx {}",
                    rx_max.min(2048),
                    tx_max.min(2048)
                );
                findings.note("rings", format!("{found}: too short for bursts"), hint);
            } else {
                findings.ok("rings", found);
            }
        }
        Err(_) => findings.ok("rings", "the driver has no settings for them"),
    }
}

fn offloads(findings: &mut Findings, nic: &Nic, ethtool: &Ethtool) {
    let Nic { name, .. } = nic;
    let Ok(on) = ethtool.features() else {
        return findings.note("offloads", "the driver does not report them", "");
    };
    // LRO and hardware GRO make packets that are larger than a frame. A VLAN tag that the NIC strips is invisible to the program.
    let bad: Vec<_> = [
        ("rx-lro", "lro"),
        ("rx-gro-hw", "rx-gro-hw"),
        ("rx-vlan-hw-parse", "rxvlan"),
    ]
    .into_iter()
    .filter(|(feature, _)| on.iter().any(|name| name == feature))
    .map(|(_, option)| option)
    .collect();
    if bad.is_empty() {
        findings.ok("offloads", "none that merge packets or strip VLAN tags");
    } else {
        let options: Vec<_> = bad.iter().map(|option| format!("{option} off")).collect();
        findings.note(
            "offloads",
            format!(
                "{} on: they merge packets or strip VLAN tags",
                bad.join(", ")
            ),
            format!("ethtool -K {name} {}", options.join(" ")),
        );
    }
    if nic.is_virtual_cable() {
        findings.note(
            "checksums",
            "a sender on a veth does not compute them, so they are not verified; it also sends several packets as one",
            format!("at the other end of {name}: ethtool -K PEER tso off gso off txvlan off (and tx off, for checksums)"),
        );
    }
}

fn interrupts(findings: &mut Findings, nic: &Nic, lcores: &[usize]) {
    let Nic { name, .. } = nic;
    let Ok(entries) = fs::read_dir(format!("/sys/class/net/{name}/device/msi_irqs")) else {
        return findings.ok("interrupts", format!("{name} has none"));
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut cpus = BTreeSet::new();
    for number in numbers {
        let file = format!("/proc/irq/{number}/effective_affinity_list");
        let list = fs::read_to_string(file).unwrap_or_default();
        cpus.extend(parse_cpu_list(list.trim()).unwrap_or_default());
    }
    let elsewhere: Vec<_> = cpus.iter().filter(|cpu| !lcores.contains(cpu)).collect();
    let found = format!("on CPUs {}", join(&cpus.iter().collect::<Vec<_>>()));
    if elsewhere.is_empty() {
        findings.ok("interrupts", found);
    } else {
        findings.note(
            "interrupts",
            format!("{found}, of which {} run no lcore", join(&elsewhere)),
            format!("systemctl stop irqbalance; echo CPU > /proc/irq/N/smp_affinity_list, for each N in /sys/class/net/{name}/device/msi_irqs"),
        );
    }
}

fn numa(findings: &mut Findings, nic: &Nic, lcores: &[usize]) {
    let Some(node) = nic.node else {
        return findings.ok("numa", format!("{} is attached to no node", nic.name));
    };
    let topology = Topology::detect();
    let far: Vec<_> = lcores
        .iter()
        .filter(|&&cpu| topology.node_of(cpu).is_some_and(|its| its != node))
        .collect();
    if far.is_empty() {
        return findings.ok("numa", format!("NIC and lcores are on node {node}"));
    }
    let distances = fs::read_to_string(format!("/sys/devices/system/node/node{node}/distance"))
        .unwrap_or_default();
    let near: Vec<_> = topology
        .cpus()
        .iter()
        .filter(|cpu| cpu.node == node)
        .map(|cpu| cpu.id)
        .collect();
    findings.note(
        "numa",
        format!(
            "the NIC is on node {node} (distances {}), CPUs {} are on other nodes",
            distances.trim(),
            join(&far)
        ),
        format!("--lcores {}", join(&near)),
    );
}
