//! Two ports joined by rings within the process: what one sends, the other receives, as the same mbufs.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pool::Estate;
use crate::{Eal, Error, raw};

/// How the ports are named; only a [`RingEnd`] opens them, as it keeps the rings alive.
pub(crate) const PREFIX: &str = "hioload_";

/// One of two joined ports; to be opened with [`PortName::Ring`](crate::PortName::Ring), once. Not opened, or closed, it is a
/// port that nobody empties.
#[derive(Clone, Debug)]
pub struct RingEnd {
    port: u16,
    /// The memory of both ports: each may have the other's frames.
    estate: Arc<Mutex<Estate>>,
}

impl RingEnd {
    /// The port's number.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn estate(&self) -> &Arc<Mutex<Estate>> {
        &self.estate
    }
}

/// Makes two ports of `queues` queues (1 to 16) joined by rings of `slots` frames, less one; a power of two.
///
/// # Errors
/// What DPDK refused.
pub fn ring_pair(eal: &Eal, queues: u16, slots: u32) -> Result<(RingEnd, RingEnd), Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let failed = |reason| Error::Step {
        port: format!("ring pair {id}"),
        step: "make it".into(),
        reason,
    };
    if !(1..=16).contains(&queues) {
        return Err(failed(format!("{queues} queues: it can have 1 to 16")));
    }
    let estate = Arc::new(Mutex::new(Estate::new(eal)));
    let mut rings = [Vec::new(), Vec::new()];
    for (way, list) in rings.iter_mut().enumerate() {
        for queue in 0..queues {
            let mut estate = estate.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("{PREFIX}{id}_{way}_{queue}");
            list.push(estate.ring(&name, slots).map_err(failed)?.raw());
        }
    }
    let port = |name: &str, rx, tx| {
        let port = raw::ring_port(&format!("{PREFIX}{id}_{name}"), rx, tx);
        let port = port.map_err(|code| failed(raw::error_text(code)))?;
        let mut estate = estate.lock().unwrap_or_else(PoisonError::into_inner);
        estate.owes_close(port);
        Ok(port)
    };
    let [there, back] = &rings;
    let (a, b) = (port("a", back, there)?, port("b", there, back)?);
    let end = |port| RingEnd {
        port,
        estate: Arc::clone(&estate),
    };
    Ok((end(a), end(b)))
}
