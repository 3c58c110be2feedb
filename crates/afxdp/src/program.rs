//! The XDP program: loads it, fills its maps, and attaches it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpError;
use aya::programs::{ProgramError, Xdp, XdpMode as AyaMode};
use aya::{Ebpf, EbpfLoader};

use crate::nic::Nic;
use crate::options::{Ownership, PortOptions, XdpMode, XdpObject};
use crate::stats::XdpCounters;
use crate::{OpenError, diagnose};

/// `NO_VLAN` of the C source.
const NO_VLAN: u32 = 0xffff;
/// The interval between two attempts on an occupied interface or queue.
pub(crate) const RETRY: Duration = Duration::from_millis(5);

/// The program on an interface. The drop detaches it. The kernel keeps the program attached while a file descriptor of the link is
/// open; only this process has one, so the program is detached at the latest when the process ends, for whatever reason.
pub(crate) struct Attached {
    pub mode: XdpMode,
    _link: FdLink,
    sockets: Mutex<XskMap<MapData>>,
    counters: Mutex<PerCpuArray<MapData, u64>>,
    /// Keeps the program and its maps loaded.
    _program: Ebpf,
}

impl Attached {
    /// Loads the program and attaches it to `nic`. `queues` is the greatest queue number plus one.
    pub(crate) fn new(options: &PortOptions, nic: &Nic, queues: u32) -> Result<Self, OpenError> {
        let mut program = load(options, queues)?;
        let (mode, link) = attach(&mut program, options, nic)?;
        let sockets = XskMap::try_from(take(&mut program, "SOCKETS")?);
        let sockets = sockets.map_err(|cause| map_failed("SOCKETS", cause))?;
        let counters = PerCpuArray::try_from(take(&mut program, "COUNTERS")?);
        let counters = counters.map_err(|cause| map_failed("COUNTERS", cause))?;
        Ok(Self {
            mode,
            _link: link,
            sockets: Mutex::new(sockets),
            counters: Mutex::new(counters),
            _program: program,
        })
    }

    /// Enters `socket` in the map: it receives the packets of `queue` from now on. The kernel removes a closed socket from the map.
    pub(crate) fn steer(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.set(queue, socket, 0).map_err(|cause| match cause {
            MapError::SyscallError(cause) => cause.io_error,
            other => io::Error::other(other),
        })
    }

    pub(crate) fn counters(&self) -> io::Result<XdpCounters> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = |verdict| -> io::Result<u64> {
            let values = counters.get(&verdict, 0).map_err(io::Error::other)?;
            Ok(values.iter().sum())
        };
        Ok(XdpCounters {
            tcp: sum(0)?,
            arp: sum(1)?,
            nd: sum(2)?,
            icmp: sum(3)?,
            fragments: sum(4)?,
            passed: sum(5)?,
            malformed: sum(6)?,
            no_socket: sum(7)?,
            other_protocol: sum(8)?,
            stacked_tags: sum(9)?,
        })
    }
}

/// Lets this kernel's verifier check both variants of the program. Attaches nothing, and leaves nothing loaded.
///
/// # Errors
/// [`OpenError`] has the verifier's reason, or the missing privilege, and the command that fixes it.
pub fn verify(object: &XdpObject) -> Result<(), OpenError> {
    let options = PortOptions::new(object.clone(), "", []);
    let mut program = load(&options, 1)?;
    for (_, variant) in program.programs_mut() {
        let variant: &mut Xdp = variant.try_into().map_err(diagnose::program)?;
        variant.load().map_err(diagnose::program)?;
    }
    Ok(())
}

/// Creates the maps and writes the port's addresses and endpoints into them.
fn load(options: &PortOptions, queues: u32) -> Result<Ebpf, OpenError> {
    let shared = u32::from(options.ownership == Ownership::Shared);
    let vlan = options.vlan.map_or(NO_VLAN, u32::from);
    let mut program = EbpfLoader::new()
        .override_global("SHARED", &shared, true)
        .override_global("VLAN", &vlan, true)
        .map_max_entries("SOCKETS", queues)
        .load(options.object.bytes())
        .map_err(diagnose::load)?;
    fill(&mut program, options)?;
    Ok(program)
}

fn take(program: &mut Ebpf, name: &str) -> Result<Map, OpenError> {
    program
        .take_map(name)
        .ok_or_else(|| diagnose::object(&format!("it has no map {name}")))
}

fn map_failed(name: &str, cause: MapError) -> OpenError {
    diagnose::object(&format!("its map {name} is not as expected")).because(cause)
}

/// Writes the port's addresses and endpoints into the maps. The program is loaded later, with the maps' file descriptors.
fn fill(program: &mut Ebpf, options: &PortOptions) -> Result<(), OpenError> {
    let failed = |cause| map_failed("OWN4 or OWN6", cause);
    for address in &options.addresses {
        match address {
            IpAddr::V4(v4) => {
                let map = borrow(program, "OWN4")?;
                let mut own = HashMap::<_, u32, u8>::try_from(map).map_err(failed)?;
                own.insert(u32::from_ne_bytes(v4.octets()), 1, 0)
            }
            IpAddr::V6(v6) => {
                let map = borrow(program, "OWN6")?;
                let mut own = HashMap::<_, [u8; 16], u8>::try_from(map).map_err(failed)?;
                own.insert(v6.octets(), 1, 0)
            }
        }
        .map_err(failed)?;
    }
    let failed = |cause| map_failed("LISTENED", cause);
    let map = borrow(program, "LISTENED")?;
    let mut listened = HashMap::<_, [u8; 20], u8>::try_from(map).map_err(failed)?;
    for at in listened_endpoints(options) {
        listened.insert(key(at), 1, 0).map_err(failed)?;
    }
    Ok(())
}

fn borrow<'a>(program: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, OpenError> {
    program
        .map_mut(name)
        .ok_or_else(|| diagnose::object(&format!("it has no map {name}")))
}

/// The listened endpoints, with each unspecified address expanded.
pub(crate) fn listened_endpoints(options: &PortOptions) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for at in &options.listen {
        if at.ip().is_unspecified() {
            let same = |address: &&IpAddr| address.is_ipv4() == at.is_ipv4();
            let each = options.addresses.iter().filter(same);
            all.extend(each.map(|&address| SocketAddr::new(address, at.port())));
        } else {
            all.push(*at);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// `struct endpoint` of the C source: the address, the port, and two bytes of zero.
fn key(at: SocketAddr) -> [u8; 20] {
    let address: Ipv6Addr = match at.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut key = [0; 20];
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&at.port().to_be_bytes());
    key
}

/// Attaches the first combination of mode and program that the driver accepts.
fn attach(
    program: &mut Ebpf,
    options: &PortOptions,
    nic: &Nic,
) -> Result<(XdpMode, FdLink), OpenError> {
    let modes: &[XdpMode] = match options.mode {
        XdpMode::Auto => &[XdpMode::Native, XdpMode::Skb],
        XdpMode::Native => &[XdpMode::Native],
        XdpMode::Skb => &[XdpMode::Skb],
    };
    // Large packets arrive in several buffers, for which a driver requires a program of the section "xdp.frags". A driver
    // without support for several buffers may reject such a program, but accepts the other one.
    let jumbo = nic
        .chunk_sizes()
        .is_some_and(|(frame, piece)| frame > piece);
    let names = if jumbo {
        ["redirect_frags", "redirect_linear"]
    } else {
        ["redirect_linear", "redirect_frags"]
    };
    let deadline = Instant::now() + options.busy_timeout;
    let mut last = None;
    for &mode in modes {
        for name in names {
            match attach_one(program, name, mode, nic.index, deadline) {
                Ok(link) => return Ok((mode, link)),
                Err(Refused::Load(cause)) => return Err(diagnose::program(cause)),
                Err(Refused::Attach(cause)) if is_final(&cause) => {
                    return Err(diagnose::attach(nic, options.mode, mode, cause));
                }
                Err(Refused::Attach(cause)) => last = last.or(Some((mode, cause))),
            }
        }
    }
    let (mode, cause) = last.unwrap_or((XdpMode::Skb, io::ErrorKind::Unsupported.into()));
    Err(diagnose::attach(nic, options.mode, mode, cause))
}

enum Refused {
    Load(ProgramError),
    Attach(io::Error),
}

/// Whether the kernel would refuse every other mode as well.
fn is_final(cause: &io::Error) -> bool {
    matches!(
        cause.raw_os_error(),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV)
    )
}

/// Attaches one program in one mode. While another program is on the interface, retries until `deadline`: the kernel detaches the
/// program of a process that ended after a delay.
fn attach_one(
    program: &mut Ebpf,
    name: &str,
    mode: XdpMode,
    interface: u32,
    deadline: Instant,
) -> Result<FdLink, Refused> {
    let missing = || Refused::Attach(io::ErrorKind::NotFound.into());
    let xdp = program.program_mut(name).ok_or_else(missing)?;
    let xdp: &mut Xdp = xdp.try_into().map_err(Refused::Load)?;
    if xdp.fd().is_err() {
        xdp.load().map_err(Refused::Load)?;
    }
    let aya_mode = if mode == XdpMode::Native {
        AyaMode::Driver
    } else {
        AyaMode::Skb
    };
    loop {
        let cause = match xdp.attach_to_if_index(interface, aya_mode) {
            Ok(id) => {
                let link = xdp.take_link(id).map_err(Refused::Load)?;
                return FdLink::try_from(link).map_err(|_| {
                    // A kernel without links makes aya attach by netlink, and such a program would outlive this process. aya
                    // has already dropped its handle, so attach once more to get a handle, and detach by it.
                    if let Ok(id) = xdp.attach_to_if_index(interface, aya_mode) {
                        let _ = xdp.detach(id);
                    }
                    Refused::Attach(io::ErrorKind::Unsupported.into())
                });
            }
            Err(ProgramError::SyscallError(cause)) => cause.io_error,
            Err(ProgramError::XdpError(XdpError::NetlinkError(cause))) => {
                match cause.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::other(cause),
                }
            }
            Err(other) => io::Error::other(other),
        };
        let occupied = matches!(cause.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        if !occupied || Instant::now() >= deadline {
            return Err(Refused::Attach(cause));
        }
        thread::sleep(RETRY);
    }
}
