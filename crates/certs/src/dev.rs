//! Certificates for development: an authority that a browser can be configured to trust, and a certificate of it for this machine.
//!
//! The key of the authority is never written: nobody, not even who made it, can issue another certificate with it. So a browser that
//! trusts it trusts this one certificate. When it expires, a new authority is made.

mod issue;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::UnixTime;
use rustls::server::ParsedCertificate;

use crate::Error;
use crate::certificate::{Certificate, fingerprint};
use crate::client_auth::roots;
use crate::files::{self, Files};
use crate::pair::{self, PairFiles};
use crate::pem;
pub use issue::DEV_DAYS;
use issue::{Issued, ORGANIZATION, issue};

/// A development certificate in a folder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DevCertificate {
    /// The certificate of the authority (`ca.pem`), which clients may trust.
    pub ca: PathBuf,
    /// The certificate (`cert.pem`).
    pub certificate: PathBuf,
    /// Its key (`key.pem`), which its owner alone may read.
    pub key: PathBuf,
    /// The SHA-256 digest of the authority's certificate, in hexadecimal.
    pub ca_fingerprint: String,
    /// The end of the validity, in seconds since 1970.
    pub not_after: i64,
}

impl DevCertificate {
    /// The files, for [`ServerTlsOptions`](crate::ServerTlsOptions).
    pub fn pair(&self) -> PairFiles {
        PairFiles {
            certificate: self.certificate.clone(),
            key: Some(self.key.clone()),
            names: Vec::new(),
        }
    }

    /// Makes the files anew. The folder is created for its owner alone if it does not exist.
    ///
    /// # Errors
    /// A name is not one, the folder has files of these names that are not those of a development certificate, or the files cannot be
    /// written.
    pub fn create(folder: &Path, names: &[String], now: SystemTime) -> Result<Self, Error> {
        let issued = issue(names, now)?;
        let _lock = lock(folder)?;
        Self::write(folder, &issued, now)
    }

    /// The files in a folder, or new ones if there are none, if they expire within a day, if they lack one of the names, or if they do not
    /// belong together.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn find_or_create(folder: &Path, names: &[String], now: SystemTime) -> Result<Self, Error> {
        let soon = seconds(now) + 86_400;
        let _lock = lock(folder)?;
        match Self::read(folder, now) {
            Ok(found) if found.not_after > soon && found.has(names) => Ok(found),
            _ => Self::write(folder, &issue(names, now)?, now),
        }
    }

    /// Writes the files of a folder that is locked. The authority comes first: a folder that has it is one of this program, so what a
    /// crash leaves unfinished is replaced at the next start.
    fn write(folder: &Path, issued: &Issued, now: SystemTime) -> Result<Self, Error> {
        let [ca, certificate, key] = paths(folder);
        if !is_own(&ca) {
            for path in [&ca, &certificate, &key] {
                if path.symlink_metadata().is_ok() {
                    return Err(Error::of(
                        path,
                        "the folder has a certificate or key that is not for development, and nothing is replaced (choose another folder)",
                    ));
                }
            }
        }
        files::write(&ca, issued.ca.as_bytes(), false)?;
        files::write(&key, issued.key.as_bytes(), true)?;
        files::write(&certificate, issued.certificate.as_bytes(), false)?;
        Self::read(folder, now)
    }

    fn read(folder: &Path, now: SystemTime) -> Result<Self, Error> {
        let mut files = Files::default();
        let [ca, certificate, key] = paths(folder);
        let content = files.read(&ca)?;
        let authority = pem::certificates(&ca, &content)?;
        let found = Self {
            ca_fingerprint: fingerprint(&authority[0]),
            not_after: 0,
            ca,
            certificate,
            key,
        };
        let wrong = |why: rustls::Error| Error::of(&found.certificate, why.to_string());
        // The key is checked against the certificate, and the certificate against the authority.
        let pair = pair::load(&found.pair(), &mut files)?;
        let leaf = ParsedCertificate::try_from(pair.key.end_entity_cert().map_err(wrong)?);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        verify_server_cert_signed_by_trust_anchor(
            &leaf.map_err(wrong)?,
            &roots(&found.ca, &content)?,
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds(now).unsigned_abs())),
            provider.signature_verification_algorithms.all,
        )
        .map_err(wrong)?;
        Ok(Self {
            not_after: pair.report.not_after,
            ..found
        })
    }

    /// Whether the certificate has these names.
    fn has(&self, names: &[String]) -> bool {
        let mut files = Files::default();
        let leaf = files.read(&self.certificate).and_then(|content| {
            let chain = pem::certificates(&self.certificate, &content)?;
            Certificate::parse(&chain[0]).map_err(|why| Error::of(&self.certificate, why))
        });
        let Ok(leaf) = leaf else { return false };
        let has = |name: &String| {
            leaf.addresses.iter().any(|own| name.parse() == Ok(*own))
                || leaf
                    .names
                    .iter()
                    .any(|own| own.to_string().eq_ignore_ascii_case(name))
        };
        names.iter().all(has)
    }
}

/// Whether a file is the certificate of an authority that this program has made.
fn is_own(ca: &Path) -> bool {
    let authority = Files::default().read(ca).and_then(|content| {
        let found = pem::certificates(ca, &content)?;
        Certificate::parse(&found[0]).map_err(|why| Error::of(ca, why))
    });
    authority.is_ok_and(|authority| authority.subject.contains(ORGANIZATION))
}

/// Keeps other processes from writing to a folder, which is created if need be, until the file is closed.
fn lock(folder: &Path) -> Result<Option<File>, Error> {
    create_folder(folder)?;
    #[cfg(unix)]
    {
        let wrong = |why| Error::of(folder, format!("cannot lock the folder: {why}"));
        let file = File::open(folder).map_err(wrong)?;
        file.lock().map_err(wrong)?;
        Ok(Some(file))
    }
    #[cfg(not(unix))]
    Ok(None)
}

fn paths(folder: &Path) -> [PathBuf; 3] {
    ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name))
}

fn create_folder(folder: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|why| Error::of(folder, format!("cannot make the folder: {why}")))
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}

/// The folder of the development certificate of `serve --tls dev`: `hioload/tls` in the folder for the state of this user (XDG Base
/// Directory Specification), or in that of systemd's StateDirectory.
///
/// # Errors
/// The user has no such folder.
pub fn dev_folder() -> Result<PathBuf, Error> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    // systemd separates several with a colon.
    let systemd = std::env::var("STATE_DIRECTORY").ok();
    let systemd = systemd
        .and_then(|all| all.split(':').next().map(PathBuf::from))
        .filter(|path| path.is_absolute());
    let state =
        || variable("XDG_STATE_HOME").or_else(|| Some(variable("HOME")?.join(".local/state")));
    systemd
        .map(|folder| folder.join("tls"))
        .or_else(|| Some(state()?.join("hioload/tls")))
        .ok_or_else(|| Error::new("there is no folder for the development certificate: HOME is not set (hioload cert dev --dir FOLDER makes one)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("hioload-dev-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn a_certificate_is_kept_until_it_expires_or_lacks_a_name() {
        let folder = folder("kept").join("below");
        let now = SystemTime::now();
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let get = |names: &[String], at| {
            DevCertificate::find_or_create(&folder, names, at).expect("a certificate")
        };
        let first = get(&names(&["a.example"]), now);
        assert_eq!(
            get(&names(&["A.example", "::1"]), now).ca_fingerprint,
            first.ca_fingerprint
        );
        let second = get(&names(&["b.example", "192.0.2.1"]), now);
        assert_ne!(second.ca_fingerprint, first.ca_fingerprint);
        assert_eq!(
            get(&names(&["192.0.2.1"]), now).ca_fingerprint,
            second.ca_fingerprint
        );
        let later = now + Duration::from_secs(364 * 86_400);
        assert_ne!(get(&[], later).ca_fingerprint, second.ca_fingerprint);
        assert!(DevCertificate::create(&folder, &names(&["a b"]), now).is_err());
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }

    #[test]
    fn files_of_somebody_else_are_not_replaced() {
        let folder = folder("foreign");
        std::fs::create_dir_all(&folder).expect("a folder");
        let now = SystemTime::now();
        for name in ["key.pem", "cert.pem", "ca.pem"] {
            let path = folder.join(name);
            std::fs::write(&path, "of somebody else").expect("a file");
            for make in [DevCertificate::create, DevCertificate::find_or_create] {
                let why = make(&folder, &[], now)
                    .expect_err("a foreign file")
                    .to_string();
                assert!(
                    why.contains(name) && why.contains("nothing is replaced"),
                    "{why}"
                );
            }
            let left = std::fs::read_to_string(&path).expect("the file");
            assert_eq!(left, "of somebody else");
            std::fs::remove_file(&path).expect("the file");
        }
        assert!(DevCertificate::find_or_create(&folder, &[], now).is_ok());
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }

    #[test]
    fn files_that_do_not_belong_together_are_replaced() {
        let (one, other) = (folder("one"), folder("other"));
        let now = SystemTime::now();
        let make = |folder: &Path| DevCertificate::find_or_create(folder, &[], now).expect("files");
        for name in ["key.pem", "cert.pem", "ca.pem"] {
            let (first, _) = (make(&one), make(&other));
            std::fs::copy(other.join(name), one.join(name)).expect("a copy");
            let second = make(&one);
            assert_ne!(first.ca_fingerprint, second.ca_fingerprint, "{name}");
            assert_eq!(make(&one).ca_fingerprint, second.ca_fingerprint, "{name}");
        }
        // A crash between two files.
        std::fs::remove_file(one.join("cert.pem")).expect("the file");
        make(&one);
        for folder in [one, other] {
            std::fs::remove_dir_all(folder).expect("its own folder");
        }
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_key_and_the_key_of_the_authority_is_nowhere() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder("private");
        let made = DevCertificate::create(&folder, &[], SystemTime::now()).expect("a certificate");
        let mode = |path: &Path| {
            std::fs::metadata(path)
                .expect("it exists")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode(&folder), mode(&made.key)), (0o700, 0o600));
        let files: Vec<_> = std::fs::read_dir(&folder)
            .expect("a folder")
            .flatten()
            .collect();
        assert_eq!(files.len(), 3);
        let keys = files.iter().filter(|file| {
            std::fs::read_to_string(file.path())
                .expect("text")
                .contains("PRIVATE KEY")
        });
        assert_eq!(keys.count(), 1);
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }
}
