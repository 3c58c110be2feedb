//! The CPUs of this machine that this process may use.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::thread;

/// CPU numbers from here on are invalid; Linux is never built for more.
const MAX_CPUS: usize = 8192;

/// A CPU as the scheduler counts it: a hardware thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cpu {
    /// Its number, as for `pin_to`.
    pub id: usize,
    /// Its core, within the package. Hyperthreads of one core share it.
    pub core: u32,
    /// Its package (socket).
    pub package: u32,
    /// Its NUMA node.
    pub node: u32,
}

/// CPUs, in order of their numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topology {
    cpus: Vec<Cpu>,
    /// How many threads can run at once.
    parallelism: usize,
}

impl Topology {
    /// The CPUs that the calling thread may use: those of its affinity mask, which is a subset of its cpuset (for instance a
    /// container's). Where the mask is not known, as many CPUs as the system reports, each a core of its own on node 0.
    #[must_use]
    pub fn detect() -> Self {
        let parallelism = thread::available_parallelism().map_or(1, usize::from);
        let detected = system().filter(|topology| !topology.cpus.is_empty());
        let mut topology = detected.unwrap_or_else(|| Self::uniform(parallelism));
        topology.parallelism = parallelism.min(topology.cpus.len());
        topology
    }

    /// The CPUs online according to a sysfs tree; `root` is the directory that is `/sys/devices/system` on a live machine. A
    /// value that the tree lacks is 0, except that a core's number is that of its CPU.
    ///
    /// # Errors
    /// If the list of online CPUs is missing or malformed.
    pub fn from_sysfs(root: &Path) -> io::Result<Self> {
        let online = fs::read_to_string(root.join("cpu/online"))?;
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
        let mut ids = parse_cpu_list(&online).map_err(invalid)?;
        ids.sort_unstable();
        let nodes = nodes(root);
        let cpus: Vec<_> = ids
            .into_iter()
            .map(|id| {
                let topology = root.join(format!("cpu/cpu{id}/topology"));
                let node = nodes.iter().find(|(_, cpus)| cpus.contains(&id));
                Cpu {
                    id,
                    core: read_number(&topology.join("core_id")).unwrap_or(id as u32),
                    package: read_number(&topology.join("physical_package_id")).unwrap_or(0),
                    node: node.map_or(0, |&(node, _)| node),
                }
            })
            .collect();
        Ok(Self {
            parallelism: cpus.len(),
            cpus,
        })
    }

    /// `count` CPUs of unknown place.
    fn uniform(count: usize) -> Self {
        let cpu = |id| Cpu {
            id,
            core: id as u32,
            package: 0,
            node: 0,
        };
        Self {
            cpus: (0..count).map(cpu).collect(),
            parallelism: count,
        }
    }

    /// The same without the CPUs that `allowed` refuses.
    #[must_use]
    pub fn restricted(mut self, allowed: impl Fn(usize) -> bool) -> Self {
        self.cpus.retain(|cpu| allowed(cpu.id));
        self.parallelism = self.parallelism.min(self.cpus.len());
        self
    }

    /// The CPUs, in order of their numbers.
    #[must_use]
    pub fn cpus(&self) -> &[Cpu] {
        &self.cpus
    }

    /// How many threads can run at once: fewer than there are CPUs if the process has a CPU quota (cgroup `cpu.max`).
    #[must_use]
    pub fn parallelism(&self) -> usize {
        self.parallelism
    }

    /// The NUMA node of a CPU, if it is one of these.
    #[must_use]
    pub fn node_of(&self, cpu: usize) -> Option<u32> {
        self.cpus
            .iter()
            .find(|known| known.id == cpu)
            .map(|known| known.node)
    }

    /// The numbers of all CPUs in the order in which to give them to lcores: node by node, within a node first one
    /// CPU of each core, then the cores' second hyperthreads, and so on.
    #[must_use]
    pub fn placement(&self) -> Vec<usize> {
        let mut keyed: Vec<_> = self
            .cpus
            .iter()
            .enumerate()
            .map(|(at, cpu)| {
                let same_core =
                    |other: &&Cpu| (other.package, other.core) == (cpu.package, cpu.core);
                let siblings_before = self.cpus[..at].iter().filter(same_core).count();
                (cpu.node, siblings_before, cpu.id)
            })
            .collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, _, id)| id).collect()
    }
}

#[cfg(target_os = "linux")]
fn system() -> Option<Topology> {
    use rustix::thread::{CpuSet, sched_getaffinity};

    let mask = sched_getaffinity(None).ok()?;
    let allowed = |id| id < CpuSet::MAX_CPU && mask.is_set(id);
    let known = Topology::from_sysfs(Path::new("/sys/devices/system"));
    // Without sysfs, as in a sandbox, the mask still has the numbers.
    let all = known.unwrap_or_else(|_| Topology::uniform(CpuSet::MAX_CPU));
    Some(all.restricted(allowed))
}

#[cfg(not(target_os = "linux"))]
fn system() -> Option<Topology> {
    None
}

/// The NUMA nodes and their CPUs.
fn nodes(root: &Path) -> Vec<(u32, Vec<usize>)> {
    let Ok(entries) = fs::read_dir(root.join("node")) else {
        return Vec::new();
    };
    let node = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let number = entry
            .file_name()
            .to_str()?
            .strip_prefix("node")?
            .parse()
            .ok()?;
        let list = fs::read_to_string(entry.path().join("cpulist")).ok()?;
        Some((number, parse_cpu_list(&list).ok()?))
    };
    entries.filter_map(node).collect()
}

fn read_number(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A malformed list of CPUs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuListError {
    /// The part between commas that is malformed.
    part: String,
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is neither a CPU number nor a range such as 0-3",
            self.part
        )
    }
}

impl std::error::Error for CpuListError {}

/// Parses a list in the format of the kernel: numbers and ranges between commas, such as `0-3,8`. The order is kept,
/// repetitions are dropped, and an empty text is an empty list.
///
/// # Errors
/// The first part that has another format, is a backward range, or has a number above 8191.
pub fn parse_cpu_list(text: &str) -> Result<Vec<usize>, CpuListError> {
    let text = text.trim();
    let mut cpus = Vec::new();
    if text.is_empty() {
        return Ok(cpus);
    }
    for part in text.split(',') {
        let error = || CpuListError {
            part: part.to_owned(),
        };
        let number = |digits: &str| match digits.trim().parse::<usize>() {
            Ok(cpu) if cpu < MAX_CPUS => Ok(cpu),
            _ => Err(error()),
        };
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(error());
        }
        for cpu in first..=last {
            if !cpus.contains(&cpu) {
                cpus.push(cpu);
            }
        }
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two packages with a node each, two cores of two hyperthreads each; siblings are 4 apart. CPU 6 is offline.
    fn two_sockets() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        let write = |path: String, text: String| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        };
        write("cpu/online".into(), "0-5,7\n".into());
        for id in 0..8 {
            let (package, core) = (id % 4 / 2, id % 2);
            write(format!("cpu/cpu{id}/topology/core_id"), format!("{core}\n"));
            write(
                format!("cpu/cpu{id}/topology/physical_package_id"),
                format!("{package}\n"),
            );
        }
        write("node/node0/cpulist".into(), "0-1,4-5\n".into());
        write("node/node1/cpulist".into(), "2-3,6-7\n".into());
        write("node/possible".into(), "0-1\n".into());
        write("node/node2/cpulist".into(), "\n".into());
        root
    }

    #[test]
    fn reads_cores_packages_and_nodes() {
        let root = two_sockets();
        let topology = Topology::from_sysfs(root.path()).expect("a topology");
        let seen: Vec<_> = topology
            .cpus()
            .iter()
            .map(|cpu| (cpu.id, cpu.package, cpu.core, cpu.node))
            .collect();
        let expected = [
            (0, 0, 0, 0),
            (1, 0, 1, 0),
            (2, 1, 0, 1),
            (3, 1, 1, 1),
            (4, 0, 0, 0),
            (5, 0, 1, 0),
            (7, 1, 1, 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!((topology.node_of(3), topology.node_of(6)), (Some(1), None));
        assert_eq!(topology.parallelism(), 7);
    }

    #[test]
    fn places_lcores_on_whole_cores_first() {
        let root = two_sockets();
        let topology = Topology::from_sysfs(root.path()).expect("a topology");
        assert_eq!(topology.placement(), [0, 1, 4, 5, 2, 3, 7]);
        // A mask with only the second hyperthread of core 0: it counts as the core's first.
        let restricted = topology.restricted(|cpu| [1, 4, 5].contains(&cpu));
        assert_eq!(restricted.placement(), [1, 4, 5]);
        assert_eq!(restricted.parallelism(), 3);
    }

    #[test]
    fn a_sparse_tree_is_read_with_defaults_and_an_empty_one_is_an_error() {
        let root = tempfile::tempdir().expect("a directory");
        let error = Topology::from_sysfs(root.path()).expect_err("nothing there");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        fs::create_dir(root.path().join("cpu")).expect("a directory");
        fs::write(root.path().join("cpu/online"), "0,2").expect("a file");
        let topology = Topology::from_sysfs(root.path()).expect("a topology");
        let cpu = |id| Cpu {
            id,
            core: id as u32,
            package: 0,
            node: 0,
        };
        assert_eq!(topology.cpus(), [cpu(0), cpu(2)]);
        fs::write(root.path().join("cpu/online"), "zero").expect("a file");
        let error = Topology::from_sysfs(root.path()).expect_err("malformed");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn this_machine_has_a_cpu_and_no_more_parallelism_than_cpus() {
        let topology = Topology::detect();
        assert!(!topology.cpus().is_empty());
        assert!((1..=topology.cpus().len()).contains(&topology.parallelism()));
        assert_eq!(topology.placement().len(), topology.cpus().len());
    }

    #[test]
    fn parses_lists_as_the_kernel_writes_them() {
        assert_eq!(parse_cpu_list("0-3,8\n"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse_cpu_list("5,1, 1-2"), Ok(vec![5, 1, 2]));
        assert_eq!(parse_cpu_list(""), Ok(vec![]));
        for bad in [
            "a",
            "1-",
            "-1",
            "3-1",
            "1,,2",
            "0-8192",
            "99999999999999999999",
            "1-2-3",
            "+",
        ] {
            assert!(parse_cpu_list(bad).is_err(), "{bad}");
        }
    }
}
