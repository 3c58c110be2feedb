//! The machine: kernel, privileges, memory, CPUs.

use std::fs;
use std::path::{Path, PathBuf};

use hioload_lcore::topology::{Topology, parse_cpu_list};
use hioload_ws::Lcores;

use super::Findings;
use crate::cli::CheckArgs;
use crate::config::values::LcoreSet;

/// Packets in several buffers: without them the largest MTU of AF_XDP is about 3500.
const JUMBO: (u32, u32) = (6, 6);
/// XDP programs for packets in several buffers, and everything that the loader uses.
const NEEDED: (u32, u32) = (5, 18);
/// The kernel computes checksums: since this version the flag has its meaning.
const CHECKSUMS: (u32, u32) = (6, 11);

/// linux/capability.h
const CAPABILITIES: [(&str, u32); 4] = [
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_BPF", CAP_BPF),
    // Without it the verifier accepts no program that reads behind a header of variable length.
    ("CAP_PERFMON", CAP_PERFMON),
];
const CAP_BPF: u32 = 39;
const CAP_PERFMON: u32 = 38;
/// It includes these two.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_IPC_LOCK: u32 = 14;

/// Frames of one queue by default: 8192 of 2 KiB.
const QUEUE_MEMORY: u64 = 16 << 20;

/// The root of the kernel's files: `/`, or a copy in tests.
pub(super) struct Files(PathBuf);

impl Files {
    /// The files of this machine.
    pub(super) fn here() -> Self {
        Self(Path::new("/").to_owned())
    }

    /// The text of a file, without white space around it.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.0.join(path))
            .ok()
            .map(|text| text.trim().to_owned())
    }

    /// The names in a folder, in their order.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(path)).into_iter().flatten();
        let names = entries.flatten().map(|entry| entry.file_name());
        let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
        names.sort();
        names
    }

    /// The last component of the target of a link.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.0.join(path)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }
}

/// Checks everything in this file.
pub(super) fn look(findings: &mut Findings, arguments: &CheckArgs) {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    let files = Files::here();
    kernel(findings, &files);
    privileges(findings, &files);
    huge_pages(findings, &files);
    cpus(findings, &files, &lcores(arguments));
}

/// The CPUs of the lcores.
pub(super) fn lcores(arguments: &CheckArgs) -> Vec<usize> {
    let placement = || Topology::detect().placement();
    match &arguments.lcores {
        LcoreSet(Lcores::Auto) => placement(),
        LcoreSet(Lcores::Count(count)) => placement().into_iter().take(*count).collect(),
        LcoreSet(Lcores::Cpus(cpus)) => cpus.clone(),
    }
}

fn kernel(findings: &mut Findings, files: &Files) {
    let release = files.read("proc/sys/kernel/osrelease").unwrap_or_default();
    let subject = "kernel";
    match version(&release) {
        None => findings.note(
            subject,
            format!("cannot read the version from '{release}'"),
            "",
        ),
        Some(version) if version < NEEDED => findings.missing(
            subject,
            format!("Linux {release}, older than {}.{}", NEEDED.0, NEEDED.1),
            "apt-get install linux-image-amd64/bookworm-backports, and reboot",
        ),
        Some(version) => {
            let without = [
                (JUMBO, "an MTU above 3500"),
                (CHECKSUMS, "checksums computed by the kernel"),
            ]
            .into_iter()
            .filter(|(since, _)| version < *since)
            .map(|((major, minor), what)| format!("{what} (since {major}.{minor})"))
            .collect::<Vec<_>>();
            if without.is_empty() {
                findings.ok(subject, format!("Linux {release}"));
            } else {
                findings.note(
                    subject,
                    format!("Linux {release}, without {}", without.join(" and ")),
                    "",
                );
            }
        }
    }
    if files.has("sys/kernel/btf/vmlinux") {
        findings.ok("btf", "the kernel has type information");
    } else {
        findings.note(
            "btf",
            "the kernel has no BTF: the XDP program works without it, and bpftool shows less",
            "boot a kernel with CONFIG_DEBUG_INFO_BTF=y",
        );
    }
}

/// `6.18.44-v657` is `(6, 18)`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn privileges(findings: &mut Findings, files: &Files) {
    let subject = "privileges";
    let status = files.read("proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(mask) = effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()) else {
        findings.note(subject, "cannot read the capabilities of this process", "");
        return;
    };
    let has = |bit: u32| mask & 1 << bit != 0;
    let implied = |bit| [CAP_BPF, CAP_PERFMON].contains(&bit) && has(CAP_SYS_ADMIN);
    let lacks = |bit: u32| !has(bit) && !implied(bit);
    let lacking: Vec<_> = CAPABILITIES
        .into_iter()
        .filter(|&(_, bit)| lacks(bit))
        .map(|(name, _)| name)
        .collect();
    if !lacking.is_empty() {
        findings.missing(
            subject,
            format!("missing {}", lacking.join(", ")),
            "run as root, or: setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock=ep $(command -v hioload)",
        );
        return;
    }
    findings.ok(subject, "CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON");
    if let Some(limit) =
        locked_memory(files).filter(|&limit| !has(CAP_IPC_LOCK) && limit < QUEUE_MEMORY)
    {
        findings.missing(
            "memlock",
            format!(
                "only {} KiB may be locked, and packet frames are locked memory",
                limit >> 10
            ),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit, or CAP_IPC_LOCK",
        );
    }
}

/// Bytes of memory this process may lock; `None`: no limit.
pub(super) fn locked_memory(files: &Files) -> Option<u64> {
    let limits = files.read("proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"));
    // `unlimited` is not a number.
    line?.split_whitespace().next()?.parse().ok()
}

fn huge_pages(findings: &mut Findings, files: &Files) {
    let subject = "huge pages";
    let memory = files.read("proc/meminfo").unwrap_or_default();
    let number = |key: &str| -> Option<u64> {
        let line = memory.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim_start_matches(':')
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    };
    let (free, total) = (number("HugePages_Free"), number("HugePages_Total"));
    match (free, total) {
        (Some(free), Some(total)) if free > 0 => {
            findings.ok(
                subject,
                format!("{free} of {total} pages of 2 MiB are free"),
            );
        }
        (_, Some(total)) if total > 0 => findings.note(
            subject,
            format!("all {total} pages of 2 MiB are in use"),
            "sysctl -w vm.nr_hugepages=N for more (16 MiB for each queue)",
        ),
        _ => findings.note(
            subject,
            "none are reserved: packet frames use 4 KiB pages",
            "sysctl -w vm.nr_hugepages=64 (8 for each queue)",
        ),
    }
}

/// Whether other threads use the CPUs of the lcores.
pub(super) fn cpus(findings: &mut Findings, files: &Files, lcores: &[usize]) {
    let list = |path| {
        files
            .read(path)
            .map(|list| parse_cpu_list(&list).unwrap_or_default())
    };
    let isolated = list("sys/devices/system/cpu/isolated").unwrap_or_default();
    let tickless = list("sys/devices/system/cpu/nohz_full").unwrap_or_default();
    for (subject, set, what, option) in [
        (
            "isolation",
            isolated,
            "isolated from other threads",
            "isolcpus",
        ),
        ("ticks", tickless, "without the scheduler tick", "nohz_full"),
    ] {
        let (with, without): (Vec<usize>, Vec<usize>) =
            lcores.iter().partition(|&cpu| set.contains(cpu));
        if without.is_empty() && !with.is_empty() {
            findings.ok(subject, format!("CPUs {} are {what}", join(&with)));
        } else {
            findings.note(
                subject,
                format!("CPUs {} are not {what}", join(&without)),
                format!(
                    "boot with {option}={} (the kernel needs at least one other CPU)",
                    join(&without)
                ),
            );
        }
    }
}

/// `0,1,4`
pub(super) fn join(numbers: &[impl ToString]) -> String {
    numbers
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::app::check::Level;

    impl Files {
        pub(in super::super) fn remove(self) {
            let _ = fs::remove_dir_all(self.0);
        }

        #[cfg(unix)]
        pub(in super::super) fn symlink(&self, to: &str, path: &str) {
            std::os::unix::fs::symlink(to, self.0.join(path)).expect("a link");
        }
    }

    /// A tree of files like the kernel's.
    pub(in super::super) fn tree(name: &str, files: &[(&str, &str)]) -> Files {
        let root =
            std::env::temp_dir().join(format!("hioload-check-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        Files(root)
    }

    pub(in super::super) fn levels(look: impl FnOnce(&mut Findings)) -> Vec<(&'static str, Level)> {
        let mut findings = Findings::default();
        look(&mut findings);
        findings
            .0
            .iter()
            .map(|finding| (finding.subject, finding.level))
            .collect()
    }

    #[test]
    fn old_kernels_are_reported() {
        for (release, level) in [
            ("6.18.44-fc", Level::Ok),
            ("6.1.0-37-amd64", Level::Note),
            ("5.10.0", Level::Missing),
            ("unknown", Level::Note),
        ] {
            let files = tree(
                "kernel",
                &[
                    ("proc/sys/kernel/osrelease", release),
                    ("sys/kernel/btf/vmlinux", ""),
                ],
            );
            let found = levels(|findings| kernel(findings, &files));
            assert_eq!(found, [("kernel", level), ("btf", Level::Ok)], "{release}");
            let _ = fs::remove_dir_all(files.0);
        }
    }

    #[test]
    fn every_capability_is_required() {
        let all = 1_u64 << 12 | 1 << 13 | 1 << 38 | 1 << 39 | 1 << 14;
        let limits = "Max locked memory  65536  65536  bytes";
        for (mask, wanted) in [
            (all, vec![("privileges", Level::Ok)]),
            (all & !(1 << 39) | 1 << 21, vec![("privileges", Level::Ok)]),
            (all & !(1 << 39), vec![("privileges", Level::Missing)]),
            (all & !(1 << 38), vec![("privileges", Level::Missing)]),
            (all & !(1 << 12), vec![("privileges", Level::Missing)]),
            (
                all & !(1 << 14),
                vec![("privileges", Level::Ok), ("memlock", Level::Missing)],
            ),
        ] {
            let status = format!("Name:\tx\nCapEff:\t{mask:016x}\n");
            let files = tree(
                "caps",
                &[("proc/self/status", &status), ("proc/self/limits", limits)],
            );
            assert_eq!(
                levels(|findings| privileges(findings, &files)),
                wanted,
                "{mask:x}"
            );
            let _ = fs::remove_dir_all(files.0);
        }
    }

    #[test]
    fn huge_pages_and_isolation_are_reported() {
        let files = tree(
            "cpus",
            &[
                (
                    "proc/meminfo",
                    "MemTotal: 1 kB\nHugePages_Total:      64\nHugePages_Free:       60\n",
                ),
                ("sys/devices/system/cpu/isolated", "2-3\n"),
                ("sys/devices/system/cpu/nohz_full", "(null)\n"),
            ],
        );
        let found = levels(|findings| {
            huge_pages(findings, &files);
            cpus(findings, &files, &[2, 3]);
        });
        let wanted = [
            ("huge pages", Level::Ok),
            ("isolation", Level::Ok),
            ("ticks", Level::Note),
        ];
        assert_eq!(found, wanted);
        let _ = fs::remove_dir_all(files.0);
    }
}
