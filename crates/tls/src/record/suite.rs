//! What the record layer knows of versions and cipher suites.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Algorithm, CHACHA20_POLY1305};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};

/// Bytes of the authentication tag of every suite here.
pub const TAG: usize = 16;
/// Bytes of the nonce that a TLS 1.2 record with AES-GCM carries (RFC 5288 §3).
pub(super) const EXPLICIT_NONCE: usize = 8;
/// The longest traffic secret: that of SHA-384.
pub(super) const SECRET: usize = 48;

/// A protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 5246, with AEAD suites only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// The AEAD of a cipher suite. With TLS 1.3 it implies the hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// AES-128-GCM, with SHA-256.
    Aes128Gcm,
    /// AES-256-GCM, with SHA-384.
    Aes256Gcm,
    /// ChaCha20-Poly1305, with SHA-256.
    ChaCha20Poly1305,
}

impl Suite {
    pub(super) fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128Gcm => &AES_128_GCM,
            Self::Aes256Gcm => &AES_256_GCM,
            Self::ChaCha20Poly1305 => &CHACHA20_POLY1305,
        }
    }

    pub(super) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of a traffic secret of TLS 1.3: those of the hash.
    pub(super) const fn secret_len(self) -> usize {
        match self {
            Self::Aes256Gcm => 48,
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Records that one key may protect (RFC 8446 §5.5): 2^24 of full size with AES-GCM. ChaCha20-Poly1305 has no limit that the
    /// sequence number does not have.
    pub(super) const fn records_per_key(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 24,
            Self::ChaCha20Poly1305 => u64::MAX - 1,
        }
    }

    /// Whether records of `version` carry a part of their nonce.
    pub(super) const fn explicit_nonce(self, version: Version) -> usize {
        match (version, self) {
            (Version::Tls12, Self::Aes128Gcm | Self::Aes256Gcm) => EXPLICIT_NONCE,
            _ => 0,
        }
    }
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label of RFC 8446 §7.1 with an empty context. Fills `out`; `None` if the library fails, and then `out` is no key.
#[must_use]
pub(super) fn expand_label(
    suite: Suite,
    secret: &[u8],
    label: &[u8],
    out: &mut [u8],
) -> Option<()> {
    const PREFIX: &[u8] = b"tls13 ";
    let hash = match suite {
        Suite::Aes256Gcm => HKDF_SHA384,
        Suite::Aes128Gcm | Suite::ChaCha20Poly1305 => HKDF_SHA256,
    };
    // At most 48 and 6 + 11 bytes.
    let length = (out.len() as u16).to_be_bytes();
    let label_len = [(PREFIX.len() + label.len()) as u8];
    let info = [&length[..], &label_len, PREFIX, label, &[0]];
    let prk = Prk::new_less_safe(hash, secret);
    prk.expand(&info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's application traffic secret, key and IV of RFC 8448 §3.
    #[test]
    fn keys_are_those_of_the_example_in_rfc_8448() {
        let secret = [
            0xa1, 0x1a, 0xf9, 0xf0, 0x55, 0x31, 0xf8, 0x56, 0xad, 0x47, 0x11, 0x6b, 0x45, 0xa9,
            0x50, 0x32, 0x82, 0x04, 0xb4, 0xf4, 0x4b, 0xfb, 0x6b, 0x3a, 0x4b, 0x4f, 0x1f, 0x3f,
            0xcb, 0x63, 0x16, 0x43,
        ];
        let (mut key, mut iv) = ([0; 16], [0; 12]);
        expand_label(Suite::Aes128Gcm, &secret, b"key", &mut key).expect("a key");
        expand_label(Suite::Aes128Gcm, &secret, b"iv", &mut iv).expect("an IV");
        let mut long = [0; 256 * 32];
        assert!(expand_label(Suite::Aes128Gcm, &secret, b"key", &mut long).is_none());
        assert_eq!(
            key,
            [
                0x9f, 0x02, 0x28, 0x3b, 0x6c, 0x9c, 0x07, 0xef, 0xc2, 0x6b, 0xb9, 0xf2, 0xac, 0x92,
                0xe3, 0x56
            ]
        );
        assert_eq!(
            iv,
            [
                0xcf, 0x78, 0x2b, 0x88, 0xdd, 0x83, 0x54, 0x9a, 0xad, 0xf1, 0xe9, 0x84
            ]
        );
    }
}
