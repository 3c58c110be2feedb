//! Authorities and certificates, in a folder that is removed at the end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use hioload_certs::{ClientTls, ClientTlsOptions, PairFiles, ServerTls, ServerTlsOptions, Trust};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};

/// A folder for the files of a test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hioload-certs-{}-{next}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file for its owner alone.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        private(&path);
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(unix)]
pub(crate) fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[cfg(not(unix))]
pub(crate) fn private(_: &Path) {}

/// A certificate with its key, in PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
    pub(crate) serial: u64,
}

/// An authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    next: AtomicU32,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
            next: AtomicU32::new(1),
        }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &KeyPair::generate().unwrap(), |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        key: &KeyPair,
        set: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        let serial = u64::from(self.next.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        set(&mut params);
        Issued {
            certificate: params.signed_by(key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// A revocation list, valid for a day before and after now.
    pub(crate) fn revoke(&self, serials: &[u64]) -> String {
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: (now - day).into(),
            next_update: (now + day).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// An authority with a folder, and what a test needs of both.
pub(crate) struct Pki {
    pub(crate) folder: Folder,
    pub(crate) authority: Authority,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new("test authority"));
        folder.write("ca.pem", &authority.pem);
        Self { folder, authority }
    }

    /// A new certificate in the files `NAME.pem` and `NAME.key`.
    pub(crate) fn pair(&self, file: &str, names: &[&str]) -> PairFiles {
        self.put(file, &self.authority.issue(names))
    }

    pub(crate) fn put(&self, file: &str, issued: &Issued) -> PairFiles {
        PairFiles {
            certificate: self
                .folder
                .write(&format!("{file}.pem"), &issued.certificate),
            key: Some(self.folder.write(&format!("{file}.key"), &issued.key)),
            names: vec![],
        }
    }

    /// Options for a server with a certificate for `a.example`.
    pub(crate) fn options(&self) -> ServerTlsOptions {
        ServerTlsOptions::new(vec![self.pair("a", &["a.example"])])
    }

    pub(crate) fn server(&self) -> ServerTls {
        ServerTls::load(self.options()).unwrap()
    }

    /// Options for a client that trusts the authority.
    pub(crate) fn client_options(&self) -> ClientTlsOptions {
        ClientTlsOptions::new().trust(Trust::File(self.folder.path("ca.pem")))
    }

    pub(crate) fn client(&self) -> ClientTls {
        ClientTls::load(&self.client_options()).unwrap()
    }
}
