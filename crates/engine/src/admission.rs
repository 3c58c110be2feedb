//! Whether a connection is admitted: the number of connections in all and of each source, and their rates. All lcores share it.
//!
//! It is touched once when a connection is accepted and once when it ends, never for a message. The total is exact, and so is the
//! count of each source for as many sources as there may be connections ([`Sources`]).

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hioload_lcore::Time;
use hioload_transport::Peer;

use crate::config::Limits;
use crate::sources::{Excess, Source, SourceBounds, Sources};

/// Admits connections. Shared by the lcores of a server.
#[derive(Debug)]
pub(crate) struct Admission {
    open: AtomicUsize,
    sources: Sources,
    max_open: AtomicUsize,
    /// 0: no bound.
    max_per_source: AtomicU32,
    /// Connections per second. 0: no bound.
    rate_per_source: AtomicU32,
    /// The bounds of an IPv6 /56 and of a /48, as multiples of those of a source.
    factors: [AtomicU32; 2],
    /// Lcores that have not drained.
    working: AtomicUsize,
}

/// The permission of a connection to be open. [`Admission::release`] returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(Option<Source>);

impl Ticket {
    /// A connection that counts for no source: that of a Unix socket, or of a proxy.
    pub(crate) const NONE: Self = Self(None);
}

/// Why a connection was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Total,
    Source,
    Rate,
}

impl Admission {
    /// The tables have room for as many sources as there may be connections.
    pub(crate) fn new(limits: &Limits) -> Self {
        let admission = Self {
            open: AtomicUsize::new(0),
            sources: Sources::new(limits.max_connections),
            max_open: AtomicUsize::new(0),
            max_per_source: AtomicU32::new(0),
            rate_per_source: AtomicU32::new(0),
            factors: [AtomicU32::new(0), AtomicU32::new(0)],
            working: AtomicUsize::new(1),
        };
        admission.set_bounds(limits);
        admission
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

    /// Whether all lcores have drained. Until then none may end: a frame or connection that arrives at one may be for another
    /// one, and each answers health checks.
    pub(crate) fn all_have_drained(&self) -> bool {
        self.working.load(Ordering::Relaxed) == 0
    }

    /// Replaces the bounds. Open connections stay, and count.
    pub(crate) fn set_bounds(&self, limits: &Limits) {
        let Limits {
            max_connections,
            max_connections_per_source,
            connection_rate_per_source,
            source_factor_56,
            source_factor_48,
            ..
        } = *limits;
        self.max_open.store(max_connections, Ordering::Relaxed);
        self.max_per_source
            .store(max_connections_per_source, Ordering::Relaxed);
        self.rate_per_source
            .store(connection_rate_per_source, Ordering::Relaxed);
        let factors = [source_factor_56, source_factor_48];
        for (own, factor) in self.factors.iter().zip(factors) {
            own.store(factor, Ordering::Relaxed);
        }
    }

    /// Admits a connection of a client.
    pub(crate) fn admit(&self, peer: Peer, now: Time) -> Result<Ticket, Refusal> {
        self.admit_to_total()?;
        let admitted = self.admit_source(peer, now);
        if admitted.is_err() {
            self.release(Ticket::NONE);
        }
        admitted
    }

    /// Admits a connection whose client is not known yet, with [`Ticket::NONE`].
    pub(crate) fn admit_to_total(&self) -> Result<(), Refusal> {
        // Relaxed throughout: these are counts, and nothing else is published through them.
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.max_open.load(Ordering::Relaxed) {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refusal::Total);
        }
        Ok(())
    }

    /// Admits the client of a connection that [`admit_to_total`](Self::admit_to_total) has admitted. A failure does not end that.
    pub(crate) fn admit_source(&self, client: Peer, now: Time) -> Result<Ticket, Refusal> {
        match client {
            Peer::Ip(addr) => self.admit_ip(addr.ip(), now),
            // A Unix socket has no source.
            Peer::Unix => Ok(Ticket::NONE),
        }
    }

    fn admit_ip(&self, ip: IpAddr, now: Time) -> Result<Ticket, Refusal> {
        let load = |bound: &AtomicU32| bound.load(Ordering::Relaxed);
        let bounds = SourceBounds {
            connections: load(&self.max_per_source),
            rate: load(&self.rate_per_source),
            factors: [load(&self.factors[0]), load(&self.factors[1])],
        };
        match self.sources.admit(ip, &bounds, now) {
            Ok(source) => Ok(Ticket(Some(source))),
            Err(Excess::Connections) => Err(Refusal::Source),
            Err(Excess::Rate) => Err(Refusal::Rate),
        }
    }

    pub(crate) fn release(&self, ticket: Ticket) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(source) = ticket.0 {
            self.sources.release(source);
        }
    }

    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_connections: usize, max_connections_per_source: u32) -> Admission {
        Admission::new(&Limits {
            max_connections,
            max_connections_per_source,
            ..Limits::default()
        })
    }

    impl Admission {
        fn admit_at_zero(&self, peer: Peer) -> Result<Ticket, Refusal> {
            self.admit(peer, Time::ZERO)
        }
    }

    fn ip(s: &str) -> Peer {
        Peer::Ip(s.parse().unwrap())
    }

    #[test]
    fn the_total_is_exact_and_comes_back() {
        let admission = admission(2, 0);
        let a = admission.admit_at_zero(ip("10.0.0.1:1")).unwrap();
        let _b = admission.admit_at_zero(Peer::Unix).unwrap();
        assert_eq!(
            admission.admit_at_zero(ip("10.0.0.2:1")),
            Err(Refusal::Total)
        );
        assert_eq!(admission.open(), 2);
        admission.release(a);
        assert!(admission.admit_at_zero(ip("10.0.0.2:1")).is_ok());
    }

    #[test]
    fn a_source_is_bounded_and_others_are_not() {
        let admission = admission(1000, 3);
        let mut held: Vec<_> = (0..3)
            .map(|p| {
                admission
                    .admit_at_zero(ip(&format!("10.0.0.1:{p}")))
                    .unwrap()
            })
            .collect();
        assert_eq!(
            admission.admit_at_zero(ip("10.0.0.1:9")),
            Err(Refusal::Source)
        );
        // An IPv4-mapped address is the same source.
        assert_eq!(
            admission.admit_at_zero(ip("[::ffff:10.0.0.1]:9")),
            Err(Refusal::Source)
        );
        assert!(admission.admit_at_zero(ip("10.0.0.2:1")).is_ok());
        assert!(admission.admit_at_zero(Peer::Unix).is_ok());
        admission.release(held.pop().unwrap());
        assert!(admission.admit_at_zero(ip("10.0.0.1:9")).is_ok());
    }

    #[test]
    fn a_proxy_counts_for_the_total_and_its_clients_for_their_sources() {
        let admission = admission(3, 1);
        admission.admit_to_total().unwrap();
        let client = admission.admit_source(ip("192.0.2.1:1"), Time::ZERO);
        admission.admit_to_total().unwrap();
        let refused = admission.admit_source(ip("192.0.2.1:2"), Time::ZERO);
        assert_eq!(refused, Err(Refusal::Source));
        assert_eq!(admission.open(), 2, "the caller ends the refused one");
        admission.admit_to_total().unwrap();
        assert_eq!(admission.admit_to_total(), Err(Refusal::Total));
        admission.release(client.unwrap());
        assert!(admission.admit_at_zero(ip("192.0.2.1:3")).is_ok());
    }

    #[test]
    fn ipv6_sources_are_counted_by_their_64() {
        let admission = admission(1000, 1);
        assert!(admission.admit_at_zero(ip("[fd00::1]:1")).is_ok());
        assert_eq!(
            admission.admit_at_zero(ip("[fd00::2]:1")),
            Err(Refusal::Source)
        );
        assert!(admission.admit_at_zero(ip("[fd00:0:0:1::1]:1")).is_ok());
    }

    #[test]
    fn ten_thousand_sources_do_not_exhaust_each_other() {
        let admission = admission(1_000_000, 8);
        for n in 0..10_000u32 {
            let peer = Peer::Ip((std::net::Ipv4Addr::from(0x0a00_0000 + n), 1).into());
            assert!(
                admission.admit_at_zero(peer).is_ok(),
                "source {n} was taken for another"
            );
        }
    }
}
