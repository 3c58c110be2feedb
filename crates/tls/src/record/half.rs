//! The keys of one direction, as plain bytes.

use std::fmt;

use aws_lc_rs::aead::{LessSafeKey, UnboundKey};
use zeroize::Zeroize;

use super::suite::{SECRET, Suite, expand_label};

const KEY: usize = 32;
const IV: usize = 12;
/// Bytes of [`Half::export`].
pub(super) const HALF: usize = SECRET + KEY + IV + 8;

/// The keys of one direction: the traffic secret (TLS 1.3), what follows from it, and the number of the next record.
///
/// It is plain bytes, which are overwritten when it is dropped. The expanded key that an AEAD works with is made from it and is
/// in a [`KeyCache`](super::KeyCache).
#[derive(Clone)]
pub struct Half {
    secret: [u8; SECRET],
    key: [u8; KEY],
    iv: [u8; IV],
    seq: u64,
}

impl fmt::Debug for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Half")
            .field("seq", &self.seq)
            .finish_non_exhaustive()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl Half {
    /// Overwrites the secrets where they are. A value that is moved leaves its bytes in the memory that it was moved from, so this runs
    /// before a move that ends its life.
    pub(super) fn wipe(&mut self) {
        self.secret.zeroize();
        self.key.zeroize();
        self.iv.zeroize();
    }

    /// Of TLS 1.3: from a traffic secret, for the record with number `seq`. `None` if the secret does not have the length that the
    /// suite requires, or if the library fails.
    #[must_use]
    pub fn from_secret(suite: Suite, secret: &[u8], seq: u64) -> Option<Self> {
        if secret.len() != suite.secret_len() {
            return None;
        }
        let mut half = Self {
            secret: [0; SECRET],
            key: [0; KEY],
            iv: [0; IV],
            seq,
        };
        half.secret[..secret.len()].copy_from_slice(secret);
        half.derive(suite)?;
        Some(half)
    }

    /// Of TLS 1.3: from a traffic secret, and the key and IV that the handshake has derived from it. `None` for wrong lengths.
    #[must_use]
    pub(crate) fn from_derived(
        suite: Suite,
        secret: &[u8],
        (key, iv): (&[u8], &[u8]),
        seq: u64,
    ) -> Option<Self> {
        if secret.len() != suite.secret_len() {
            return None;
        }
        let mut half = Self::from_key(suite, key, iv, seq)?;
        half.secret[..secret.len()].copy_from_slice(secret);
        Some(half)
    }

    /// Of TLS 1.2: from a key and an IV. With AES-GCM the IV is the salt and the first explicit nonce. `None` for wrong lengths.
    #[must_use]
    pub fn from_key(suite: Suite, key: &[u8], iv: &[u8], seq: u64) -> Option<Self> {
        if key.len() != suite.key_len() || iv.len() != IV {
            return None;
        }
        let mut half = Self {
            secret: [0; SECRET],
            key: [0; KEY],
            iv: [0; IV],
            seq,
        };
        half.key[..key.len()].copy_from_slice(key);
        half.iv.copy_from_slice(iv);
        Some(half)
    }

    fn derive(&mut self, suite: Suite) -> Option<()> {
        let secret = &self.secret[..suite.secret_len()];
        expand_label(suite, secret, b"key", &mut self.key[..suite.key_len()])?;
        expand_label(suite, secret, b"iv", &mut self.iv)
    }

    /// The next traffic secret (RFC 8446 §7.2). Numbers start at 0 again. `None` if the library fails: then the connection must end,
    /// because its key is the one before or none.
    #[must_use]
    pub(super) fn update(&mut self, suite: Suite) -> Option<()> {
        let n = suite.secret_len();
        let mut next = zeroize::Zeroizing::new([0; SECRET]);
        expand_label(suite, &self.secret[..n], b"traffic upd", &mut next[..n])?;
        self.secret.copy_from_slice(&next[..]);
        self.derive(suite)?;
        self.seq = 0;
        Some(())
    }

    /// The key, expanded for use. `None` cannot happen: the length is that of the suite.
    pub(super) fn expand(&self, suite: Suite) -> Option<LessSafeKey> {
        let key = &self.key[..suite.key_len()];
        UnboundKey::new(suite.algorithm(), key)
            .ok()
            .map(LessSafeKey::new)
    }

    /// The number of the next record.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    #[inline]
    pub(super) fn advance(&mut self) {
        self.seq += 1;
    }

    /// The nonce of the next record: its number and the IV, combined by XOR (RFC 8446 §5.3).
    #[inline]
    pub(super) fn nonce(&self) -> [u8; IV] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[IV - 8..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// The nonce of a received TLS 1.2 record with AES-GCM (RFC 5288 §3).
    #[inline]
    pub(super) fn nonce_from(&self, explicit: &[u8]) -> [u8; IV] {
        let mut nonce = self.iv;
        nonce[IV - 8..].copy_from_slice(explicit);
        nonce
    }

    pub(super) fn export(&self, to: &mut [u8; HALF]) {
        let (secret, rest) = to.split_at_mut(SECRET);
        let (key, rest) = rest.split_at_mut(KEY);
        let (iv, seq) = rest.split_at_mut(IV);
        secret.copy_from_slice(&self.secret);
        key.copy_from_slice(&self.key);
        iv.copy_from_slice(&self.iv);
        seq.copy_from_slice(&self.seq.to_be_bytes());
    }

    pub(super) fn import(from: &[u8; HALF]) -> Self {
        let mut half = Self {
            secret: [0; SECRET],
            key: [0; KEY],
            iv: [0; IV],
            seq: 0,
        };
        let (secret, rest) = from.split_at(SECRET);
        let (key, rest) = rest.split_at(KEY);
        let (iv, seq) = rest.split_at(IV);
        half.secret.copy_from_slice(secret);
        half.key.copy_from_slice(key);
        half.iv.copy_from_slice(iv);
        half.seq = seq.iter().fold(0, |seq, byte| seq << 8 | u64::from(*byte));
        half
    }
}
