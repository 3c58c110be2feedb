//! The XDP program: loading it, its maps, and attaching it.

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
use aya::{Ebpf, EbpfError, EbpfLoader};

use crate::blame;
use crate::nic::Nic;
use crate::{OpenError, Ownership, PortOptions, XdpCounters, XdpMode, XdpObject};

/// The C source's NO_VLAN.
const NO_VLAN: u32 = 0xffff;
/// How often a taken interface or queue is tried again.
pub(crate) const RETRY: Duration = Duration::from_millis(5);

/// The program on an interface. Dropped, it is detached: the kernel keeps it there for as long as somebody has a file
/// descriptor of the link, and only this process has, so that ends at the latest when the process does, however it ends.
pub(crate) struct Attached {
    pub mode: XdpMode,
    _link: FdLink,
    sockets: Mutex<XskMap<MapData>>,
    counters: Mutex<PerCpuArray<MapData, u64>>,
    /// Keeps the program and its maps.
    _program: Ebpf,
}

impl Attached {
    /// Loads the program and attaches it to `nic`. `queues`: one more than the greatest number of a queue.
    pub(crate) fn new(options: &PortOptions, nic: &Nic, queues: u32) -> Result<Self, OpenError> {
        let mut program = load(options, queues)?;
        let (mode, link) = attach(&mut program, options, nic)?;
        let broken = |why: MapError| blame::object(&why.to_string());
        let sockets = XskMap::try_from(take(&mut program, "SOCKETS")?).map_err(broken)?;
        let counters = PerCpuArray::try_from(take(&mut program, "COUNTERS")?).map_err(broken)?;
        Ok(Self {
            mode,
            _link: link,
            sockets: Mutex::new(sockets),
            counters: Mutex::new(counters),
            _program: program,
        })
    }

    /// From now on a queue's packets go to `socket`. When that is closed the kernel takes it out.
    pub(crate) fn steer(&self, queue: u32, socket: RawFd) -> io::Result<()> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.set(queue, socket, 0).map_err(|why| match why {
            MapError::SyscallError(why) => why.io_error,
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
        })
    }
}

/// Has this kernel's verifier look at both variants of the program. Nothing is attached, and nothing remains.
///
/// # Errors
/// What is wrong, and what mends it.
pub fn verify(object: &XdpObject) -> Result<(), OpenError> {
    let options = PortOptions::new(object.clone(), "", []);
    let mut program = load(&options, 1)?;
    for (_, variant) in program.programs_mut() {
        let variant: &mut Xdp = variant.try_into().map_err(|why| blame::program(&why))?;
        variant.load().map_err(|why| blame::program(&why))?;
    }
    Ok(())
}

/// Creates the maps, with what is ours in them, and has the verifier look at the programs.
fn load(options: &PortOptions, queues: u32) -> Result<Ebpf, OpenError> {
    let shared = u32::from(options.ownership == Ownership::Shared);
    let vlan = options.vlan.map_or(NO_VLAN, u32::from);
    let mut program = EbpfLoader::new()
        .override_global("SHARED", &shared, true)
        .override_global("VLAN", &vlan, true)
        .map_max_entries("SOCKETS", queues)
        .load(options.object.bytes())
        .map_err(|why| blame::load(&why))?;
    fill(&mut program, options)?;
    Ok(program)
}

fn take(program: &mut Ebpf, name: &str) -> Result<Map, OpenError> {
    program
        .take_map(name)
        .ok_or_else(|| blame::object(&format!("no map {name}")))
}

/// Writes what is ours into the maps. They stay with the program: it is loaded with their file descriptors.
fn fill(program: &mut Ebpf, options: &PortOptions) -> Result<(), OpenError> {
    let full = |why: MapError| blame::object(&why.to_string());
    for address in &options.addresses {
        match address {
            IpAddr::V4(v4) => {
                let map = borrow(program, "OWN4")?;
                let mut own = HashMap::<_, u32, u8>::try_from(map).map_err(full)?;
                own.insert(u32::from_ne_bytes(v4.octets()), 1, 0)
            }
            IpAddr::V6(v6) => {
                let map = borrow(program, "OWN6")?;
                let mut own = HashMap::<_, [u8; 16], u8>::try_from(map).map_err(full)?;
                own.insert(v6.octets(), 1, 0)
            }
        }
        .map_err(full)?;
    }
    let map = borrow(program, "LISTENED")?;
    let mut listened = HashMap::<_, [u8; 20], u8>::try_from(map).map_err(full)?;
    for at in listened_endpoints(options) {
        listened.insert(endpoint(at), 1, 0).map_err(full)?;
    }
    Ok(())
}

fn borrow<'a>(program: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, OpenError> {
    program
        .map_mut(name)
        .ok_or_else(|| blame::object(&format!("no map {name}")))
}

/// What is listened on, each with an address.
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

/// The C source's `struct endpoint`: the address, the port, and two bytes of zero.
fn endpoint(at: SocketAddr) -> [u8; 20] {
    let address: Ipv6Addr = match at.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut key = [0; 20];
    key[..16].copy_from_slice(&address.octets());
    key[16..18].copy_from_slice(&at.port().to_be_bytes());
    key
}

/// Attaches the first combination of mode and program that the driver takes.
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
    // Large packets come in several buffers: the driver wants a program that says it knows. A driver that has no such
    // packets may not know such programs, and then takes the other.
    let jumbo = nic
        .chunk_sizes()
        .is_some_and(|(frame, piece)| frame > piece);
    let names = if jumbo {
        ["redirect_frags", "redirect_linear"]
    } else {
        ["redirect_linear", "redirect_frags"]
    };
    let deadline = Instant::now() + options.patience;
    let mut last = None;
    for &mode in modes {
        for name in names {
            match attach_one(program, name, mode, nic.index, deadline) {
                Ok(link) => return Ok((mode, link)),
                Err(Refused::Load(why)) => return Err(blame::program(&why)),
                Err(Refused::Attach(why)) if is_final(&why) => {
                    return Err(blame::attach(nic, options.mode, mode, why));
                }
                Err(Refused::Attach(why)) => last = last.or(Some((mode, why))),
            }
        }
    }
    let (mode, why) = last.unwrap_or((XdpMode::Skb, io::ErrorKind::Unsupported.into()));
    Err(blame::attach(nic, options.mode, mode, why))
}

enum Refused {
    Load(ProgramError),
    Attach(io::Error),
}

/// Whether another mode would be refused as well.
fn is_final(why: &io::Error) -> bool {
    matches!(
        why.raw_os_error(),
        Some(libc::EBUSY | libc::EEXIST | libc::EPERM | libc::EACCES | libc::ENODEV)
    )
}

/// Tries again for as long as the interface is taken: the last owner may be just going away.
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
        let why = match xdp.attach_to_if_index(interface, aya_mode) {
            Ok(id) => {
                let link = xdp.take_link(id).map_err(Refused::Load)?;
                return FdLink::try_from(link).map_err(|_| {
                    // Where the kernel refuses a link the library attaches without one, which would outlive this process.
                    // What it attached is forgotten by now: once more, and off again.
                    if let Ok(id) = xdp.attach_to_if_index(interface, aya_mode) {
                        let _ = xdp.detach(id);
                    }
                    Refused::Attach(io::ErrorKind::Unsupported.into())
                });
            }
            Err(ProgramError::SyscallError(why)) => why.io_error,
            Err(ProgramError::XdpError(XdpError::NetlinkError(why))) => match why.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::other(why),
            },
            Err(other) => io::Error::other(other),
        };
        let taken = matches!(why.raw_os_error(), Some(libc::EBUSY | libc::EEXIST));
        if !taken || Instant::now() >= deadline {
            return Err(Refused::Attach(why));
        }
        thread::sleep(RETRY);
    }
}

/// The system's number for an error of the loader, if it has one.
pub(crate) fn errno(why: &EbpfError) -> Option<i32> {
    let mut source: Option<&dyn std::error::Error> = Some(why);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        source = error.source();
    }
    None
}
