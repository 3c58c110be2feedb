//! What to say when the kernel refuses something: who has to act, and the command that mends it.

use std::error::Error;
use std::io;
use std::time::Duration;
use std::{fs, path::Path};

use aya::EbpfError;
use aya::programs::ProgramError;

use crate::nic::{self, Nic};
use crate::program::errno;
use crate::{BindMode, OpenError, XdpMode};

/// CAP_PERFMON: without it the verifier lets no program look behind a header of variable length.
const PRIVILEGES: &str = "run as root, or setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock=ep on the binary, \
     or AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON CAP_IPC_LOCK in the systemd unit";

fn privileges(what: &str, why: io::Error) -> OpenError {
    OpenError::environment(format!("no permission to {what}"), PRIVILEGES).because(why)
}

fn is_permission(why: &io::Error) -> bool {
    matches!(why.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

/// The interface cannot be looked at.
pub(crate) fn find(name: &str, why: io::Error) -> OpenError {
    match (why.raw_os_error(), why.kind()) {
        (Some(libc::ENODEV), _) => OpenError::options(
            format!("there is no interface {name}"),
            "ip link shows which there are",
        ),
        (_, io::ErrorKind::InvalidInput) => OpenError::options(why.to_string(), ""),
        (_, io::ErrorKind::Unsupported) => {
            OpenError::options(format!("{name} is {why}"), "name one that is")
        }
        _ => {
            OpenError::environment(format!("cannot look at the interface {name}"), "").because(why)
        }
    }
}

/// The object is not what this crate was written with.
pub(crate) fn object(what: &str) -> OpenError {
    OpenError::environment(
        format!("the XDP object is not the one that belongs to this program: {what}"),
        "build both from the same sources",
    )
}

/// The object cannot be loaded.
pub(crate) fn load(why: &EbpfError) -> OpenError {
    if let Some(code) = errno(why) {
        let why = io::Error::from_raw_os_error(code);
        if is_permission(&why) {
            return privileges("make BPF maps", why);
        }
        return OpenError::environment(
            "the kernel refuses the XDP program's maps",
            kernel_needed(),
        )
        .because(why);
    }
    object(&chain(why))
}

/// The verifier refuses the program, or nobody may load one.
pub(crate) fn program(why: &ProgramError) -> OpenError {
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = why
    {
        let error = io::Error::from_raw_os_error(io_error.raw_os_error().unwrap_or(0));
        let log = verifier_log.to_string();
        if is_permission(&error) && (log.trim().is_empty() || log.contains("prohibited for !root"))
        {
            return privileges("load an XDP program", error);
        }
        // The reason is the last line but for the verifier's statistics.
        let statistics = ["processed ", "stack depth ", "verification time "];
        let says = |line: &&str| {
            !line.trim().is_empty() && !statistics.iter().any(|head| line.starts_with(head))
        };
        let reason = log.lines().rev().find(says);
        let what = format!(
            "the kernel refuses the XDP program: {}",
            reason.unwrap_or("no reason given")
        );
        return OpenError::environment(what, kernel_needed()).because(error);
    }
    object(&chain(why))
}

fn kernel_needed() -> &'static str {
    "Linux 5.18 or later with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS is needed (uname -r)"
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The program cannot be attached.
pub(crate) fn attach(nic: &Nic, asked: XdpMode, mode: XdpMode, why: io::Error) -> OpenError {
    let Nic { name, driver, .. } = nic;
    match why.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => privileges("attach an XDP program", why),
        Some(libc::EBUSY | libc::EEXIST) => taken(nic),
        Some(libc::ENODEV) => find(name, why),
        Some(libc::ERANGE | libc::EINVAL) if mode == XdpMode::Native => OpenError::environment(
            format!("{name} ({driver}) takes no XDP program in the driver at its MTU of {} or that of its peer, or with its number of queues or its offloads", nic.mtu),
            format!("ip link set {name} mtu 1500; ethtool -K {name} lro off; or use SKB mode"),
        )
        .because(why),
        _ if asked == XdpMode::Native => OpenError::environment(
            format!("the driver of {name} ({driver}) takes no XDP program"),
            "use SKB mode or auto",
        )
        .because(why),
        _ => OpenError::environment(format!("{name} ({driver}) takes no XDP program"), kernel_needed())
            .because(why),
    }
}

/// Another program is on the interface.
fn taken(nic: &Nic) -> OpenError {
    let Nic { name, .. } = nic;
    let found = nic::attached_program(nic.index).ok().flatten();
    let what = match found {
        Some(program) => format!("another XDP program (id {}) is on {name}", program.id),
        None => format!("another XDP program is on {name}"),
    };
    let mend = match found.and_then(|program| holder(program.id)) {
        Some((pid, command)) => {
            format!(
                "it belongs to process {pid} ({command}): end that, for example with kill {pid}"
            )
        }
        None if found.is_some_and(|program| program.generic) => {
            format!("ip link set dev {name} xdpgeneric off")
        }
        None => format!("ip link set dev {name} xdp off"),
    };
    OpenError::environment(what, mend)
}

/// The process that holds the link of this XDP program to its interface: its number and name. Programs are looked for, since
/// another network namespace may have an interface with the same index.
pub fn holder(program: u32) -> Option<(u32, String)> {
    let wanted = format!("prog_id:\t{program}");
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.find_map(|pid: u32| {
        let process = Path::new("/proc").join(pid.to_string());
        let mut files = fs::read_dir(process.join("fdinfo")).ok()?.flatten();
        files.find(|file| {
            let info = fs::read_to_string(file.path()).unwrap_or_default();
            let has = |line: &str| info.lines().any(|other| other == line);
            has("link_type:\txdp") && has(&wanted)
        })?;
        let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
        Some((pid, name.trim().to_owned()))
    })
}

/// There can be no AF_XDP socket.
pub(crate) fn socket(why: io::Error) -> OpenError {
    match why.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => privileges("open an AF_XDP socket", why),
        Some(libc::EAFNOSUPPORT) => {
            OpenError::environment("the kernel has no AF_XDP", kernel_needed()).because(why)
        }
        _ => OpenError::environment("cannot open an AF_XDP socket", "").because(why),
    }
}

/// There is no memory for the frames, or the kernel refuses to share it.
pub(crate) fn memory(bytes: usize, why: io::Error) -> OpenError {
    let mend = match why.raw_os_error() {
        // Without CAP_IPC_LOCK, what is shared with the kernel counts as locked memory.
        Some(libc::ENOBUFS) => "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
        Some(libc::ENOMEM) => "ask for fewer frames, or smaller rings",
        _ => kernel_needed(),
    };
    OpenError::environment(
        format!("cannot share {} KiB of frames with the kernel", bytes >> 10),
        mend,
    )
    .because(why)
}

/// A socket cannot be bound.
pub(crate) fn bind(
    nic: &Nic,
    queue: u32,
    asked: BindMode,
    waited: Duration,
    why: io::Error,
) -> OpenError {
    let Nic { name, driver, .. } = nic;
    let jumbo = nic
        .chunk_sizes()
        .is_some_and(|(frame, piece)| frame > piece);
    match why.raw_os_error() {
        Some(libc::EBUSY) => OpenError::environment(
            format!("queue {queue} of {name} belongs to another AF_XDP socket, after {} ms of waiting", waited.as_millis()),
            "end the process that has it (ss --xdp -p)",
        ),
        Some(libc::EOPNOTSUPP) if asked == BindMode::ZeroCopy => OpenError::environment(
            format!("the driver of {name} ({driver}) has no zero-copy for queue {queue}"),
            "use copy mode or auto",
        )
        .because(why),
        Some(libc::EINVAL) if queue >= nic.queues => no_queue(nic, queue),
        Some(libc::EINVAL | libc::EOPNOTSUPP) if jumbo => OpenError::environment(
            format!("the kernel or the driver of {name} ({driver}) has no AF_XDP for packets of several buffers, as an MTU of {} needs", nic.mtu),
            format!("ip link set {name} mtu 1500"),
        )
        .because(why),
        Some(libc::ENETDOWN) => {
            OpenError::environment(format!("{name} is down"), format!("ip link set {name} up")).because(why)
        }
        Some(libc::EPERM) => privileges("bind an AF_XDP socket", why),
        _ => OpenError::environment(format!("cannot bind to queue {queue} of {name} ({driver})"), "").because(why),
    }
}

/// The interface has no such queue.
pub(crate) fn no_queue(nic: &Nic, queue: u32) -> OpenError {
    let Nic { name, queues, .. } = nic;
    OpenError::options(
        format!("{name} has no queue {queue}: it has {queues}, from 0"),
        format!(
            "ethtool -L {name} combined {} makes more, if the NIC can",
            queue + 1
        ),
    )
}

/// The kernel polls for nobody.
pub(crate) fn busy_poll(why: io::Error) -> OpenError {
    match why.raw_os_error() {
        Some(libc::EPERM) => privileges("set busy polling", why),
        _ => OpenError::environment(
            "no busy polling on AF_XDP sockets",
            "Linux 5.11 or later is needed, or leave it off",
        )
        .because(why),
    }
}
