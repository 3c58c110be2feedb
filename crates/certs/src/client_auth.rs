//! Certificates of clients: which authorities a server trusts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::Error;
use crate::certificate::Certificate;
use crate::files::{Digest, Files, sha256};
use crate::pem;

/// Whether clients show certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    /// No certificate is requested.
    #[default]
    Off,
    /// They may. A certificate that is shown must be valid.
    Optional,
    /// They must.
    Required,
}

/// What a server accepts of clients.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientAuthOptions {
    /// Whether a certificate is requested.
    pub mode: ClientAuth,
    /// The file with the certificates of the authorities.
    pub ca: Option<PathBuf>,
    /// A file with revocation lists (RFC 5280 §5). A client is refused if its certificate is on one, if none is of its issuer, and after
    /// that list's next update.
    pub crl: Option<PathBuf>,
}

/// The rule for clients, in the terms of rustls, and its digest.
pub(crate) struct Rule {
    /// `None`: no certificate is requested.
    pub verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub digest: Digest,
}

/// Makes the rule.
///
/// # Errors
/// A file that is needed is missing or wrong, or is given and not needed.
pub(crate) fn rule(
    options: &ClientAuthOptions,
    provider: &Arc<CryptoProvider>,
    files: &mut Files,
) -> Result<Rule, Error> {
    let ca = match (options.mode, &options.ca) {
        (ClientAuth::Off, None) if options.crl.is_none() => {
            return Ok(Rule {
                verifier: None,
                digest: sha256(b"off"),
            });
        }
        (ClientAuth::Off, _) => {
            return Err(Error::new(
                "there is a file of authorities or revocations for clients, and clients are not asked for certificates",
            ));
        }
        (_, None) => {
            return Err(Error::new(
                "clients are asked for certificates, and there is no file of the authorities to trust",
            ));
        }
        (_, Some(ca)) => ca,
    };
    let content = files.read(ca)?;
    let roots = roots(ca, &content)?;
    let mut material = vec![options.mode as u8];
    material.extend_from_slice(&sha256(&content));
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if options.mode == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    if let Some(crl) = &options.crl {
        let content = files.read(crl)?;
        builder = builder
            .with_crls(pem::revocation_lists(crl, &content)?)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration();
        // A client whose certificate was revoked does not resume an earlier session.
        material.extend_from_slice(&sha256(&content));
    }
    let at_fault = options.crl.as_ref().unwrap_or(ca);
    let verifier = builder
        .build()
        .map_err(|why| Error::of(at_fault, why.to_string()))?;
    Ok(Rule {
        verifier: Some(verifier),
        digest: sha256(&material),
    })
}

/// The authorities of a file.
///
/// # Errors
/// One of them is not a certificate that can sign.
pub(crate) fn roots(path: &Path, content: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in pem::certificates(path, content)?.into_iter().enumerate() {
        let wrong = |why: String| Error::of(path, format!("certificate {}: {why}", n + 1));
        Certificate::parse(&certificate).map_err(wrong)?;
        roots
            .add(certificate)
            .map_err(|why| wrong(why.to_string()))?;
    }
    Ok(roots)
}
