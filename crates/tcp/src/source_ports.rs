//! The source ports of connections that we open: RFC 6056 §3.3.4, the double-hash algorithm.
//!
//! An attacker that does not see our segments has to guess the port of a connection to send anything into it. The first hash, of
//! both addresses and the peer's port, is the offset at which the ports for this destination begin; it depends on a secret. The
//! second hash selects one of [`COUNTERS`] counters, which is added. A counter begins at a random value, so that ports do not repeat
//! after a restart, and moves on by a random step, so that the next port of a destination does not follow from the last one. From
//! its start, each try takes the next port, until one is free: if there is any, it is found.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::tuple::{self, Key};

/// The counters. Destinations that share one make each other's ports less predictable.
const COUNTERS: usize = 1024;
/// The longest step of a counter, in ports.
const LONGEST_STEP: u64 = 8;

/// Separates the hashes from those of other modules.
const PURPOSE: u64 = u64::from_be_bytes(*b"srcports");

/// What a hash is for.
const OFFSET: u64 = 1;
const COUNTER: u64 = 2;
const START: u64 = 3;
const STEP: u64 = 4;

/// The source ports of an lcore.
#[derive(Debug)]
pub(crate) struct SourcePorts {
    key: Key,
    counters: Box<[u32]>,
    /// The number of ports chosen.
    chosen: u64,
}

impl SourcePorts {
    /// `key` is a secret, and `start` a value that differs at each start.
    pub(crate) fn new(key: &Key, start: u64) -> Self {
        let key = tuple::derived(key, PURPOSE);
        let random = |n| tuple::keyed_words(&key, &[START, start, n]) as u32;
        Self {
            counters: (0..COUNTERS as u64).map(random).collect(),
            key,
            chosen: 0,
        }
    }

    /// An address of `from` and a port of `ports` for a connection to `to`, for which `is_free` holds; `None` if it holds for none.
    /// Each is tried at most once.
    pub(crate) fn choose(
        &mut self,
        from: &[IpAddr],
        ports: &RangeInclusive<u16>,
        to: SocketAddr,
        mut is_free: impl FnMut(SocketAddr) -> bool,
    ) -> Option<SocketAddr> {
        let first = *ports.start();
        let ports = usize::from(ports.end().checked_sub(first)?) + 1;
        let all = ports * from.len();
        if all == 0 {
            return None;
        }
        let words = words(to, from.first()?);
        let hash =
            |what| tuple::keyed_words(&self.key, &[what, words[0], words[1], words[2], words[3]]);
        let offset = hash(OFFSET);
        let counter = hash(COUNTER) as usize % COUNTERS;
        let count = self.counters.get_mut(counter)?;
        let begin = offset.wrapping_add(u64::from(*count)) as usize % all;
        for tried in 0..all {
            let at = (begin + tried) % all;
            let source = SocketAddr::new(from[at % from.len()], first + (at / from.len()) as u16);
            if source.port() != 0 && is_free(source) {
                self.chosen += 1;
                let step = tuple::keyed_words(&self.key, &[STEP, self.chosen, u64::from(*count)]);
                let step = 1 + step % LONGEST_STEP * from.len() as u64;
                *count = count.wrapping_add(tried as u32).wrapping_add(step as u32);
                return Some(source);
            }
        }
        None
    }
}

/// The destination, and the first of our addresses. The others follow from it.
fn words(to: SocketAddr, from: &IpAddr) -> [u64; 4] {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let (there, here) = (u128::from(wide(to.ip())), u128::from(wide(*from)));
    let mixed = (here >> 64) as u64 ^ (here as u64).rotate_left(32);
    [
        (there >> 64) as u64,
        there as u64,
        mixed,
        u64::from(to.port()),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KEY: Key = [3, 5];

    fn to(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn from(list: &[&str]) -> Vec<IpAddr> {
        list.iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect()
    }

    /// The ports of `n` connections to `to`, none of which ends.
    fn drawn(ports: &mut SourcePorts, to: SocketAddr, n: usize) -> Vec<u16> {
        let (from, range) = (from(&["10.0.0.1"]), 32_768..=60_999);
        let mut taken = HashSet::new();
        let mut next = || {
            let port = ports.choose(&from, &range, to, |source| !taken.contains(&source.port()));
            let port = port.expect("a free port").port();
            taken.insert(port);
            port
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn the_first_ports_of_destinations_are_uniform() {
        let mut ports = SourcePorts::new(&KEY, 1);
        let mut counts = [0_u32; 32];
        for n in 0..32_000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0a01_0000 + n);
            let port = drawn(&mut ports, SocketAddr::new(ip.into(), 80), 1)[0];
            counts[usize::from(port - 32_768) * 32 / 28_232] += 1;
        }
        // 31 degrees of freedom, and the value is below 61 with a probability of 99.9 %.
        let square = |count: u32| (f64::from(count) - 1000.0).powi(2) / 1000.0;
        let chi: f64 = counts.into_iter().map(square).sum();
        assert!(chi < 61.0, "chi squared {chi}");
    }

    #[test]
    fn the_next_port_of_a_destination_does_not_follow_from_the_last() {
        let mut ports = SourcePorts::new(&KEY, 1);
        let drawn = drawn(&mut ports, to("10.0.0.2:80"), 2000);
        let mut steps = [0_u32; 10];
        for pair in drawn.windows(2) {
            let step = (i32::from(pair[1]) - i32::from(pair[0])).rem_euclid(28_232);
            steps[(step as usize).min(9)] += 1;
        }
        assert_eq!((steps[0], steps[9]), (0, 0), "{steps:?}");
        assert!(
            steps[1..9].iter().all(|&count| (150..350).contains(&count)),
            "{steps:?}"
        );
    }

    #[test]
    fn ports_depend_on_the_key_the_start_and_the_destination() {
        let first =
            |key: &Key, start, at: &str| drawn(&mut SourcePorts::new(key, start), to(at), 4);
        let all = [
            first(&KEY, 1, "10.0.0.2:80"),
            first(&KEY, 2, "10.0.0.2:80"),
            first(&[3, 6], 1, "10.0.0.2:80"),
            first(&KEY, 1, "10.0.0.3:80"),
            first(&KEY, 1, "10.0.0.2:81"),
        ];
        for (n, one) in all.iter().enumerate() {
            assert!(all[..n].iter().all(|other| other != one), "{all:?}");
        }
        assert_eq!(
            all[0],
            first(&KEY, 1, "10.0.0.2:80"),
            "a replay is the same"
        );
    }

    #[test]
    fn the_last_free_port_is_found_and_then_there_is_none() {
        let mut ports = SourcePorts::new(&KEY, 1);
        let from = from(&["10.0.0.1", "10.0.0.9", "10.0.0.17"]);
        let range = 50_000..=50_009;
        let mut taken = HashSet::new();
        for _ in 0..30 {
            let source = ports.choose(&from, &range, to("10.0.0.2:80"), |source| {
                !taken.contains(&source)
            });
            assert!(taken.insert(source.expect("one is free")));
        }
        let mut tries = HashSet::new();
        let none = ports.choose(&from, &range, to("10.0.0.2:80"), |source| {
            assert!(tries.insert(source), "{source} twice");
            false
        });
        assert_eq!((none, tries), (None, taken.clone()));
        let freed = *taken.iter().next().expect("one");
        taken.remove(&freed);
        let found = ports.choose(&from, &range, to("10.0.0.2:80"), |source| {
            !taken.contains(&source)
        });
        assert_eq!(found, Some(freed));
    }

    #[test]
    fn no_address_and_the_whole_range() {
        let mut ports = SourcePorts::new(&KEY, 1);
        assert_eq!(
            ports.choose(&[], &(1..=9), to("10.0.0.2:80"), |_| true),
            None
        );
        let from = from(&["fd77::1"]);
        let found = ports.choose(&from, &(65_535..=65_535), to("[fd77::2]:80"), |_| true);
        assert_eq!(found.map(|source| source.port()), Some(65_535));
        let mut tried = HashSet::new();
        ports.choose(&from, &(1..=65_535), to("[fd77::2]:80"), |source| {
            tried.insert(source.port());
            false
        });
        assert_eq!(tried.len(), 65_535);
    }
}
