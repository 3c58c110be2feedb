//! Certificates for development: an authority that a browser can be told to believe, and a certificate of it for this machine.
//!
//! The key of the authority is never written: nobody, not even who made it, can issue another certificate with it. So a browser that
//! believes it believes this one certificate. When it expires, a new authority is made.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use crate::Error;
use crate::certificate::{Certificate, fingerprint};
use crate::files::{self, Files};
use crate::pair::PairFiles;
use crate::pem;

/// How long a development certificate is valid.
pub const DEV_DAYS: u32 = 365;
/// The names that a development certificate has besides those that are wanted.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// A development certificate in a folder.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DevCertificate {
    /// The certificate of the authority (`ca.pem`), which clients may believe.
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
    /// A name is not one, or the files cannot be written.
    pub fn create(folder: &Path, names: &[String], now: SystemTime) -> Result<Self, Error> {
        let issued = issue(names, now)?;
        create_folder(folder)?;
        let [ca, certificate, key] = paths(folder);
        // The key first: a server that starts in between sees a pair that does not match, and no old key beside a new certificate for long.
        files::write(&key, issued.key.as_bytes(), true)?;
        files::write(&certificate, issued.certificate.as_bytes(), false)?;
        files::write(&ca, issued.ca.as_bytes(), false)?;
        Self::read(folder)
    }

    /// The files in a folder, or new ones if there are none, if they expire within a day, or if they lack one of the names.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn find_or_create(folder: &Path, names: &[String], now: SystemTime) -> Result<Self, Error> {
        let soon = seconds(now) + 86_400;
        match Self::read(folder) {
            Ok(found) if found.not_after > soon && found.has(names) => Ok(found),
            _ => Self::create(folder, names, now),
        }
    }

    fn read(folder: &Path) -> Result<Self, Error> {
        let mut files = Files::default();
        let [ca, certificate, key] = paths(folder);
        let content = files.read(&ca)?;
        let authority = pem::certificates(&ca, &content)?;
        let content = files.read(&certificate)?;
        let chain = pem::certificates(&certificate, &content)?;
        let leaf = Certificate::parse(&chain[0]).map_err(|why| Error::of(&certificate, why))?;
        let content = files.read(&key)?;
        pem::private_key(&key, &content)?;
        Ok(Self {
            ca,
            key,
            ca_fingerprint: fingerprint(&authority[0]),
            not_after: leaf.not_after,
            certificate,
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

fn paths(folder: &Path) -> [PathBuf; 3] {
    ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name))
}

/// What is written: PEM.
struct Issued {
    ca: String,
    certificate: String,
    key: Zeroizing<String>,
}

fn issue(names: &[String], now: SystemTime) -> Result<Issued, Error> {
    let wrong = |why: rcgen::Error| Error::new(format!("cannot make a certificate: {why}"));
    // An hour before, because clocks differ; Apple's systems refuse more than 825 days.
    let begin = now - Duration::from_secs(3600);
    let end = begin + Duration::from_secs(u64::from(DEV_DAYS) * 86_400);
    let machine = machine();
    let authority_key = KeyPair::generate().map_err(wrong)?;
    let mut authority = CertificateParams::default();
    authority.not_before = begin.into();
    authority.not_after = end.into();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let name = &mut authority.distinguished_name;
    *name = rcgen::DistinguishedName::new();
    name.push(DnType::OrganizationName, "hioload development");
    name.push(
        DnType::CommonName,
        format!("hioload development authority on {machine}"),
    );
    let ca = authority.self_signed(&authority_key).map_err(wrong)?;
    let issuer = Issuer::new(authority, authority_key);

    let mut params = CertificateParams::default();
    for name in NAMES.into_iter().chain(names.iter().map(String::as_str)) {
        let name = alternative_name(name)?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    // A machine's name that no certificate can have is left out.
    params
        .subject_alt_names
        .extend(alternative_name(&machine).ok());
    params.not_before = begin.into();
    params.not_after = end.into();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, machine);
    let key = KeyPair::generate().map_err(wrong)?;
    let certificate = params.signed_by(&key, &issuer).map_err(wrong)?;
    Ok(Issued {
        ca: ca.pem(),
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = |why: &str| Error::new(format!("{name:?}: {why}"));
    let checked: crate::Name = name.parse().map_err(wrong)?;
    let text = checked
        .to_string()
        .try_into()
        .map_err(|_| wrong("it is not ASCII"))?;
    Ok(SanType::DnsName(text))
}

/// The name of this machine.
fn machine() -> String {
    #[cfg(unix)]
    if let Ok(name) = rustix::system::uname().nodename().to_str()
        && !name.is_empty()
    {
        return name.to_owned();
    }
    "localhost".to_owned()
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
