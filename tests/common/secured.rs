//! TLS between the server of a test and its clients, if the environment asks for it.
//!
//! HIOLOAD_TEST_TLS names a folder. The server has its certificate from there, the clients their trust; `hioload cert dev` makes
//! what it lacks.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::server::binary;

/// Names of the certificate besides those of this machine: the servers of `tests/netns`.
const NAMES: [&str; 2] = ["10.77.0.2", "fd77::2"];

/// What both sides have.
pub struct Secured {
    folder: PathBuf,
    config: Arc<ClientConfig>,
}

/// TLS for all servers and clients of this process, if the environment asks for it.
pub fn secured() -> Option<&'static Secured> {
    static MADE: OnceLock<Option<Secured>> = OnceLock::new();
    let folder = || env::var_os("HIOLOAD_TEST_TLS").filter(|folder| !folder.is_empty());
    let made = MADE.get_or_init(|| folder().map(|folder| Secured::of(Path::new(&folder))));
    made.as_ref()
}

impl Secured {
    fn of(folder: &Path) -> Self {
        let names = NAMES.iter().flat_map(|name| ["--name", name]);
        let mut command = Command::new(binary());
        let made = command.args(["cert", "dev", "--dir"]).arg(folder);
        let made = made.args(names).output().expect("the program starts");
        assert!(made.status.success(), "no certificate: {made:?}");
        let authority = CertificateDer::from_pem_file(folder.join("ca.pem"));
        let mut roots = RootCertStore::empty();
        roots
            .add(authority.expect("a certificate"))
            .expect("an authority");
        // One cheap key exchange: others are not what these tests are about.
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(64);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self {
            folder: folder.to_owned(),
            config: Arc::new(config),
        }
    }

    /// The arguments of the server.
    pub fn serve(&self) -> [&str; 2] {
        let folder = self.folder.to_str().expect("a path in UTF-8");
        ["--tls-certificate", folder]
    }

    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }
}
