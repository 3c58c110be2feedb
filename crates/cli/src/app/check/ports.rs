//! What DPDK needs of the machine: huge pages, a driver that gives NICs to user space (VFIO), an IOMMU, NICs bound to that driver, memory
//! that may be locked, isolated CPUs. All of it is read from /sys and /proc.

use super::Findings;
use super::machine::{self, Files};
use crate::cli::CheckArgs;

/// Kernel drivers that give a NIC to user space.
const HANDING_OVER: [&str; 3] = ["vfio-pci", "igb_uio", "uio_pci_generic"];
/// Kernel drivers that keep their NICs and share them with DPDK.
const BESIDE: [&str; 2] = ["mlx4_core", "mlx5_core"];
/// Network controllers, by the first byte of their PCI class.
const NETWORK: &str = "0x02";
/// Memory of a queue with the defaults: 4095 mbufs of 2.3 KiB.
const QUEUE_MEMORY: u64 = 16 << 20;
/// Pages for eight queues and for EAL.
const PAGES: u64 = 128;

/// Checks everything in this file. Returns whether DPDK can use one of the NICs.
pub(super) fn look(findings: &mut Findings, arguments: &CheckArgs) -> bool {
    if cfg!(not(target_os = "linux")) {
        return false;
    }
    let files = Files::here();
    let said = arguments.dpdk_args.0.as_deref().unwrap_or_default();
    let says = |word: &str| said.split_whitespace().any(|said| said == word);
    huge_pages(findings, &files, says("--no-huge"));
    memlock(findings, &files);
    let nics = nics(&files);
    if !says("--no-pci") {
        vfio(findings, &files, &nics);
        iommu(findings, &files);
    }
    for nic in &nics {
        bound(findings, nic);
    }
    if nics.is_empty() {
        findings.note(
            "nic",
            "this machine has no PCI network controller",
            "use a virtual device: --vdev=net_af_packet0,iface=eth1",
        );
    }
    machine::cpus(findings, &files, &machine::lcores(arguments));
    let driver = |nic: &Nic| nic.driver.as_deref().unwrap_or_default().to_owned();
    let taken = |driver: String| {
        HANDING_OVER.contains(&driver.as_str()) || BESIDE.contains(&driver.as_str())
    };
    nics.iter().map(driver).any(taken)
}

fn huge_pages(findings: &mut Findings, files: &Files, unwanted: bool) {
    let subject = "huge pages";
    let mut found = Vec::new();
    let mut free_bytes = 0;
    let nodes = files.list("sys/devices/system/node");
    let nodes = nodes.iter().filter(|name| {
        name.strip_prefix("node")
            .is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
    });
    for node in nodes {
        let folder = format!("sys/devices/system/node/{node}/hugepages");
        for size in files.list(&folder) {
            let number = |what: &str| -> u64 {
                let text = files.read(&format!("{folder}/{size}/{what}"));
                text.and_then(|text| text.parse().ok()).unwrap_or(0)
            };
            let (all, free) = (number("nr_hugepages"), number("free_hugepages"));
            let size = size.trim_start_matches("hugepages-").trim_end_matches("kB");
            let size: u64 = size.parse().unwrap_or(0);
            free_bytes += (free * size) << 10;
            if all > 0 {
                found.push(format!(
                    "{node}: {free} of {all} of {} MiB free",
                    size >> 10
                ));
            }
        }
    }
    let hint = format!(
        "deploy/dpdk/huge-pages reserve {PAGES} (16 MiB for each queue; --node N for the NIC's node)"
    );
    if free_bytes > 0 {
        findings.ok(subject, found.join(", "));
    } else if unwanted {
        findings.note(subject, "none are free; --no-huge needs none", hint);
    } else {
        let how = if found.is_empty() {
            "none are reserved"
        } else {
            "all are in use"
        };
        findings.missing(
            subject,
            how,
            format!("{hint}; or use none: --dpdk-args \"--no-huge -m 512\""),
        );
    }
}

fn memlock(findings: &mut Findings, files: &Files) {
    match machine::locked_memory(files) {
        None => findings.ok("memlock", "no limit on locked memory"),
        Some(limit) if limit < QUEUE_MEMORY => findings.note(
            "memlock",
            format!(
                "only {} KiB may be locked, and VFIO locks the memory that a NIC writes to",
                limit >> 10
            ),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
        ),
        Some(limit) => findings.ok("memlock", format!("{} MiB may be locked", limit >> 20)),
    }
}

/// A PCI network controller.
struct Nic {
    address: String,
    /// `8086:1572`
    kind: String,
    driver: Option<String>,
    group: Option<String>,
    node: Option<String>,
    interfaces: Vec<String>,
}

fn nics(files: &Files) -> Vec<Nic> {
    let folder = "sys/bus/pci/devices";
    let all = files.list(folder).into_iter();
    let network = all.filter(|address| {
        let class = files.read(&format!("{folder}/{address}/class"));
        class.is_some_and(|class| class.starts_with(NETWORK))
    });
    let nic = |address: String| {
        let at = |what: &str| format!("{folder}/{address}/{what}");
        let id = |what: &str| {
            let id = files.read(&at(what)).unwrap_or_default();
            id.trim_start_matches("0x").to_owned()
        };
        let mut interfaces = files.list(&at("net"));
        // Virtio puts a bus between the PCI device and its interface.
        for below in files.list(&at("")) {
            if below.starts_with("virtio") {
                interfaces.extend(files.list(&at(&format!("{below}/net"))));
            }
        }
        Nic {
            kind: format!("{}:{}", id("vendor"), id("device")),
            driver: files.link(&at("driver")),
            group: files.link(&at("iommu_group")),
            node: files
                .read(&at("numa_node"))
                .filter(|node| !node.starts_with('-')),
            interfaces,
            address,
        }
    };
    network.map(nic).collect()
}

fn vfio(findings: &mut Findings, files: &Files, nics: &[Nic]) {
    let subject = "vfio";
    let beside = |nic: &Nic| {
        nic.driver
            .as_deref()
            .is_some_and(|name| BESIDE.contains(&name))
    };
    if files.has("sys/module/vfio_pci") {
        findings.ok(subject, "the module vfio-pci is loaded");
    } else if !nics.is_empty() && nics.iter().all(beside) {
        findings.ok(
            subject,
            "not loaded and not needed: the kernel drivers of the NICs share them with DPDK",
        );
    } else {
        findings.note(
            subject,
            "the module vfio-pci is not loaded",
            "modprobe vfio-pci",
        );
    }
}

fn iommu(findings: &mut Findings, files: &Files) {
    let subject = "iommu";
    let groups = files.list("sys/kernel/iommu_groups").len();
    let unsafe_mode = files.read("sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    if groups > 0 {
        findings.ok(subject, format!("{groups} groups"));
    } else if unsafe_mode.as_deref() == Some("Y") {
        findings.note(
            subject,
            "none, and VFIO is set to work without: a NIC can write to any memory",
            "enable it: BIOS (VT-d, AMD-Vi), and intel_iommu=on on the kernel's command line",
        );
    } else {
        findings.note(
            subject,
            "there are no IOMMU groups: VFIO gives no NIC to user space",
            "enable it: BIOS (VT-d, AMD-Vi), and intel_iommu=on on the kernel's command line; or deploy/dpdk/nic bind ADDRESS --no-iommu",
        );
    }
}

fn bound(findings: &mut Findings, nic: &Nic) {
    let Nic { address, kind, .. } = nic;
    let mut found = format!("{address} ({kind})");
    match &nic.driver {
        Some(driver) => found.push_str(&format!(", driver {driver}")),
        None => found.push_str(", no driver"),
    }
    if !nic.interfaces.is_empty() {
        found.push_str(&format!(", interface {}", nic.interfaces.join(",")));
    }
    match &nic.group {
        Some(group) => found.push_str(&format!(", IOMMU group {group}")),
        None => found.push_str(", no IOMMU group"),
    }
    if let Some(node) = &nic.node {
        found.push_str(&format!(", node {node}"));
    }
    match nic.driver.as_deref() {
        Some(driver) if HANDING_OVER.contains(&driver) => {
            findings.ok("nic", format!("{found}: DPDK can use it"));
        }
        Some(driver) if BESIDE.contains(&driver) => {
            findings.ok("nic", format!("{found}: this driver shares it with DPDK"));
        }
        _ => findings.note(
            "nic",
            format!("{found}: the kernel has it"),
            format!("deploy/dpdk/nic bind {address}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::machine::tests::{levels, tree};
    use super::*;

    #[test]
    fn huge_pages_are_counted_by_node() {
        let node = "sys/devices/system/node/node0/hugepages/hugepages-2048kB";
        let files = |free: &str| {
            tree(
                "dpdk-pages",
                &[
                    (&format!("{node}/nr_hugepages"), "64\n"),
                    (&format!("{node}/free_hugepages"), free),
                ],
            )
        };
        for (free, unwanted, level) in [
            ("60", false, Level::Ok),
            ("0", true, Level::Note),
            ("0", false, Level::Missing),
        ] {
            let files = files(free);
            let found = levels(|findings| huge_pages(findings, &files, unwanted));
            assert_eq!(found, [("huge pages", level)], "{free}");
            files.remove();
        }
    }

    #[test]
    fn a_nic_is_reported_with_its_driver() {
        let pci = "sys/bus/pci/devices";
        let files = tree(
            "dpdk-nics",
            &[
                (&format!("{pci}/0000:01:00.0/class"), "0x020000"),
                (&format!("{pci}/0000:01:00.0/vendor"), "0x8086"),
                (&format!("{pci}/0000:01:00.0/device"), "0x1572"),
                (&format!("{pci}/0000:01:00.0/net/eth1/mtu"), "1500"),
                (&format!("{pci}/0000:02:00.0/class"), "0x010000"),
            ],
        );
        files.symlink("../drivers/i40e", &format!("{pci}/0000:01:00.0/driver"));
        let all = nics(&files);
        let [nic] = &all[..] else {
            panic!("there is one NIC");
        };
        let mut findings = Findings::default();
        bound(&mut findings, nic);
        let finding = &findings.0[0];
        assert_eq!(finding.level, Level::Note);
        assert_eq!(
            finding.found,
            "0000:01:00.0 (8086:1572), driver i40e, interface eth1, no IOMMU group: the kernel has it"
        );
        assert_eq!(
            finding.hint.as_deref(),
            Some("deploy/dpdk/nic bind 0000:01:00.0")
        );
        files.remove();
    }
}
