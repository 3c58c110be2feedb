//! Turns a refusal of the kernel into an error that names the party at fault and the command that fixes it.

use std::error::Error;
use std::io;
use std::time::Duration;

use aya::EbpfError;
use aya::programs::ProgramError;

use crate::error::OpenError;
use crate::nic::{self, Nic};
use crate::options::{BindMode, XdpMode};

/// Without CAP_PERFMON the verifier rejects a program that reads behind a header of variable length.
const PRIVILEGES: &str = "run as root, or setcap cap_net_admin,cap_net_raw,cap_bpf,cap_perfmon,cap_ipc_lock=ep on the binary, \
     or AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_BPF CAP_PERFMON CAP_IPC_LOCK in the systemd unit";

const KERNEL: &str =
    "Linux 5.18 or later with CONFIG_BPF_SYSCALL and CONFIG_XDP_SOCKETS is needed (uname -r)";

fn privileges(action: &str) -> OpenError {
    OpenError::environment(format!("no permission to {action}"), PRIVILEGES)
}

fn is_permission(code: i32) -> bool {
    matches!(code, libc::EPERM | libc::EACCES)
}

/// The interface cannot be examined.
pub(crate) fn find(name: &str, cause: io::Error) -> OpenError {
    match (cause.raw_os_error(), cause.kind()) {
        (Some(libc::ENODEV), _) => OpenError::caller(
            format!("there is no interface {name}"),
            "ip link lists the interfaces",
        ),
        (_, io::ErrorKind::InvalidInput) => OpenError::caller(cause.to_string(), ""),
        (_, io::ErrorKind::Unsupported) => OpenError::caller(
            format!("{name} is not an Ethernet interface"),
            "ip -d link shows the type of each interface",
        ),
        _ => OpenError::environment(format!("cannot examine the interface {name}"), ""),
    }
    .because(cause)
}

/// The object file is not the one that this crate is written for.
pub(crate) fn object(what: &str) -> OpenError {
    OpenError::environment(
        format!("the XDP object does not belong to this program: {what}"),
        "build both from the same sources",
    )
}

/// The object cannot be loaded.
pub(crate) fn load(cause: EbpfError) -> OpenError {
    match errno(&cause) {
        Some(code) if is_permission(code) => privileges("create BPF maps"),
        Some(_) => OpenError::environment("the kernel rejects the XDP program's maps", KERNEL),
        None => object("it cannot be parsed"),
    }
    .because(cause)
}

/// The verifier rejects the program, or the process may not load one.
pub(crate) fn program(cause: ProgramError) -> OpenError {
    let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = cause
    else {
        return object("it has no such program").because(cause);
    };
    let log = verifier_log.to_string();
    let silent = log.trim().is_empty() || log.contains("prohibited for !root");
    if silent && io_error.raw_os_error().is_some_and(is_permission) {
        return privileges("load an XDP program").because(io_error);
    }
    // The verifier writes its reason last, followed only by its statistics.
    let statistics = ["processed ", "stack depth ", "verification time "];
    let is_reason = |line: &&str| {
        !line.trim().is_empty() && !statistics.iter().any(|head| line.starts_with(head))
    };
    let reason = log.lines().rev().find(is_reason);
    let what = format!(
        "the kernel rejects the XDP program: {}",
        reason.unwrap_or("the verifier gives no reason")
    );
    OpenError::environment(what, KERNEL).because(io_error)
}

/// The errno in the chain of causes of a loader's error, if there is one.
fn errno(error: &EbpfError) -> Option<i32> {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        cause = error.source();
    }
    None
}

/// The program cannot be attached.
pub(crate) fn attach(nic: &Nic, asked: XdpMode, mode: XdpMode, cause: io::Error) -> OpenError {
    let Nic { name, driver, .. } = nic;
    match cause.raw_os_error() {
        Some(code) if is_permission(code) => privileges("attach an XDP program"),
        Some(libc::EBUSY | libc::EEXIST) => occupied(nic),
        Some(libc::ENODEV) => return find(name, cause),
        Some(libc::ERANGE | libc::EINVAL) if mode == XdpMode::Native => OpenError::environment(
            format!(
                "the driver of {name} ({driver}) rejects an XDP program at its MTU of {}, at the MTU of a veth's peer, or with \
                 its number of queues or its offloads",
                nic.mtu
            ),
            format!("ip link set {name} mtu 1500; ethtool -K {name} lro off; or use SKB mode"),
        ),
        _ if asked == XdpMode::Native => OpenError::environment(
            format!("the driver of {name} ({driver}) does not support XDP"),
            "use SKB mode or auto",
        ),
        _ => OpenError::environment(format!("{name} ({driver}) does not accept an XDP program"), KERNEL),
    }
    .because(cause)
}

/// Another program is on the interface.
fn occupied(nic: &Nic) -> OpenError {
    let Nic { name, .. } = nic;
    let found = nic::attached_program(nic.index).ok().flatten();
    let what = match found {
        Some(program) => format!("another XDP program (id {}) is on {name}", program.id),
        None => format!("another XDP program is on {name}"),
    };
    let hint = match found.and_then(|program| nic::program_owner(program.id)) {
        Some((pid, command)) => {
            format!(
                "process {pid} ({command}) owns it: end that process, for example with kill {pid}"
            )
        }
        None if found.is_some_and(|program| program.generic) => {
            format!("ip link set dev {name} xdpgeneric off")
        }
        None => format!("ip link set dev {name} xdp off"),
    };
    OpenError::environment(what, hint)
}

/// An AF_XDP socket cannot be created.
pub(crate) fn socket(cause: io::Error) -> OpenError {
    match cause.raw_os_error() {
        Some(code) if is_permission(code) => privileges("open an AF_XDP socket"),
        Some(libc::EAFNOSUPPORT) => OpenError::environment("the kernel has no AF_XDP", KERNEL),
        _ => OpenError::environment("cannot open an AF_XDP socket", ""),
    }
    .because(cause)
}

/// There is no memory for the frames.
pub(crate) fn allocate(frames: usize, size: usize, cause: io::Error) -> OpenError {
    OpenError::environment(
        format!("cannot allocate {frames} frames of {size} bytes"),
        "reduce the number of frames, or the size of the rings",
    )
    .because(cause)
}

/// The kernel refuses to share the memory of the frames.
pub(crate) fn share(bytes: usize, cause: io::Error) -> OpenError {
    let hint = match cause.raw_os_error() {
        // Without CAP_IPC_LOCK, memory that is shared with the kernel counts as locked memory.
        Some(libc::ENOBUFS) => "ulimit -l unlimited, or LimitMEMLOCK=infinity in the systemd unit",
        Some(libc::ENOMEM) => "reduce the number of frames, or the size of the rings",
        _ => KERNEL,
    };
    let what = format!("cannot share {} KiB of frames with the kernel", bytes >> 10);
    OpenError::environment(what, hint).because(cause)
}

/// A socket cannot be bound.
pub(crate) fn bind(
    nic: &Nic,
    queue: u32,
    asked: BindMode,
    waited: Duration,
    cause: io::Error,
) -> OpenError {
    let Nic { name, driver, .. } = nic;
    let jumbo = nic
        .chunk_sizes()
        .is_some_and(|(frame, piece)| frame > piece);
    match cause.raw_os_error() {
        Some(libc::EBUSY) => OpenError::environment(
            format!(
                "another AF_XDP socket owns queue {queue} of {name}, and has not released it within {} ms",
                waited.as_millis()
            ),
            "end the process that owns it (ss --xdp -p)",
        ),
        Some(libc::EOPNOTSUPP) if asked == BindMode::ZeroCopy => OpenError::environment(
            format!("the driver of {name} ({driver}) has no zero-copy for queue {queue}"),
            "use copy mode or auto",
        ),
        Some(libc::EINVAL) if queue >= nic.queues => no_queue(nic, queue),
        Some(libc::EINVAL | libc::EOPNOTSUPP) if jumbo => OpenError::environment(
            format!(
                "the kernel or the driver of {name} ({driver}) has no AF_XDP for packets of several buffers, which an MTU of {} \
                 needs",
                nic.mtu
            ),
            format!("ip link set {name} mtu 1500"),
        ),
        Some(libc::ENETDOWN) => {
            OpenError::environment(format!("{name} is down"), format!("ip link set {name} up"))
        }
        Some(libc::EPERM) => privileges("bind an AF_XDP socket"),
        _ => OpenError::environment(format!("cannot bind to queue {queue} of {name} ({driver})"), ""),
    }
    .because(cause)
}

/// The interface has no such queue.
pub(crate) fn no_queue(nic: &Nic, queue: u32) -> OpenError {
    let Nic { name, queues, .. } = nic;
    OpenError::caller(
        format!("{name} has no queue {queue}: it has {queues}, numbered from 0"),
        format!(
            "ethtool -L {name} combined {} adds queues, if the NIC has them",
            queue + 1
        ),
    )
}

/// Busy polling cannot be set.
pub(crate) fn busy_poll(cause: io::Error) -> OpenError {
    match cause.raw_os_error() {
        Some(libc::EPERM) => privileges("set busy polling"),
        _ => OpenError::environment(
            "the kernel has no busy polling on AF_XDP sockets",
            "use Linux 5.11 or later, or turn busy polling off",
        ),
    }
    .because(cause)
}
