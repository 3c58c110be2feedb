//! Certificates and configurations for tests.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite};

/// A self-signed certificate for `localhost` and its key.
pub fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
    static PAIR: OnceLock<(CertificateDer<'static>, Vec<u8>)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        (pair.cert.der().clone(), pair.signing_key.serialize_der())
    })
}

fn provider(suite: Option<SupportedCipherSuite>) -> Arc<rustls::crypto::CryptoProvider> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if let Some(suite) = suite {
        provider.cipher_suites = vec![suite];
    }
    Arc::new(provider)
}

/// A server's configuration with one suite, or with all.
pub fn server(suite: Option<SupportedCipherSuite>) -> ServerConfig {
    let (certificate, key) = certificate();
    ServerConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .or_else(|_| {
            let version = suite.expect("one suite").version();
            ServerConfig::builder_with_provider(provider(suite)).with_protocol_versions(&[version])
        })
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.clone()],
            PrivateKeyDer::try_from(key.clone()).unwrap(),
        )
        .unwrap()
}

/// A client's configuration with one suite, or with all.
pub fn client(suite: Option<SupportedCipherSuite>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().0.clone()).unwrap();
    let versions: Vec<_> = match suite {
        Some(suite) => vec![suite.version()],
        None => rustls::ALL_VERSIONS.to_vec(),
    };
    ClientConfig::builder_with_provider(provider(suite))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A client of rustls.
pub fn peer(config: ClientConfig) -> ClientConnection {
    ClientConnection::new(Arc::new(config), name()).unwrap()
}
