//! The keys of session tickets, and which of them counts when.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::Error;

/// The longest period of a key: "Servers MUST NOT use any value greater than 604800 seconds (7 days)" (RFC 8446 §4.6.1).
pub const LONGEST_PERIOD: Duration = Duration::from_secs(604_800);
/// The period of keys unless something else is wanted.
pub const DEFAULT_PERIOD: Duration = Duration::from_secs(12 * 3600);

/// The name of a key, which each ticket carries.
pub(super) type KeyName = [u8; 16];
/// Bytes of a key.
pub(super) const SECRET: usize = 32;

/// One key. Its secret is erased when it is dropped, and never shown.
#[derive(Clone)]
pub(super) struct Key {
    /// The time from which it encrypts, in seconds since 1970.
    pub from: u64,
    pub name: KeyName,
    pub secret: Box<Zeroizing<[u8; SECRET]>>,
}

impl Key {
    /// A random key.
    pub(super) fn random(from: u64) -> Result<Self, Error> {
        let mut name = KeyName::default();
        let mut secret = Box::new(Zeroizing::new([0; SECRET]));
        rand::fill(&mut name)
            .and_then(|()| rand::fill(&mut secret[..]))
            .map_err(|_| Error::new("the system has no random numbers"))?;
        Ok(Self { from, name, secret })
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// Keys in the order of their times.
#[derive(Clone, Debug)]
pub(crate) struct KeySet {
    /// Seconds for which a key encrypts.
    period: u64,
    keys: Vec<Key>,
}

impl KeySet {
    /// `keys` in the order of their times.
    pub(super) fn new(period: u64, mut keys: Vec<Key>) -> Self {
        keys.sort_by_key(|key| key.from);
        Self { period, keys }
    }

    /// Seconds for which a key encrypts.
    pub(crate) fn period(&self) -> u64 {
        self.period
    }

    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key that encrypts at a time: the latest one that has begun, for one period.
    pub(super) fn encrypting(&self, now: u64) -> Option<&Key> {
        let key = self.keys.iter().rev().find(|key| key.from <= now)?;
        (now - key.from < self.period).then_some(key)
    }

    /// The key of a name, if it still decrypts. A key decrypts before its time too, because the clocks of two servers differ.
    pub(super) fn decrypting(&self, name: &KeyName, now: u64) -> Option<&Key> {
        let mut keys = self.keys.iter();
        keys.find(|key| key.name == *name && self.is_alive(key, now))
    }

    /// A key decrypts for one period after the one in which it encrypts.
    fn is_alive(&self, key: &Key, now: u64) -> bool {
        now.saturating_sub(key.from) < self.period.saturating_mul(2)
    }

    /// The time at which the last key stops to encrypt.
    pub(crate) fn end(&self) -> u64 {
        let last = self.keys.last();
        last.map_or(0, |key| key.from.saturating_add(self.period))
    }

    /// The set without keys that no longer decrypt, and with new ones, so that `ahead` keys follow that which encrypts now.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn extended(&self, now: u64, ahead: usize) -> Result<Self, Error> {
        let alive = self.keys.iter().filter(|key| self.is_alive(key, now));
        let mut keys: Vec<Key> = alive.cloned().collect();
        if !keys
            .iter()
            .any(|key| key.from <= now && now - key.from < self.period)
        {
            keys.push(Key::random(now)?);
        }
        keys.sort_by_key(|key| key.from);
        while keys.iter().filter(|key| key.from > now).count() < ahead {
            let last = keys.last().map_or(now, |key| key.from);
            keys.push(Key::random(last.saturating_add(self.period))?);
        }
        Ok(Self::new(self.period, keys))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_encrypts_for_one_period_and_decrypts_for_two() {
        let set = KeySet::new(10, vec![])
            .extended(100, 1)
            .expect("random numbers");
        let names: Vec<_> = set.keys().iter().map(|key| key.name).collect();
        assert_eq!(
            set.keys().iter().map(|key| key.from).collect::<Vec<_>>(),
            [100, 110]
        );
        for (now, expected) in [
            (99, None),
            (100, Some(0)),
            (109, Some(0)),
            (110, Some(1)),
            (119, Some(1)),
            (120, None),
        ] {
            let key = set.encrypting(now).map(|key| key.name);
            assert_eq!(key, expected.map(|n: usize| names[n]), "{now}");
        }
        for (now, expected) in [(0, true), (119, true), (120, false)] {
            assert_eq!(set.decrypting(&names[0], now).is_some(), expected, "{now}");
        }
        assert_eq!(set.end(), 120);
    }

    #[test]
    fn a_key_is_never_shown() {
        let set = KeySet::new(10, vec![])
            .extended(100, 1)
            .expect("random numbers");
        let shown = format!("{set:?} {set:#?}");
        for key in set.keys() {
            assert!(!shown.contains(&crate::certificate::hex(&key.secret[..])));
            assert!(!shown.contains(&format!("{:?}", &key.secret[..4]).replace(['[', ']'], "")));
        }
        assert!(shown.contains("from: 110"));
    }

    proptest! {
        /// Whenever the set is extended, tickets are made without a gap, and each decrypts for at least a period.
        #[test]
        fn extending_leaves_no_gap(period in 1u64..50, steps in prop::collection::vec(0u64..120, 1..20), ahead in 0usize..4) {
            let mut now = 1000;
            let mut set = KeySet::new(period, vec![]);
            for step in steps {
                now += step;
                let issued = set.encrypting(now).map(|key| key.name);
                set = set.extended(now, ahead).expect("random numbers");
                if let Some(name) = issued {
                    prop_assert!(set.decrypting(&name, now + period - 1).is_some());
                }
                for ahead in 0..period * ahead as u64 {
                    prop_assert!(set.encrypting(now + ahead).is_some());
                }
                prop_assert!(set.encrypting(now).is_some());
                prop_assert!(set.keys().len() <= ahead + 3);
            }
        }
    }
}
