//! A limit on answers to hosts that need not be who they say they are: counted by source, and random.
//!
//! A limit that all sources share tells an attacker that does not see our answers what they were: it sends segments in the name of
//! another host, and then counts how much of the limit they have left for itself. By that, 100 segments show whether a 4-tuple is in
//! use (Cao et al., "Off-Path TCP Exploits: Global Rate Limit Considered Dangerous", 2016; RFC 5961 §7 asks for such a limit). So
//! - each source has a share of its own, in one of [`BUCKETS`] buckets. A segment in the name of another host uses that host's
//!   share, and a few of them use it up;
//! - the bucket of a source depends on a secret and changes with each window, so it cannot be found out and used;
//! - what a window allows, in all and for each source, is drawn anew between half of the bound and the bound, so the number of
//!   answers that an attacker gets says little about those that others got.

use std::net::IpAddr;

use hioload_lcore::Time;

use crate::tuple::{self, Key};

/// The number of buckets.
const BUCKETS: usize = 1024;

/// The length of a window in milliseconds, and that for rates of which a short window would allow only a few.
const WINDOW: u64 = 100;
const LONG_WINDOW: u64 = 1000;
/// The lowest rate per second with short windows.
const SHORT_FROM: u32 = 160;

/// What is drawn.
const ALL: u64 = 1;
const ONE: u64 = 2;

/// A source: an IPv4 address, the /64 network of an IPv6 address, a MAC address, or anything else that stands for one.
pub(crate) type Source = u64;

/// The source of an IP address. All addresses of an IPv6 /64 are one source, because one host may have them all.
#[inline]
pub(crate) fn of_ip(ip: IpAddr) -> Source {
    match ip {
        IpAddr::V4(v4) => u64::from(u32::from(v4)),
        IpAddr::V6(v6) => (u128::from(v6) >> 64) as u64,
    }
}

/// The source of a MAC address.
#[inline]
pub(crate) fn of_mac(mac: [u8; 6]) -> Source {
    let [a, b, c, d, e, f] = mac;
    u64::from_be_bytes([0, 1, a, b, c, d, e, f])
}

/// The use of a bucket: the window in which it was used last, and how often.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    window: u32,
    used: u32,
}

/// A limit by source, and of all sources together.
#[derive(Debug)]
pub(crate) struct SourceLimit {
    key: Key,
    /// The most in one window: of all sources, and of each.
    most: u32,
    share: u32,
    /// Milliseconds.
    window_len: u64,
    /// The number of the current window, counted from 1; 0 before the first.
    window: u32,
    /// What is left for all in the current window.
    left: u32,
    buckets: Box<[Bucket]>,
}

impl SourceLimit {
    /// At most `per_second` of all sources, of which a source gets at most one in `parts`, and at least one in a window if there
    /// are any. `purpose` makes limits with the same key independent.
    pub(crate) fn new(key: &Key, purpose: u64, per_second: u32, parts: u32) -> Self {
        let window_len = match per_second {
            SHORT_FROM.. => WINDOW,
            _ => LONG_WINDOW,
        };
        let most = (u64::from(per_second) * window_len / 1000) as u32;
        Self {
            key: tuple::derived(key, purpose),
            most,
            share: (most / parts.max(1)).max(1),
            window_len,
            window: 0,
            left: 0,
            buckets: vec![Bucket::default(); BUCKETS].into(),
        }
    }

    /// Whether one more for `source` may pass at `now`. If so, it is counted.
    pub(crate) fn allow(&mut self, source: Source, now: Time) -> bool {
        if self.most == 0 {
            return false;
        }
        // It wraps after 13 years, and then a bucket may seem to be in use for one window.
        let window = (now.as_millis() / self.window_len) as u32 + 1;
        if window != self.window {
            self.window = window;
            self.left = drawn(
                tuple::keyed_words(&self.key, &[ALL, window.into()]),
                self.most,
            );
        }
        let random = self.random(window, source);
        let Some(bucket) = self.buckets.get_mut(random as usize % BUCKETS) else {
            return false;
        };
        if bucket.window != window {
            *bucket = Bucket { window, used: 0 };
        }
        if bucket.used >= drawn(random >> 32, self.share) || self.left == 0 {
            return false;
        }
        bucket.used += 1;
        self.left -= 1;
        true
    }

    /// The random bits of a source in a window: the bucket in the low half, and its share in the high half.
    fn random(&self, window: u32, source: Source) -> u64 {
        tuple::keyed_words(&self.key, &[ONE, window.into(), source])
    }
}

/// A number between half of `most`, rounded up, and `most`; `random` has 32 random bits.
fn drawn(random: u64, most: u32) -> u32 {
    let least = most.div_ceil(2);
    let choices = u64::from(most - least) + 1;
    least + (((random & 0xffff_ffff) * choices) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const KEY: Key = [7, 9];

    fn limit(per_second: u32) -> SourceLimit {
        SourceLimit::new(&KEY, 1, per_second, 8)
    }

    fn passed(limit: &mut SourceLimit, source: Source, now: Time, tries: u32) -> u32 {
        (0..tries)
            .map(|_| u32::from(limit.allow(source, now)))
            .sum()
    }

    #[test]
    fn a_window_allows_between_half_of_the_bound_and_the_bound() {
        let mut limit = limit(1000);
        let mut seen = HashSet::new();
        for window in 0..400 {
            let now = Time::from_millis(window * 100);
            let all: u32 = (0..2000)
                .map(|source| passed(&mut limit, source, now, 1))
                .sum();
            assert!((50..=100).contains(&all), "{all}");
            seen.insert(all);
        }
        assert!(seen.len() > 30, "{} different numbers", seen.len());
    }

    #[test]
    fn a_source_gets_its_share_and_leaves_the_rest_to_others() {
        let mut limit = limit(1000);
        let mut seen = HashSet::new();
        for window in 0..200 {
            let now = Time::from_millis(window * 100);
            let flood = passed(&mut limit, 5, now, 10_000);
            assert!((6..=12).contains(&flood), "{flood}");
            seen.insert(flood);
            // In most windows nobody shares its bucket.
            assert_eq!(
                passed(&mut limit, 5 + window, now, 1),
                u32::from(window > 0)
            );
        }
        assert_eq!(seen.len(), 7);
    }

    #[test]
    fn probes_in_the_name_of_another_host_hardly_change_what_an_attacker_gets() {
        // The attack: with the 4-tuple in use, the 100 probes get no answer; if it is free, each asks for one. The attacker
        // has many addresses of its own, asks from each, and counts.
        let counts = |probes: u32| -> Vec<u32> {
            let mut limit = limit(1000);
            (0..400)
                .map(|window| {
                    let now = Time::from_millis(window * 100);
                    passed(&mut limit, 1 << 40, now, probes);
                    (0..1000)
                        .map(|source| passed(&mut limit, source, now, 1))
                        .sum()
                })
                .collect()
        };
        let (quiet, probed) = (counts(0), counts(100));
        // One count alone decides nothing: most of the values that occur in one case occur in the other.
        let of = |counts: &[u32]| counts.iter().copied().collect::<HashSet<_>>();
        let common = of(&quiet).intersection(&of(&probed)).count();
        assert!(common * 10 >= of(&quiet).len() * 7, "{common}");
        // And a source that is alone sees no difference at all.
        let one = |probes| {
            let mut limit = limit(1000);
            passed(&mut limit, 1 << 40, Time::ZERO, probes);
            passed(&mut limit, 77, Time::ZERO, 1000)
        };
        assert_eq!(one(0), one(100));
    }

    #[test]
    fn buckets_depend_on_the_window_the_key_and_the_purpose() {
        // The sources that share the bucket of source 0.
        let shared = |key: &Key, purpose, window| -> Vec<Source> {
            let limit = SourceLimit::new(key, purpose, 1000, 8);
            let bucket = |source| limit.random(window, source) as usize % BUCKETS;
            (1..20_000)
                .filter(|&source| bucket(source) == bucket(0))
                .collect()
        };
        let first = shared(&KEY, 1, 3);
        assert!((5..45).contains(&first.len()), "{}", first.len());
        for other in [
            shared(&KEY, 1, 4),
            shared(&KEY, 2, 3),
            shared(&[7, 10], 1, 3),
        ] {
            let again = first.iter().filter(|source| other.contains(source)).count();
            assert!(again <= 2, "{again}");
        }
    }

    #[test]
    fn slow_and_extreme_rates() {
        assert_eq!(passed(&mut limit(0), 1, Time::from_millis(7), 10), 0);
        let mut one = limit(1);
        assert_eq!(passed(&mut one, 1, Time::ZERO, 10), 1);
        assert_eq!(passed(&mut one, 2, Time::from_millis(999), 10), 0);
        assert_eq!(passed(&mut one, 2, Time::from_millis(1000), 10), 1);
        let mut ten = limit(10);
        assert_eq!(passed(&mut ten, 1, Time::ZERO, 10), 1);
        let others: u32 = (2..100)
            .map(|source| passed(&mut ten, source, Time::ZERO, 1))
            .sum();
        assert!((4..=9).contains(&others), "{others}");
        assert!(passed(&mut limit(u32::MAX), 1, Time::MAX, 10) == 10);
    }

    #[test]
    fn addresses_of_one_host_are_one_source() {
        let ip = |text: &str| of_ip(text.parse().expect("an address"));
        assert_eq!(ip("fd77::1"), ip("fd77::ffff:1"));
        assert_ne!(ip("fd77::1"), ip("fd77:0:0:1::1"));
        assert_ne!(ip("10.0.0.1"), ip("10.0.0.2"));
        assert_ne!(of_mac([2, 0, 0, 0, 0, 1]), of_mac([2, 0, 0, 0, 0, 2]));
    }
}
