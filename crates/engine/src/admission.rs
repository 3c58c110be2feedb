//! How many connections there are, in all and from each source: the only state that lcores share.
//!
//! It is touched once when a connection is accepted and once when it ends, never for a message. The total is exact. The
//! count per source is a counting sketch (Fan et al., "Summary cache", 1998: a Bloom filter of counters): `ROWS` counters
//! chosen by independent bits of a keyed hash, of which the smallest is the estimate. It never under-counts; it over-counts
//! a source only when each of its counters is shared with other busy sources. It costs the same for one source and for a
//! million, and an attacker cannot choose sources that collide, since the hash is keyed by the process.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hioload_transport::Peer;

const ROWS: usize = 4;
const COLUMNS: usize = 1 << 14;

/// Admits connections. Shared by the lcores of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    open: AtomicUsize,
    sources: Box<[AtomicU32]>,
    hasher: RandomState,
    max_open: AtomicUsize,
    /// 0: no bound.
    max_per_source: AtomicU32,
    /// Lcores that have not drained.
    working: AtomicUsize,
}

/// The right to be open; given back with [`Admission::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// No ticket, for a session that was not admitted.
    pub(crate) const NONE: Self = Self(0);
}

/// Why a connection was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Total,
    Source,
}

impl Admission {
    /// A `max_open` of 0 admits no connection, a `max_per_source` of 0 is no bound.
    pub(crate) fn new(max_open: usize, max_per_source: u32) -> Self {
        Self {
            open: AtomicUsize::new(0),
            sources: (0..ROWS * COLUMNS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
            max_open: AtomicUsize::new(max_open),
            max_per_source: AtomicU32::new(max_per_source),
            working: AtomicUsize::new(1),
        }
    }

    /// Sets the number of lcores that share it.
    pub(crate) fn of_lcores(mut self, lcores: usize) -> Self {
        self.working = AtomicUsize::new(lcores);
        self
    }

    /// An lcore has drained. Each reports it once.
    pub(crate) fn has_drained(&self) {
        self.working.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether all lcores have drained. Until then none may end: a frame or connection that arrives at one may be for another,
    /// and each answers health checks.
    pub(crate) fn all_have_drained(&self) -> bool {
        self.working.load(Ordering::Relaxed) == 0
    }

    /// Replaces the bounds. What is open stays, and counts.
    pub(crate) fn set_bounds(&self, max_open: usize, max_per_source: u32) {
        self.max_open.store(max_open, Ordering::Relaxed);
        self.max_per_source.store(max_per_source, Ordering::Relaxed);
    }

    pub(crate) fn admit(&self, peer: Peer) -> Result<Ticket, Refusal> {
        // Relaxed throughout: these are counts, and nothing else is published through them.
        let (max_open, max_per_source) = (
            self.max_open.load(Ordering::Relaxed),
            self.max_per_source.load(Ordering::Relaxed),
        );
        if self.open.fetch_add(1, Ordering::Relaxed) >= max_open {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Total);
        }
        let ticket = Ticket(self.key(peer));
        if ticket.0 != 0 {
            let estimate = self
                .cells(ticket)
                .map(|cell| cell.fetch_add(1, Ordering::Relaxed))
                .min();
            if max_per_source != 0 && estimate.unwrap_or(0) >= max_per_source {
                self.release(ticket);
                return Err(Refusal::Source);
            }
        }
        Ok(ticket)
    }

    pub(crate) fn release(&self, ticket: Ticket) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if ticket.0 != 0 {
            for cell in self.cells(ticket) {
                cell.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// A hash of the source, 0 for a Unix socket, which has none. Sources are counted without a bound too: it may come later.
    fn key(&self, peer: Peer) -> u64 {
        match peer {
            Peer::Ip(addr) => self.hasher.hash_one(source_of(addr)).max(1),
            Peer::Unix => 0,
        }
    }

    fn cells(&self, ticket: Ticket) -> impl Iterator<Item = &AtomicU32> {
        (0..ROWS).map(move |row| {
            let column = (ticket.0 >> (16 * row)) as usize % COLUMNS;
            &self.sources[row * COLUMNS + column]
        })
    }
}

/// IPv4 sources are counted by address, IPv6 ones by /64, which is what one subscriber holds.
fn source_of(addr: SocketAddr) -> u64 {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> Peer {
        Peer::Ip(s.parse().unwrap())
    }

    #[test]
    fn the_total_is_exact_and_comes_back() {
        let admission = Admission::new(2, 0);
        let a = admission.admit(ip("10.0.0.1:1")).unwrap();
        let _b = admission.admit(Peer::Unix).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.2:1")), Err(Refusal::Total));
        assert_eq!(admission.open(), 2);
        admission.release(a);
        assert!(admission.admit(ip("10.0.0.2:1")).is_ok());
    }

    #[test]
    fn a_source_is_bounded_and_others_are_not() {
        let admission = Admission::new(1000, 3);
        let mut held: Vec<_> = (0..3)
            .map(|p| admission.admit(ip(&format!("10.0.0.1:{p}"))).unwrap())
            .collect();
        assert_eq!(admission.admit(ip("10.0.0.1:9")), Err(Refusal::Source));
        // An IPv4-mapped address is the same source.
        assert_eq!(
            admission.admit(ip("[::ffff:10.0.0.1]:9")),
            Err(Refusal::Source)
        );
        assert!(admission.admit(ip("10.0.0.2:1")).is_ok());
        assert!(admission.admit(Peer::Unix).is_ok());
        admission.release(held.pop().unwrap());
        assert!(admission.admit(ip("10.0.0.1:9")).is_ok());
    }

    #[test]
    fn ipv6_sources_are_counted_by_their_64() {
        let admission = Admission::new(1000, 1);
        assert!(admission.admit(ip("[fd00::1]:1")).is_ok());
        assert_eq!(admission.admit(ip("[fd00::2]:1")), Err(Refusal::Source));
        assert!(admission.admit(ip("[fd00:0:0:1::1]:1")).is_ok());
    }

    #[test]
    fn ten_thousand_sources_do_not_exhaust_each_other() {
        let admission = Admission::new(1_000_000, 8);
        for n in 0..10_000u32 {
            let peer = Peer::Ip((std::net::Ipv4Addr::from(0x0a00_0000 + n), 1).into());
            assert!(
                admission.admit(peer).is_ok(),
                "source {n} was taken for another"
            );
        }
    }
}
