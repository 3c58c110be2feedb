//! Encrypts and decrypts tickets for rustls.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use zeroize::Zeroizing;

use super::keys::{Key, KeyName, KeySet, LONGEST_PERIOD};
use crate::Error;
use crate::files::Digest;

const NAME: usize = size_of::<KeyName>();
/// Random bytes of each ticket.
const SALT: usize = 16;
/// Bytes of the time of its issue, in seconds since 1970. It is encrypted.
const ISSUED: usize = 8;
const TAG: usize = 16;
/// The largest state that becomes a ticket. A client's certificates are part of it, and a longer ticket would be a burden to each
/// later handshake.
const MOST_PLAIN: usize = 12 * 1024;

/// The keys of a server. Configurations that follow each other share them, so that a reload keeps tickets valid.
pub(crate) struct TicketKeys {
    set: ArcSwap<KeySet>,
    /// Whether this process makes the keys.
    own: bool,
    /// Held while a key is made.
    making: Mutex<()>,
    clock: Arc<dyn TimeProvider>,
}

impl TicketKeys {
    /// Random keys, of which a new one is made for each period.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn own(period: u64, clock: Arc<dyn TimeProvider>) -> Result<Self, Error> {
        let set = KeySet::new(period, Vec::new()).extended(seconds(&*clock), 0)?;
        Ok(Self::with(set, true, clock))
    }

    /// The keys of a file.
    pub(crate) fn shared(set: KeySet, clock: Arc<dyn TimeProvider>) -> Self {
        Self::with(set, false, clock)
    }

    fn with(set: KeySet, own: bool, clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            set: ArcSwap::from_pointee(set),
            own,
            making: Mutex::new(()),
            clock,
        }
    }

    /// Replaces the keys of a file.
    pub(crate) fn replace(&self, set: KeySet) {
        self.set.store(Arc::new(set));
    }

    /// The time at which the last key of a file stops to encrypt. Own keys have no end.
    pub(crate) fn end(&self) -> Option<u64> {
        (!self.own).then(|| self.set.load().end())
    }

    /// The period of the keys, in seconds.
    pub(crate) fn period(&self) -> u64 {
        self.set.load().period()
    }

    /// Whether this process makes the keys.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// The current keys, with one that encrypts if this process makes them.
    fn current(&self, now: u64) -> Arc<KeySet> {
        let set = self.set.load_full();
        if !self.own || set.encrypting(now).is_some() {
            return set;
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let set = self.set.load_full();
        if set.encrypting(now).is_some() {
            return set;
        }
        // Without random numbers there is no ticket; the connection continues without one.
        if let Ok(extended) = set.extended(now, 0) {
            self.set.store(Arc::new(extended));
        }
        self.set.load_full()
    }

    fn encrypt(&self, context: &Digest, plain: &[u8]) -> Option<Vec<u8>> {
        if plain.len() > MOST_PLAIN {
            return None;
        }
        let now = seconds(&*self.clock);
        let set = self.current(now);
        let key = set.encrypting(now)?;
        let issued = now.to_be_bytes();
        let mut salt = [0; SALT];
        rand::fill(&mut salt).ok()?;
        let (aead, nonce) = derive(key, &salt)?;
        let mut out = Vec::with_capacity(NAME + SALT + ISSUED + plain.len() + TAG);
        out.extend_from_slice(&key.name);
        out.extend_from_slice(&salt);
        out.extend_from_slice(&issued);
        out.extend_from_slice(plain);
        let body = out.get_mut(NAME + SALT..)?;
        let tag = aead.seal_in_place_separate_tag(nonce, Aad::from(context), body);
        out.extend_from_slice(tag.ok()?.as_ref());
        Some(out)
    }

    fn decrypt(&self, context: &Digest, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let (salt, body) = rest.split_first_chunk::<SALT>()?;
        if body.len() > ISSUED + MOST_PLAIN + TAG {
            return None;
        }
        let (set, now) = (self.set.load(), seconds(&*self.clock));
        let key = set.decrypting(name, now)?;
        let (aead, nonce) = derive(key, salt)?;
        let mut body = body.to_vec();
        let length = aead
            .open_in_place(nonce, Aad::from(context), &mut body)
            .ok()?
            .len();
        body.truncate(length);
        let (issued, _) = body.split_first_chunk::<ISSUED>()?;
        // The clock of the server that issued it may be ahead of this one.
        let age = now.saturating_sub(u64::from_be_bytes(*issued));
        let longest = LONGEST_PERIOD.as_secs().min(set.period().saturating_mul(2));
        if age >= longest {
            return None;
        }
        body.drain(..ISSUED);
        Some(body)
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// Each ticket has an AES key and a nonce of its own, derived from the key and the ticket's salt (RFC 5869). So the number of tickets that
/// one key makes, on all servers together, is not bounded by the 2^32 random nonces of AES-GCM (SP 800-38D §8.3).
fn derive(key: &Key, salt: &[u8; SALT]) -> Option<(LessSafeKey, Nonce)> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32 + NONCE_LEN
        }
    }
    let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &key.secret[..]);
    let info = [b"hioload ticket 2".as_slice(), salt];
    let mut out = Zeroizing::new([0; 32 + NONCE_LEN]);
    prk.expand(&info, Length).ok()?.fill(&mut out[..]).ok()?;
    let (key, nonce) = out.split_at(32);
    let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
    Some((
        LessSafeKey::new(key),
        Nonce::try_assume_unique_for_key(nonce).ok()?,
    ))
}

/// The clock's time in seconds since 1970.
fn seconds(clock: &dyn TimeProvider) -> u64 {
    clock.current_time().map_or(0, |time| time.as_secs())
}

/// The keys, bound to how a configuration judges clients: a ticket contains the verified certificate of a client, so one that was made
/// under another rule or another authority does not resume.
#[derive(Debug)]
pub(crate) struct BoundTicketer {
    pub keys: Arc<TicketKeys>,
    /// The digest of the rule.
    pub context: Digest,
}

impl ProducesTickets for BoundTicketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.keys.period()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.encrypt(&self.context, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.keys.decrypt(&self.context, ticket)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use proptest::prelude::*;
    use rustls::pki_types::UnixTime;

    use super::*;

    #[derive(Debug)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let now = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(now)))
        }
    }

    fn clock() -> Arc<Clock> {
        Arc::new(Clock(AtomicU64::new(1000)))
    }

    fn ticketer(keys: &Arc<TicketKeys>, context: u8) -> BoundTicketer {
        BoundTicketer {
            keys: Arc::clone(keys),
            context: [context; 32],
        }
    }

    #[test]
    fn own_keys_rotate_and_a_ticket_lives_one_to_two_periods() {
        let clock = clock();
        let keys = Arc::new(TicketKeys::own(60, clock.clone()).expect("random numbers"));
        let ticketer = ticketer(&keys, 0);
        let first = ticketer.encrypt(b"state").expect("a ticket");
        let at = |now| clock.0.store(now, Ordering::Relaxed);
        at(1059);
        let late = ticketer.encrypt(b"state").expect("a ticket");
        assert_eq!(first[..NAME], late[..NAME]);
        at(1060);
        let second = ticketer.encrypt(b"state").expect("a ticket");
        assert_ne!(first[..NAME], second[..NAME]);
        at(1119);
        assert_eq!(ticketer.decrypt(&late).as_deref(), Some(&b"state"[..]));
        at(1120);
        assert_eq!(ticketer.decrypt(&first), None);
        assert!(ticketer.decrypt(&second).is_some());
        // Nothing was encrypted for a long time: the next ticket has a new key, and old ones are forgotten.
        at(9999);
        assert_eq!(ticketer.decrypt(&second), None);
        assert!(ticketer.encrypt(b"state").is_some());
        assert_eq!(keys.set.load().keys().len(), 1);
    }

    #[test]
    fn no_ticket_is_accepted_for_more_than_seven_days() {
        let clock = clock();
        let week = LONGEST_PERIOD.as_secs();
        let keys = Arc::new(TicketKeys::own(week, clock.clone()).expect("random numbers"));
        let ticketer = ticketer(&keys, 0);
        let at = |now| clock.0.store(now, Ordering::Relaxed);
        at(1000 + week - 1);
        let ticket = ticketer.encrypt(b"state").expect("a ticket");
        at(1000 + 2 * week - 2);
        assert!(ticketer.decrypt(&ticket).is_some());
        at(1000 + 2 * week - 1);
        assert_eq!(ticketer.decrypt(&ticket), None, "its key still decrypts");
    }

    #[test]
    fn two_servers_with_the_keys_of_one_file_read_each_others_tickets() {
        let set = KeySet::new(60, vec![])
            .extended(1000, 1)
            .expect("random numbers");
        let (early, late) = (clock(), clock());
        let server = |clock: &Arc<Clock>| Arc::new(TicketKeys::shared(set.clone(), clock.clone()));
        let (a, b) = (server(&early), server(&late));
        // The clock of one is ahead: it already encrypts with the next key.
        late.0.store(1060, Ordering::Relaxed);
        let ticket = ticketer(&b, 0).encrypt(b"x").expect("a ticket");
        assert!(ticketer(&a, 0).decrypt(&ticket).is_some());
        let ticket = ticketer(&a, 0).encrypt(b"x").expect("a ticket");
        assert!(ticketer(&b, 0).decrypt(&ticket).is_some());
        // The file has run out of keys.
        late.0.store(1120, Ordering::Relaxed);
        assert!(ticketer(&b, 0).encrypt(b"x").is_none());
        assert_eq!(b.end(), Some(1120));
        b.replace(set.extended(1120, 1).expect("random numbers"));
        assert!(ticketer(&b, 0).encrypt(b"x").is_some());
    }

    #[test]
    fn a_ticket_of_another_rule_for_clients_does_not_resume() {
        let keys = Arc::new(TicketKeys::own(60, clock()).expect("random numbers"));
        let ticket = ticketer(&keys, 1).encrypt(b"state").expect("a ticket");
        assert!(ticketer(&keys, 1).decrypt(&ticket).is_some());
        assert!(ticketer(&keys, 2).decrypt(&ticket).is_none());
    }

    #[test]
    fn a_state_that_is_too_long_makes_no_ticket() {
        let ticketer = ticketer(
            &Arc::new(TicketKeys::own(60, clock()).expect("random numbers")),
            1,
        );
        let ticket = ticketer.encrypt(&vec![1; MOST_PLAIN]).expect("a ticket");
        assert_eq!(
            ticketer.decrypt(&ticket).expect("the state").len(),
            MOST_PLAIN
        );
        assert!(ticketer.encrypt(&vec![1; MOST_PLAIN + 1]).is_none());
    }

    proptest! {
        /// A ticket is of use only as it was made: any change of a byte or of the length makes it void.
        #[test]
        fn a_changed_ticket_is_void(plain in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<prop::sample::Index>()) {
            let ticketer = ticketer(&Arc::new(TicketKeys::own(60, clock()).expect("random numbers")), 1);
            let ticket = ticketer.encrypt(&plain).expect("a ticket");
            prop_assert_eq!(ticketer.decrypt(&ticket), Some(plain));
            let mut changed = ticket.clone();
            changed[at.index(ticket.len())] ^= 1 << bit;
            prop_assert_eq!(ticketer.decrypt(&changed), None);
            prop_assert_eq!(ticketer.decrypt(&ticket[..cut.index(ticket.len())]), None);
        }

        #[test]
        fn bytes_that_are_no_ticket_are_void(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let ticketer = ticketer(&Arc::new(TicketKeys::own(60, clock()).expect("random numbers")), 1);
            prop_assert_eq!(ticketer.decrypt(&bytes), None);
        }
    }
}
