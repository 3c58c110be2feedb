//! The ports of the process: those that EAL has, those that are open, and those that were closed and can be opened again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::info::PortInfo;
use crate::options::PortName;
use crate::{Eal, Error, raw, ring};

/// The numbers of the open ports: a port is opened once.
static OPEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A closed port. DPDK forgets a port that is closed and keeps its device.
struct ClosedPort {
    number: u16,
    name: String,
    origin: Box<raw::hl_port_origin>,
}

static CLOSED: Mutex<Vec<ClosedPort>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reserves a port for the caller. Returns `false` if it is open.
pub(crate) fn reserve(number: u16) -> bool {
    let mut open = lock(&OPEN);
    let is_free = !open.contains(&number);
    if is_free {
        open.push(number);
    }
    is_free
}

/// Releases a port that was reserved. `origin` makes it possible to open it again.
pub(crate) fn release(number: u16, name: &str, origin: Option<Box<raw::hl_port_origin>>) {
    // The rings of a ring port are freed with it.
    if let Some(origin) = origin.filter(|_| !name.contains(ring::PREFIX)) {
        lock(&CLOSED).push(ClosedPort {
            number,
            name: name.to_owned(),
            origin,
        });
    }
    lock(&OPEN).retain(|&other| other != number);
}

/// The ports that EAL has.
pub(crate) fn list() -> Vec<PortInfo> {
    let info = |number| Some(PortInfo::new(number, &raw::port_info(number).ok()?));
    raw::ports().into_iter().filter_map(info).collect()
}

/// Finds a port by its name. Attaches a port that was closed again.
pub(crate) fn find(eal: &Eal, wanted: &PortName) -> Result<u16, Error> {
    look_up(wanted).or_else(|| reattach(wanted)).ok_or_else(|| {
        let have = list();
        let have = have
            .iter()
            .map(|port| format!("{} ({})", port.number, port.name));
        Error::NoPort {
            wanted: wanted.to_string(),
            have: have.collect(),
            log: eal.logged(),
        }
    })
}

fn reattach(wanted: &PortName) -> Option<u16> {
    let mut closed = lock(&CLOSED);
    let at = closed.iter().rposition(|port| match wanted {
        PortName::Number(number) => port.number == *number,
        PortName::Name(name) => port.name == *name,
        PortName::Ring(_) => false,
    })?;
    let ClosedPort { name, origin, .. } = closed.remove(at);
    if let Err(errno) = raw::port_reattach(&origin) {
        tracing::warn!(target: "dpdk", "{name} was closed and cannot be attached again: {errno}");
        return None;
    }
    look_up(&PortName::Name(name))
}

fn look_up(wanted: &PortName) -> Option<u16> {
    let is_ring = |number: &u16| match raw::port_info(*number) {
        Ok(info) => raw::array_text(&info.name).contains(ring::PREFIX),
        Err(_) => false,
    };
    let found = match wanted {
        PortName::Number(number) => Some(*number).filter(|number| raw::ports().contains(number)),
        PortName::Name(name) => raw::port_by_name(name).ok(),
        // Only a `RingEnd` opens a ring port, because it keeps the rings allocated.
        PortName::Ring(end) => return Some(end.port()),
    };
    found.filter(|number| !is_ring(number))
}
