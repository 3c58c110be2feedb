//! Certificates and configurations for tests.

use std::sync::{Arc, OnceLock};

use hioload_tls::record::Session;
use hioload_tls::{Established, Handshake, Step, prepare_client, prepare_server};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SupportedCipherSuite,
};

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

/// The suites of both versions.
pub fn suites() -> Vec<SupportedCipherSuite> {
    use rustls::crypto::aws_lc_rs::cipher_suite as all;
    vec![
        all::TLS13_AES_128_GCM_SHA256,
        all::TLS13_AES_256_GCM_SHA384,
        all::TLS13_CHACHA20_POLY1305_SHA256,
        all::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        all::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        all::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ]
}

/// The whole records of `bytes`, taken from its front.
pub fn records(bytes: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = bytes[..] {
        let len = 5 + usize::from(u16::from_be_bytes([high, low]));
        if bytes.len() < len {
            break;
        }
        records.push(bytes.drain(..len).collect());
    }
    records
}

/// Makes a handshake of ours with a connection of rustls.
pub fn shake<D>(
    mut ours: Handshake,
    peer: &mut ConnectionCommon<D>,
    first: Vec<u8>,
) -> (Established, Vec<Vec<u8>>) {
    let mut to_peer = first;
    let mut done = false;
    for _ in 0..10 {
        let mut from_peer = Vec::new();
        peer.read_tls(&mut &to_peer[..]).unwrap();
        to_peer.clear();
        peer.process_new_packets().unwrap();
        while peer.wants_write() {
            peer.write_tls(&mut from_peer).unwrap();
        }
        let mut all = records(&mut from_peer).into_iter();
        while let Some(record) = all.next() {
            done = matches!(ours.receive(&record, &mut to_peer).unwrap(), Step::Done);
            if done {
                peer.read_tls(&mut &to_peer[..]).unwrap();
                peer.process_new_packets().unwrap();
                let mut rest: Vec<_> = all.collect();
                let mut after = Vec::new();
                while peer.wants_write() {
                    peer.write_tls(&mut after).unwrap();
                }
                rest.extend(records(&mut after));
                return (ours.finish().unwrap(), rest);
            }
        }
    }
    panic!("the handshake does not end: {done}");
}

/// A session of ours in the server's role, and its client.
pub fn as_server(suite: SupportedCipherSuite) -> (Session, ClientConnection) {
    let mut peer = peer(client(Some(suite)));
    let config = Arc::new(prepare_server(&server(Some(suite))));
    let (established, rest) = shake(Handshake::server(config).unwrap(), &mut peer, Vec::new());
    assert!(rest.is_empty());
    (established.session, peer)
}

/// A session of ours in the client's role, its server, and the tickets' records that follow the handshake.
pub fn as_client(suite: SupportedCipherSuite) -> (Session, ServerConnection, Vec<Vec<u8>>) {
    let mut peer = ServerConnection::new(Arc::new(server(Some(suite)))).unwrap();
    let config = Arc::new(prepare_client(&client(Some(suite))));
    let mut ours = Handshake::client(config, name()).unwrap();
    let mut first = Vec::new();
    ours.begin(&mut first).unwrap();
    let (established, rest) = shake(ours, &mut peer, first);
    (established.session, peer, rest)
}
