//! The scripts of `deploy/dpdk`, on a file tree that imitates /sys and /proc. Needs a POSIX shell; one test needs Debian's
//! shellcheck.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const HUGE: &str = "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const NODE: &str = "sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages";
const DEVICE: &str = "sys/bus/pci/devices/0000:01:00.0";
const WORKQUEUE: &str = "sys/devices/virtual/workqueue/cpumask";

struct Machine(PathBuf);

impl Machine {
    fn new(name: &str) -> Self {
        let name = format!("hioload-deploy-{}-{name}", std::process::id());
        let machine = Self(std::env::temp_dir().join(name));
        for (path, text) in [
            (HUGE, "3"),
            (NODE, "0"),
            ("sys/devices/system/cpu/online", "0-39"),
            (WORKQUEUE, "ff,ffffffff"),
            ("proc/irq/1/smp_affinity_list", "0-39"),
            ("proc/irq/20/smp_affinity_list", "7"),
            ("sys/kernel/iommu_groups/0/type", "DMA"),
            ("sys/bus/pci/drivers/ixgbe/unbind", ""),
            ("sys/bus/pci/drivers_probe", ""),
            (&format!("{DEVICE}/class"), "0x020000"),
            (&format!("{DEVICE}/numa_node"), "1"),
            (&format!("{DEVICE}/driver_override"), "(null)"),
            (&format!("{DEVICE}/net/eth7/mtu"), "1500"),
        ] {
            let path = machine.0.join("root").join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, format!("{text}\n")).expect("written");
        }
        let driver = machine.0.join("root").join(DEVICE).join("driver");
        symlink("../../drivers/ixgbe", driver).expect("linked");
        machine
    }

    /// Runs a script. Returns whether it succeeds, and its output.
    fn run(&self, line: &str) -> (bool, String) {
        let mut words = line.split_whitespace();
        let script = deploy().join(words.next().expect("a script"));
        let output = Command::new(script)
            .args(words)
            .env("HIOLOAD_ROOT", self.0.join("root"))
            .env("HIOLOAD_STATE", self.0.join("state"))
            .output()
            .expect("it runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (output.status.success(), text)
    }

    fn ok(&self, line: &str) -> String {
        let (ok, text) = self.run(line);
        assert!(ok, "{line}: {text}");
        text
    }

    fn read(&self, path: &str) -> String {
        let text = fs::read_to_string(self.0.join("root").join(path)).expect("readable");
        text.trim_end().to_owned()
    }

    /// Every file with its contents.
    fn everything(&self) -> BTreeMap<PathBuf, String> {
        let mut all = BTreeMap::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("readable") {
                let entry = entry.expect("readable");
                let kind = entry.file_type().expect("known");
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    let text = fs::read_to_string(entry.path()).expect("readable");
                    all.insert(entry.path(), text);
                }
            }
        }
        all
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dpdk")
}

#[test]
fn a_dry_run_changes_nothing_and_prints_the_changes() {
    let machine = Machine::new("dry");
    let before = machine.everything();
    for (line, words) in [
        ("huge-pages --dry-run reserve 512", "would write '512'"),
        ("nic --dry-run bind 0000:01:00.0", "would write 'vfio-pci'"),
        (
            "isolate-cores --dry-run isolate 2-5",
            "would write '0,1,6,7",
        ),
        ("huge-pages --dry-run undo", ""),
        ("nic --dry-run undo", ""),
        ("isolate-cores --dry-run undo", ""),
    ] {
        let output = machine.ok(line);
        assert!(output.contains(words), "{line}: {output}");
        assert_eq!(machine.everything(), before, "{line}");
    }
}

#[test]
fn undo_restores_the_huge_pages_from_before_the_first_reserve() {
    let machine = Machine::new("huge");
    machine.ok("huge-pages reserve 512");
    machine.ok("huge-pages reserve 512");
    machine.ok("huge-pages reserve 100");
    machine.ok("huge-pages reserve 2 --size 1G --node 1");
    assert_eq!(
        (machine.read(HUGE), machine.read(NODE)),
        ("100".into(), "2".into())
    );
    assert!(machine.ok("huge-pages status").contains(": 100"));
    machine.ok("huge-pages undo");
    assert_eq!(
        (machine.read(HUGE), machine.read(NODE)),
        ("3".into(), "0".into())
    );
    // A second undo changes nothing.
    fs::write(machine.0.join("root").join(HUGE), "9\n").expect("written");
    machine.ok("huge-pages undo");
    assert_eq!(machine.read(HUGE), "9");
}

#[test]
fn a_nic_is_bound_to_vfio_and_back_to_its_driver() {
    let machine = Machine::new("nic");
    let status = machine.ok("nic status");
    assert!(
        status.contains("0000:01:00.0 driver ixgbe node 1 interface eth7"),
        "{status}"
    );
    let unbind = "sys/bus/pci/drivers/ixgbe/unbind";
    let machine_override = format!("{DEVICE}/driver_override");
    machine.ok("nic bind 0000:01:00.0");
    assert_eq!(machine.read(&machine_override), "vfio-pci");
    assert_eq!(machine.read(unbind), "0000:01:00.0");
    assert_eq!(machine.read("sys/bus/pci/drivers_probe"), "0000:01:00.0");
    machine.ok("nic undo 0000:02:00.0");
    assert_eq!(machine.read(&machine_override), "vfio-pci", "another one");
    machine.ok("nic undo");
    assert_eq!(machine.read(&machine_override), "");
    // A NIC that is bound to the requested driver is not changed.
    let output = machine.ok("nic bind 0000:01:00.0 --driver ixgbe");
    assert!(output.contains("already"), "{output}");
    assert_eq!(machine.read(&machine_override), "");
}

#[test]
fn without_an_iommu_binding_needs_an_option() {
    let machine = Machine::new("iommu");
    fs::remove_dir_all(machine.0.join("root/sys/kernel/iommu_groups")).expect("removed");
    let before = machine.everything();
    let (ok, output) = machine.run("nic bind 0000:01:00.0");
    assert!(!ok && output.contains("no IOMMU"), "{output}");
    assert_eq!(machine.everything(), before);
    let switch = "sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    let path = machine.0.join("root").join(switch);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, "N\n").expect("written");
    machine.ok("nic bind 0000:01:00.0 --no-iommu");
    assert_eq!(machine.read(switch), "Y");
    machine.ok("nic undo");
    assert_eq!(machine.read(switch), "N");
}

#[test]
fn cores_are_isolated_and_undo_restores_the_masks() {
    let machine = Machine::new("cores");
    machine.ok("isolate-cores isolate 2-37,39");
    assert_eq!(machine.read("proc/irq/1/smp_affinity_list"), "0,1,38");
    assert_eq!(machine.read("proc/irq/20/smp_affinity_list"), "0,1,38");
    assert_eq!(machine.read(WORKQUEUE), "40,00000003");
    machine.ok("isolate-cores isolate 2-38");
    assert_eq!(machine.read(WORKQUEUE), "80,00000003");
    machine.ok("isolate-cores undo");
    assert_eq!(machine.read("proc/irq/1/smp_affinity_list"), "0-39");
    assert_eq!(machine.read("proc/irq/20/smp_affinity_list"), "7");
    assert_eq!(machine.read(WORKQUEUE), "ff,ffffffff");
    let line = machine.ok("isolate-cores boot 1-39");
    assert!(
        line.contains("nohz_full=1-39") && line.contains("irqaffinity=0"),
        "{line}"
    );
}

#[test]
fn a_wrong_argument_is_an_error_and_changes_nothing() {
    let machine = Machine::new("nonsense");
    let before = machine.everything();
    for line in [
        "huge-pages",
        "huge-pages reserve",
        "huge-pages reserve many",
        "huge-pages reserve 5 --size 3M",
        "huge-pages reserve 5 --node 9",
        "nic",
        "nic bind",
        "nic bind eth0",
        "nic bind 0000:09:00.0",
        "nic bind ../../../etc",
        "isolate-cores isolate",
        "isolate-cores isolate x",
        "isolate-cores isolate 0-39",
        "isolate-cores boot 3-",
    ] {
        let (ok, output) = machine.run(line);
        assert!(!ok && !output.is_empty(), "{line}: {output}");
        assert_eq!(machine.everything(), before, "{line}");
    }
}

#[test]
fn shellcheck_reports_no_problem() {
    let mut check = Command::new("shellcheck");
    check
        .current_dir(deploy())
        .args(["-x", "huge-pages", "nic", "isolate-cores", "common.sh"]);
    match check.output() {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        ),
        Err(_) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "this test needs Debian's shellcheck"
            );
            eprintln!("SKIPPED: needs Debian's shellcheck");
        }
    }
}
