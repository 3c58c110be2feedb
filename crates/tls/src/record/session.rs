//! One connection after its handshake: records in, events out, without input or output of its own.

mod export;

use super::cache::{Direction, KeyCache, KeyOwner};
use super::half::{HALF, Half};
use super::header::{Alert, HEADER, MAX_CONTENT, content};
use super::messages::{Message, Partial};
use super::suite::{Suite, TAG, Version};

/// Records without application data that a peer may send in a row. A peer has reasons for one or two; more cost work and
/// deliver nothing.
const MAX_EMPTY: u8 = 32;
/// Bytes of an exported session.
pub const EXPORTED: usize = 4 + 2 * HALF;

/// A side of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// It began the handshake.
    Client,
    /// It answered.
    Server,
}

/// What a record contained.
#[derive(PartialEq, Eq)]
pub enum Opened<'a> {
    /// Application data, in the memory of the record; at least one byte.
    Data(&'a mut [u8]),
    /// Something that the session has handled, or nothing.
    Control,
    /// The peer sends no more (close_notify).
    Closed,
    /// The peer ended the connection with this alert.
    Alert(u8),
}

impl std::fmt::Debug for Opened<'_> {
    /// Without the content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(content) => write!(f, "Data({} bytes)", content.len()),
            Self::Control => f.write_str("Control"),
            Self::Closed => f.write_str("Closed"),
            Self::Alert(description) => write!(f, "Alert({description})"),
        }
    }
}

/// The reason why nothing was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealError {
    /// The space is too short for any content.
    Space,
    /// The key has protected as many records as it may, and TLS 1.2 has no way to change it.
    Exhausted,
}

/// The record layer of one connection: plain bytes, except for an unfinished handshake message.
#[derive(Clone, Debug)]
pub struct Session {
    rx: Half,
    tx: Half,
    version: Version,
    suite: Suite,
    role: Role,
    /// A KeyUpdate has to be answered.
    update_due: bool,
    /// Records since the last one with application data.
    empty: u8,
    partial: Option<Box<Partial>>,
}

impl Session {
    /// A session from the keys that a handshake agreed on.
    #[must_use]
    pub fn new(version: Version, suite: Suite, role: Role, rx: Half, tx: Half) -> Self {
        Self {
            rx,
            tx,
            version,
            suite,
            role,
            update_due: false,
            empty: 0,
            partial: None,
        }
    }

    /// Overwrites its secrets where they are. It can open and seal nothing after that.
    pub fn wipe(&mut self) {
        self.rx.wipe();
        self.tx.wipe();
    }

    /// Its protocol version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The numbers of the next record received and sent.
    #[must_use]
    pub fn numbers(&self) -> (u64, u64) {
        (self.rx.seq(), self.tx.seq())
    }

    /// Bytes that a record adds to its content.
    #[inline]
    #[must_use]
    pub fn overhead(&self) -> usize {
        let inner = usize::from(self.version == Version::Tls13);
        HEADER + self.suite.explicit_nonce(self.version) + inner + TAG
    }

    /// Opens a whole record in place. `tickets` gets the body of each NewSessionTicket (RFC 8446 §4.6.1).
    ///
    /// # Errors
    /// The alert that ends the connection. Nothing of the record may be used then.
    #[inline]
    pub fn open<'a>(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        record: &'a mut [u8],
        tickets: &mut dyn FnMut(&[u8]),
    ) -> Result<Opened<'a>, Alert> {
        let (content_type, plain) = self.decrypt(keys, owner, record)?;
        if content_type == content::DATA && self.partial.is_none() && !plain.is_empty() {
            self.empty = 0;
            return Ok(Opened::Data(plain));
        }
        self.open_other(keys, owner, content_type, plain, tickets)
    }

    /// Decrypts a record; returns its content type and content.
    #[inline]
    fn decrypt<'a>(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        record: &'a mut [u8],
    ) -> Result<(u8, &'a mut [u8]), Alert> {
        let explicit = self.suite.explicit_nonce(self.version);
        if record.len() < HEADER + explicit + TAG {
            return Err(Alert::BadRecordMac);
        }
        let key = keys
            .get(owner, Direction::Receive, self.suite, &self.rx)
            .ok_or(Alert::InternalError)?;
        let (header, body) = record.split_at_mut(HEADER);
        let outer = header[0];
        let (nonce, body) = body.split_at_mut(explicit);
        let nonce = if explicit > 0 {
            self.rx.nonce_from(nonce)
        } else {
            self.rx.nonce()
        };
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        let opened = match self.version {
            Version::Tls13 => {
                let aad = aws_lc_rs::aead::Aad::from(&*header);
                key.open_in_place(nonce, aad, body)
            }
            Version::Tls12 => {
                let len = body.len() - TAG;
                let version = [header[1], header[2]];
                let aad = aad_tls12(self.rx.seq(), outer, version, len);
                key.open_in_place(nonce, aws_lc_rs::aead::Aad::from(aad), body)
            }
        };
        let plain = opened.map_err(|_| Alert::BadRecordMac)?;
        self.rx.advance();
        let (content_type, plain) = match self.version {
            Version::Tls12 => (outer, plain),
            // RFC 8446 §5.4: "the full encoded TLSInnerPlaintext MUST NOT exceed 2^14 + 1 octets", padding included.
            Version::Tls13 if plain.len() > MAX_CONTENT + 1 => return Err(Alert::RecordOverflow),
            Version::Tls13 => without_padding(plain)?,
        };
        if plain.len() > MAX_CONTENT {
            return Err(Alert::RecordOverflow);
        }
        Ok((content_type, plain))
    }

    #[cold]
    fn open_other<'a>(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        content_type: u8,
        plain: &'a mut [u8],
        tickets: &mut dyn FnMut(&[u8]),
    ) -> Result<Opened<'a>, Alert> {
        self.empty += 1;
        if self.empty > MAX_EMPTY {
            return Err(Alert::UnexpectedMessage);
        }
        // RFC 8446 §5.1: handshake messages must not be interleaved with other records.
        if self.partial.is_some() && content_type != content::HANDSHAKE {
            return Err(Alert::UnexpectedMessage);
        }
        match content_type {
            content::DATA => Ok(Opened::Control),
            content::ALERT => self.on_alert(plain),
            content::HANDSHAKE if plain.is_empty() => Err(Alert::UnexpectedMessage),
            content::HANDSHAKE if self.version == Version::Tls12 => self.on_renegotiation(plain),
            content::HANDSHAKE => {
                self.on_handshake(keys, owner, plain, tickets)?;
                Ok(Opened::Control)
            }
            _ => Err(Alert::UnexpectedMessage),
        }
    }

    fn on_alert<'a>(&self, message: &[u8]) -> Result<Opened<'a>, Alert> {
        const WARNING: u8 = 1;
        const USER_CANCELED: u8 = 90;
        let &[level, description] = message else {
            return Err(Alert::DecodeError);
        };
        if description == Alert::CloseNotify as u8 {
            return Ok(Opened::Closed);
        }
        // RFC 8446 §6: TLS 1.3 has no warnings but these two. TLS 1.2 may continue after any other.
        let ignored = match self.version {
            Version::Tls13 => description == USER_CANCELED,
            Version::Tls12 => level == WARNING,
        };
        if ignored {
            return Ok(Opened::Control);
        }
        Ok(Opened::Alert(description))
    }

    /// RFC 5246 §7.4.1: a HelloRequest may be ignored, and a ClientHello refused. Both are here, with the alert that says so.
    fn on_renegotiation<'a>(&self, message: &[u8]) -> Result<Opened<'a>, Alert> {
        const HELLO_REQUEST: u8 = 0;
        match (self.role, message[0]) {
            (Role::Client, HELLO_REQUEST) if message.len() == 4 => Ok(Opened::Control),
            (Role::Server, 1) => Err(Alert::NoRenegotiation),
            _ => Err(Alert::UnexpectedMessage),
        }
    }

    fn on_handshake(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        bytes: &[u8],
        tickets: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Alert> {
        let mut partial = self.partial.take().unwrap_or_default();
        partial.push(bytes);
        while let Some(message) = partial.next(self.role == Role::Client)? {
            match message {
                Message::Ticket(body) => tickets(body),
                Message::KeyUpdate { answer } => {
                    // RFC 8446 §5.1: nothing may follow it in the record, because the key changes.
                    if !partial.is_empty() {
                        return Err(Alert::UnexpectedMessage);
                    }
                    keys.forget(owner, Direction::Receive);
                    self.rx.update(self.suite).ok_or(Alert::InternalError)?;
                    self.update_due |= answer;
                    return Ok(());
                }
            }
        }
        if !partial.is_empty() {
            self.partial = Some(partial);
        }
        Ok(())
    }

    /// Whether a KeyUpdate has to be sent before anything else: the peer requested it, or the key has protected as many records as
    /// it may.
    #[inline]
    #[must_use]
    pub fn needs_key_update(&self) -> bool {
        self.version == Version::Tls13
            && (self.update_due || self.tx.seq() >= self.suite.records_per_key())
    }

    /// Bytes of a KeyUpdate record.
    #[must_use]
    pub fn key_update_len(&self) -> usize {
        KEY_UPDATE.len() + self.overhead()
    }

    /// Seals a KeyUpdate that requests none, and changes the key (RFC 8446 §4.6.3). Returns the bytes written.
    ///
    /// # Errors
    /// [`SealError::Space`] if `out` is shorter than [`key_update_len`](Self::key_update_len).
    pub fn key_update(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        if out.len() < self.key_update_len() {
            return Err(SealError::Space);
        }
        let n = self.encrypt(keys, owner, content::HANDSHAKE, &KEY_UPDATE, out)?;
        keys.forget(owner, Direction::Send);
        self.tx.update(self.suite).ok_or(SealError::Exhausted)?;
        self.update_due = false;
        Ok(n)
    }

    /// Seals as much of `content` as a record of `out` takes, from one memory into the other. Returns the bytes taken and written.
    ///
    /// # Errors
    /// See [`SealError`]. If a [key update is needed](Self::needs_key_update), the caller sends that first.
    #[inline]
    pub fn seal(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize), SealError> {
        let room = out.len().saturating_sub(self.overhead());
        let n = content.len().min(room).min(MAX_CONTENT);
        if n == 0 {
            return Err(SealError::Space);
        }
        if self.tx.seq() >= self.suite.records_per_key() && self.version == Version::Tls12 {
            return Err(SealError::Exhausted);
        }
        let written = self.encrypt(keys, owner, content::DATA, &content[..n], out)?;
        Ok((n, written))
    }

    /// Seals an alert. Returns the bytes written.
    ///
    /// # Errors
    /// [`SealError::Space`] if `out` is too short.
    pub fn alert(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        alert: Alert,
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let message = alert.message();
        if out.len() < message.len() + self.overhead() {
            return Err(SealError::Space);
        }
        self.encrypt(keys, owner, content::ALERT, &message, out)
    }

    /// Seals `content`, for which `out` has room.
    #[inline]
    fn encrypt(
        &mut self,
        keys: &mut KeyCache,
        owner: KeyOwner,
        content_type: u8,
        content: &[u8],
        out: &mut [u8],
    ) -> Result<usize, SealError> {
        let key = keys
            .get(owner, Direction::Send, self.suite, &self.tx)
            .ok_or(SealError::Exhausted)?;
        let written = content.len() + self.overhead();
        let explicit = self.suite.explicit_nonce(self.version);
        let nonce = self.tx.nonce();
        let inner = [content_type];
        let (outer, inner): (u8, &[u8]) = match self.version {
            Version::Tls13 => (content::DATA, &inner),
            Version::Tls12 => (content_type, &[]),
        };
        let [high, low] = ((written - HEADER) as u16).to_be_bytes();
        let header = [outer, 3, 3, high, low];
        let (to_header, body) = out[..written].split_at_mut(HEADER);
        to_header.copy_from_slice(&header);
        let (to_nonce, body) = body.split_at_mut(explicit);
        to_nonce.copy_from_slice(&nonce[nonce.len() - explicit..]);
        let (ciphertext, tag) = body.split_at_mut(content.len());
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(nonce);
        let sealed = match self.version {
            Version::Tls13 => {
                let aad = aws_lc_rs::aead::Aad::from(header);
                key.seal_out_of_place_scatter(nonce, aad, content, ciphertext, inner, tag)
            }
            Version::Tls12 => {
                let aad = aad_tls12(self.tx.seq(), outer, [3, 3], content.len());
                let aad = aws_lc_rs::aead::Aad::from(aad);
                key.seal_out_of_place_scatter(nonce, aad, content, ciphertext, inner, tag)
            }
        };
        // It fails only for lengths that a record cannot have.
        sealed.map_err(|_| SealError::Exhausted)?;
        self.tx.advance();
        Ok(written)
    }
}

/// A KeyUpdate that requests none (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The additional data of a TLS 1.2 record (RFC 5246 §6.2.3.3).
#[inline]
fn aad_tls12(seq: u64, content_type: u8, version: [u8; 2], len: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&seq.to_be_bytes());
    aad[8..11].copy_from_slice(&[content_type, version[0], version[1]]);
    // At most 2^14 + 2048.
    aad[11..].copy_from_slice(&(len as u16).to_be_bytes());
    aad
}

/// Splits the inner plaintext of TLS 1.3 (RFC 8446 §5.4): the last byte that is not zero is the content type.
#[inline]
fn without_padding(plain: &mut [u8]) -> Result<(u8, &mut [u8]), Alert> {
    if plain.last().is_some_and(|&byte| byte != 0) {
        let (content, rest) = plain.split_at_mut(plain.len() - 1);
        return Ok((rest[0], content));
    }
    let end = plain.iter().rposition(|&byte| byte != 0);
    // RFC 8446 §5.4: a record without a content type ends the connection with unexpected_message.
    let end = end.ok_or(Alert::UnexpectedMessage)?;
    let (content, rest) = plain.split_at_mut(end);
    Ok((rest[0], content))
}
