//! A session as bytes, which another lcore or process continues.

use zeroize::Zeroizing;

use super::super::half::{HALF, Half};
use super::super::suite::{Suite, Version};
use super::{EXPORTED, MAX_EMPTY, Role, Session};

impl Session {
    /// The session as bytes, to continue it elsewhere; `None` while a handshake message is unfinished. They contain secrets.
    #[must_use]
    pub fn export(&self) -> Option<Zeroizing<[u8; EXPORTED]>> {
        if self.partial.is_some() {
            return None;
        }
        let mut bytes = Zeroizing::new([0; EXPORTED]);
        let (head, halves) = bytes.split_at_mut(4);
        head.copy_from_slice(&[
            u8::from(self.version == Version::Tls13),
            match self.suite {
                Suite::Aes128Gcm => 0,
                Suite::Aes256Gcm => 1,
                Suite::ChaCha20Poly1305 => 2,
            },
            u8::from(self.role == Role::Client) | u8::from(self.update_due) << 1,
            self.empty,
        ]);
        let (rx, tx) = halves.split_at_mut(HALF);
        self.rx.export(rx.first_chunk_mut()?);
        self.tx.export(tx.first_chunk_mut()?);
        Some(bytes)
    }

    /// A session from exported bytes; `None` if they are not those of a session.
    #[must_use]
    pub fn import(bytes: &[u8; EXPORTED]) -> Option<Self> {
        let ([version, suite, flags, empty], halves) = bytes.split_first_chunk()?;
        let version = match version {
            0 => Version::Tls12,
            1 => Version::Tls13,
            _ => return None,
        };
        let suite = match suite {
            0 => Suite::Aes128Gcm,
            1 => Suite::Aes256Gcm,
            2 => Suite::ChaCha20Poly1305,
            _ => return None,
        };
        let role = match flags & 1 {
            1 => Role::Client,
            _ => Role::Server,
        };
        let (rx, tx) = halves.split_at(HALF);
        let mut session = Self::new(
            version,
            suite,
            role,
            Half::import(rx.first_chunk()?),
            Half::import(tx.first_chunk()?),
        );
        session.update_due = flags & 2 != 0;
        session.empty = (*empty).min(MAX_EMPTY);
        Some(session)
    }
}
