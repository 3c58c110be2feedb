//! Record headers, content types and alerts.

use super::suite::{TAG, Version};

/// Bytes of a record header (RFC 8446 §5.1).
pub const HEADER: usize = 5;
/// The most bytes of content in a record (RFC 8446 §5.1).
pub const MAX_CONTENT: usize = 1 << 14;
/// The most bytes behind the header of a protected record: of TLS 1.3 (RFC 8446 §5.2), and of TLS 1.2 (RFC 5246 §6.2.3).
const MAX_TLS13: usize = MAX_CONTENT + 256;
const MAX_TLS12: usize = MAX_CONTENT + 2048;

/// The content types.
pub mod content {
    /// change_cipher_spec
    pub const CHANGE_CIPHER_SPEC: u8 = 20;
    /// alert
    pub const ALERT: u8 = 21;
    /// handshake
    pub const HANDSHAKE: u8 = 22;
    /// application_data
    pub const DATA: u8 = 23;
}

/// The alerts that the record layer sends (RFC 8446 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Alert {
    /// The sender sends no more.
    CloseNotify = 0,
    /// A message that must not come now.
    UnexpectedMessage = 10,
    /// A record that does not decrypt.
    BadRecordMac = 20,
    /// A record longer than permitted.
    RecordOverflow = 22,
    /// The certificate has expired, or its revocation list has.
    CertificateExpired = 45,
    /// The certificate is not acceptable for another reason.
    CertificateUnknown = 46,
    /// A field out of its range.
    IllegalParameter = 47,
    /// A message that does not decode.
    DecodeError = 50,
    /// A failure of this side.
    InternalError = 80,
    /// A warning: no other handshake on this connection (RFC 5246 §7.2.2).
    NoRenegotiation = 100,
}

impl Alert {
    /// The message: its level, which TLS 1.3 ignores, and the description.
    pub(super) fn message(self) -> [u8; 2] {
        let warning = matches!(self, Self::CloseNotify | Self::NoRenegotiation);
        [if warning { 1 } else { 2 }, self as u8]
    }
}

/// The whole length of the record that begins `bytes`, header included; `None` if there are fewer bytes than a header.
///
/// # Errors
/// The alert for a header that begins no protected record of `version`.
#[inline]
pub fn record_len(version: Version, bytes: &[u8]) -> Result<Option<usize>, Alert> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [content_type, major, _, high, low] = *header;
    let len = usize::from(u16::from_be_bytes([high, low]));
    let known = match version {
        // RFC 8446 §5.2: the outer type of a protected record is always application_data. A change_cipher_spec is tolerated
        // only during the handshake (§5).
        Version::Tls13 => content_type == content::DATA,
        Version::Tls12 => (content::CHANGE_CIPHER_SPEC..=content::DATA).contains(&content_type),
    };
    if !known || major != 3 {
        return Err(Alert::UnexpectedMessage);
    }
    let most = match version {
        Version::Tls13 => MAX_TLS13,
        Version::Tls12 => MAX_TLS12,
    };
    if len > most {
        return Err(Alert::RecordOverflow);
    }
    if len < TAG {
        return Err(Alert::BadRecordMac);
    }
    Ok(Some(HEADER + len))
}
