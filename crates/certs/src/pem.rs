//! The text form of certificates and keys (RFC 7468).

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;

/// The certificates of a file, in their order.
///
/// # Errors
/// The file is not PEM, or has no certificate.
pub(crate) fn certificates(
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let all = all.map_err(|why| Error::of(path, format!("it is not PEM: {why}")))?;
    if all.is_empty() {
        return Err(Error::of(path, "it has no -----BEGIN CERTIFICATE-----"));
    }
    Ok(all)
}

/// The revocation lists of a file.
///
/// # Errors
/// The file is not PEM, or has no list.
pub(crate) fn revocation_lists(
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(content).collect();
    let all = all.map_err(|why| Error::of(path, format!("it is not PEM: {why}")))?;
    if all.is_empty() {
        return Err(Error::of(path, "it has no -----BEGIN X509 CRL-----"));
    }
    Ok(all)
}

/// A private key. Its memory is erased when it is dropped.
pub(crate) struct Key(PrivateKeyDer<'static>);

impl Key {
    pub(crate) fn der(&self) -> &PrivateKeyDer<'static> {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The first private key of a file: PKCS #8, SEC 1 or PKCS #1, not encrypted.
///
/// The parser of rustls leaves a copy of the text in memory that is not erased, so this one decodes into memory that is.
///
/// # Errors
/// The file has no such key.
pub(crate) fn private_key(path: &Path, content: &[u8]) -> Result<Key, Error> {
    let text = std::str::from_utf8(content).map_err(|_| Error::of(path, "it is not PEM"))?;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, "-----BEGIN ") else {
            continue;
        };
        let kind = match label {
            "PRIVATE KEY" => Kind::Pkcs8,
            "EC PRIVATE KEY" => Kind::Sec1,
            "RSA PRIVATE KEY" => Kind::Pkcs1,
            "ENCRYPTED PRIVATE KEY" => return Err(encrypted(path)),
            _ => continue,
        };
        let mut body = Zeroizing::new(Vec::with_capacity(content.len()));
        for line in lines.by_ref() {
            if label_is(line, label) {
                return decode(path, kind, &body);
            }
            if line.contains(':') {
                return Err(encrypted(path)); // RFC 1421 headers: only an encrypted key has them
            }
            body.extend_from_slice(line.as_bytes());
        }
        return Err(Error::of(path, format!("it has no -----END {label}-----")));
    }
    Err(Error::of(path, "it has no -----BEGIN PRIVATE KEY-----"))
}

#[derive(Clone, Copy)]
enum Kind {
    Pkcs8,
    Sec1,
    Pkcs1,
}

fn label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix("-----")
}

fn label_is(line: &str, wanted: &str) -> bool {
    label(line, "-----END ") == Some(wanted)
}

fn encrypted(path: &Path) -> Error {
    Error::of(
        path,
        "the key is encrypted: a server starts without a password (openssl pkey -in FILE -out FILE2 removes it)",
    )
}

fn decode(path: &Path, kind: Kind, body: &[u8]) -> Result<Key, Error> {
    let mut der = Zeroizing::new(vec![0; body.len().div_ceil(4) * 3]);
    let length = STANDARD
        .decode_slice(body, &mut der)
        .map_err(|_| Error::of(path, "the key is not base64"))?;
    // `to_vec` allocates exactly; `Key` erases this copy, and `der` the other.
    let der = der[..length].to_vec();
    Ok(Key(match kind {
        Kind::Pkcs8 => PrivatePkcs8KeyDer::from(der).into(),
        Kind::Sec1 => PrivateSec1KeyDer::from(der).into(),
        Kind::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Vec<u8>, String> {
        private_key(Path::new("k"), text.as_bytes())
            .map(|key| key.der().secret_der().to_vec())
            .map_err(|why| why.to_string())
    }

    #[test]
    fn the_first_key_of_a_file_is_found_between_other_things() {
        let text = "noise\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\r\n\
                    -----BEGIN PRIVATE KEY-----\r\nAQID\r\nBA==\r\n-----END PRIVATE KEY-----\n";
        assert_eq!(key(text), Ok(vec![1, 2, 3, 4]));
        let text = "-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n\
                    -----BEGIN EC PRIVATE KEY-----\nAQID\n-----END EC PRIVATE KEY-----";
        assert_eq!(key(text), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn a_file_without_a_usable_key_says_why() {
        for (text, why) in [
            ("", "no -----BEGIN PRIVATE KEY"),
            ("-----BEGIN PRIVATE KEY-----\nAQID\n", "no -----END PRIVATE"),
            (
                "-----BEGIN PRIVATE KEY-----\n!!\n-----END PRIVATE KEY-----",
                "not base64",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----",
                "encrypted",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAQID\n-----END RSA PRIVATE KEY-----",
                "encrypted",
            ),
        ] {
            let said = key(text).expect_err(text);
            assert!(said.contains(why) && !said.contains('\n'), "{said}");
        }
        assert!(private_key(Path::new("k"), &[0xff, 0x80]).is_err());
    }
}
