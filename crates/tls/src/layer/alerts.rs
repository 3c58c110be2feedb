//! Alerts of failed handshakes, where rustls chooses another one than the RFCs.

use crate::record::content;

/// Whether the first bytes of a connection are a ClientHello of TLS 1.1 or older. rustls misses the signature algorithms, which such a
/// message need not have, before it compares the version.
pub(super) fn is_old_hello(bytes: &[u8]) -> bool {
    const CLIENT_HELLO: u8 = 1;
    matches!(
        bytes,
        [
            content::HANDSHAKE,
            _,
            _,
            _,
            _,
            CLIENT_HELLO,
            _,
            _,
            _,
            3,
            0..=2,
            ..
        ]
    )
}

pub(super) const HANDSHAKE_FAILURE: u8 = 40;
pub(super) const ACCESS_DENIED: u8 = 49;
/// RFC 8446 §6.2
pub(super) const PROTOCOL_VERSION: u8 = 70;
/// RFC 6066 §3
pub(super) const UNRECOGNIZED_NAME: u8 = 112;

/// Replaces the alert that rustls has chosen by the one that says what is wrong. Nothing is encrypted before a certificate is chosen.
pub(super) fn replace_alert(out: &mut [u8], wrong: u8, right: u8) {
    const FATAL: u8 = 2;
    if let [.., content::ALERT, 3, _, 0, 2, FATAL, alert] = out
        && *alert == wrong
    {
        *alert = right;
    }
}
