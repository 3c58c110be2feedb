//! Two ports of this process that are joined by rings: a frame that one sends is received by the other as the same mbuf.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::PortMemory;
use crate::{Eal, Error, raw};

/// The prefix of the names of ring ports. Only a [`RingEnd`] opens them, because it keeps the rings allocated.
pub(crate) const PREFIX: &str = "hioload_";

/// One of two joined ports, to be opened once with [`PortName::Ring`](crate::PortName::Ring). While it is not open, the ring to it
/// fills up.
#[derive(Clone, Debug)]
pub struct RingEnd {
    port: u16,
    /// The memory of both ports, because each may hold frames of the other.
    memory: Arc<Mutex<PortMemory>>,
}

impl RingEnd {
    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn memory(&self) -> &Arc<Mutex<PortMemory>> {
        &self.memory
    }
}

/// Creates two ports of `queues` queues (1 to 16), joined by rings of `slots` slots, a power of two. A ring holds one frame less
/// than it has slots.
///
/// # Errors
/// [`Error::Unsupported`] for a wrong number of queues, [`Error::Step`] if DPDK refuses a ring or a port.
pub fn ring_pair(eal: &Eal, queues: u16, slots: u32) -> Result<(RingEnd, RingEnd), Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let port = format!("ring pair {id}");
    if !(1..=16).contains(&queues) {
        let what = format!("{queues} queues requested, and it has 1 to 16");
        return Err(Error::Unsupported { port, what });
    }
    let failed = |cause| Error::Step {
        port: port.clone(),
        step: format!("create a ring of {slots} slots"),
        cause,
        log: None,
    };
    let memory = Arc::new(Mutex::new(PortMemory::new(eal)));
    let mut rings = [Vec::new(), Vec::new()];
    for (direction, list) in rings.iter_mut().enumerate() {
        for queue in 0..queues {
            let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("{PREFIX}{id}_{direction}_{queue}");
            list.push(memory.ring(&name, slots).map_err(failed)?.raw());
        }
    }
    let ring_port = |name: &str, rx, tx| {
        let created = raw::ring_port(&format!("{PREFIX}{id}_{name}"), rx, tx);
        let number = created.map_err(|cause| Error::Step {
            port: port.clone(),
            step: format!("create the port {name}"),
            cause,
            log: None,
        })?;
        let mut memory = memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.close_later(number);
        Ok(number)
    };
    let [a_to_b, b_to_a] = &rings;
    let a = ring_port("a", b_to_a, a_to_b)?;
    let b = ring_port("b", a_to_b, b_to_a)?;
    let end = |port| RingEnd {
        port,
        memory: Arc::clone(&memory),
    };
    Ok((end(a), end(b)))
}
