//! A certificate with its key: the files, and what a server makes of them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::CertifiedKey;

use crate::Error;
use crate::certificate::{Certificate, fingerprint};
use crate::files::Files;
use crate::names::Name;
use crate::pem;

/// The files of a certificate chain and its key, and the names that it is for.
///
/// As text: `CERTIFICATE,KEY[,NAME...]`; a file that has both; or a folder with the files of certbot (fullchain.pem, privkey.pem) or of a
/// Kubernetes secret (tls.crt, tls.key).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PairFiles {
    /// The certificate, followed by the intermediate certificates; or a folder.
    pub certificate: PathBuf,
    /// The key. `None`: it is in the same file or folder.
    pub key: Option<PathBuf>,
    /// The names that clients may ask for. Empty: those in the certificate.
    pub names: Vec<Name>,
}

impl FromStr for PairFiles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(',').map(str::trim);
        let certificate = parts.next().filter(|path| !path.is_empty());
        let certificate = certificate
            .ok_or("expected CERTIFICATE,KEY[,NAME...], or a file or folder with both")?;
        let key = match parts.next() {
            Some("") => return Err("the path of the key is empty".to_owned()),
            key => key.map(PathBuf::from),
        };
        let names = parts.map(|name| name.parse().map_err(|why| format!("{name:?}: {why}")));
        Ok(Self {
            certificate: PathBuf::from(certificate),
            key,
            names: names.collect::<Result<_, _>>()?,
        })
    }
}

impl fmt::Display for PairFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.certificate.display())?;
        if let Some(key) = &self.key {
            write!(f, ",{}", key.display())?;
        }
        self.names.iter().try_for_each(|name| write!(f, ",{name}"))
    }
}

/// The names of the files in a folder: those of certbot and acme.sh, and those of a Kubernetes secret.
const IN_FOLDER: [(&str, &str); 3] = [
    ("fullchain.pem", "privkey.pem"),
    ("tls.crt", "tls.key"),
    ("cert.pem", "key.pem"),
];

impl PairFiles {
    /// The paths of certificate and key, which are equal if one file has both.
    fn paths(&self) -> Result<(PathBuf, PathBuf), Error> {
        let certificate = &self.certificate;
        if let Some(key) = &self.key {
            return Ok((certificate.clone(), key.clone()));
        }
        if !certificate.is_dir() {
            return Ok((certificate.clone(), certificate.clone()));
        }
        let found = IN_FOLDER
            .iter()
            .map(|(chain, key)| (certificate.join(chain), certificate.join(key)))
            .find(|(chain, key)| chain.exists() && key.exists());
        found.ok_or_else(|| {
            let names = IN_FOLDER.map(|(chain, key)| format!("{chain} and {key}"));
            let names = names.join(", or ");
            Error::of(certificate, format!("the folder has neither {names}"))
        })
    }
}

/// What an operator wants to know of a certificate of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertificateReport {
    /// The file of the certificate.
    pub path: PathBuf,
    /// Its subject (RFC 4514).
    pub subject: String,
    /// Its issuer.
    pub issuer: String,
    /// The names that clients may ask for.
    pub names: Vec<Name>,
    /// The SHA-256 digest of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// Begin of the validity, in seconds since 1970.
    pub not_before: i64,
    /// The earliest end of the validity in the chain, in seconds since 1970.
    pub not_after: i64,
}

/// A certificate with its key, checked.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub key: Arc<CertifiedKey>,
    pub report: CertificateReport,
}

/// Reads and checks a pair: the chain parses, and the key is that of the certificate.
///
/// # Errors
/// The file at fault, and why.
pub(crate) fn load(wanted: &PairFiles, files: &mut Files) -> Result<Pair, Error> {
    let (path, key_path) = wanted.paths()?;
    let content = if path == key_path {
        files.read_secret(&path)?
    } else {
        files.read(&path)?
    };
    let chain = pem::certificates(&path, &content)?;
    let content = files.read_secret(&key_path)?;
    let key = pem::private_key(&key_path, &content)?;
    drop(content);
    let key = any_supported_type(key.der())
        .map_err(|why| Error::of(&key_path, format!("the key cannot be used: {why}")))?;

    let parsed = chain.iter().enumerate().map(|(n, der)| {
        Certificate::parse(der)
            .map_err(|why| Error::of(&path, format!("certificate {}: {why}", n + 1)))
    });
    let parsed: Vec<Certificate> = parsed.collect::<Result<_, _>>()?;
    let leaf = &parsed[0];
    let fingerprint = fingerprint(&chain[0]);
    let key = CertifiedKey::new(chain, key);
    key.keys_match().map_err(|_| {
        let certificate = path.display();
        Error::of(
            &key_path,
            format!("the key is not that of the certificate {certificate}"),
        )
    })?;
    warn(&path, &parsed, wanted, files);
    let names = if wanted.names.is_empty() {
        leaf.names.clone()
    } else {
        wanted.names.clone()
    };
    let end = parsed.iter().map(|certificate| certificate.not_after).min();
    Ok(Pair {
        key: Arc::new(key),
        report: CertificateReport {
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            names,
            fingerprint,
            not_before: leaf.not_before,
            not_after: end.unwrap_or(leaf.not_after),
            path,
        },
    })
}

/// Warns of a pair that clients may refuse.
fn warn(path: &Path, chain: &[Certificate], wanted: &PairFiles, files: &mut Files) {
    let path = path.display();
    let leaf = &chain[0];
    if leaf.is_ca && chain.len() > 1 {
        files.warn(format!(
            "{path}: the first certificate is that of an authority; the server's own must be first"
        ));
    }
    for pair in chain.windows(2) {
        if pair[0].issuer != pair[1].subject {
            files.warn(format!(
                "{path}: {:?} does not follow as the issuer of {:?}; some clients refuse such a chain",
                pair[0].issuer, pair[0].subject
            ));
        }
    }
    if leaf.names.is_empty() {
        files.warn(format!(
            "{path}: the certificate has no host name (subjectAltName): browsers refuse it"
        ));
    }
    for name in &wanted.names {
        if !leaf
            .names
            .iter()
            .any(|own| own == name || own.matches(&name.to_string()))
        {
            files.warn(format!(
                "{path}: the certificate is not for {name}: clients refuse it"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_written_as_files_and_names() {
        let pair: PairFiles = "/a/c.pem,/a/k.pem,a.org,*.A.org".parse().expect("a pair");
        assert_eq!(pair.certificate, Path::new("/a/c.pem"));
        assert_eq!(pair.key.as_deref(), Some(Path::new("/a/k.pem")));
        assert_eq!(pair.to_string(), "/a/c.pem,/a/k.pem,a.org,*.a.org");
        let folder: PairFiles = "/etc/live/a".parse().expect("a folder");
        assert_eq!((folder.key, folder.names), (None, vec![]));
        for wrong in ["", ",k", "c,", "c,k,", "c,k,a b"] {
            assert!(wrong.parse::<PairFiles>().is_err(), "{wrong}");
        }
    }
}
