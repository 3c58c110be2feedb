//! Certificates that are chosen by the name that a client asks for.

use hioload_certs::{Identity, PairFiles, Policy, ServerTls, ServerTlsOptions, UnknownName};
use rcgen::KeyPair;

use crate::pki::Pki;
use crate::wire::{Failed, handshake, handshake_with};

/// The names of the certificate that a client gets which asks for `host`, whether or not it trusts it.
fn served(server: &ServerTls, host: &str) -> Option<String> {
    let options = hioload_certs::ClientTlsOptions::new().trust(hioload_certs::Trust::Anything);
    let client = hioload_certs::ClientTls::load(&options).unwrap();
    let agreed = handshake(server, &client, host).ok()?;
    Identity::of(&agreed.server).unwrap().common_name
}

#[test]
fn a_certificate_is_chosen_by_name_and_the_first_is_for_the_rest() {
    let pki = Pki::new();
    let pairs = vec![
        pki.pair("first", &["first.example"]),
        pki.pair("wild", &["*.a.example", "other.example"]),
        pki.pair("exact", &["x.a.example"]),
    ];
    let server = ServerTls::load(ServerTlsOptions::new(pairs.clone())).unwrap();
    for (host, expected) in [
        ("first.example", "first.example"),
        ("x.a.example", "x.a.example"),
        ("X.A.Example", "x.a.example"),
        ("y.a.example", "*.a.example"),
        ("other.example", "*.a.example"),
        ("a.example", "first.example"),
        ("y.x.a.example", "first.example"),
        ("unknown.example", "first.example"),
        ("127.0.0.1", "first.example"),
    ] {
        assert_eq!(served(&server, host).as_deref(), Some(expected), "{host}");
    }
    let strict = ServerTlsOptions::new(pairs).unknown_name(UnknownName::Refuse);
    let strict = ServerTls::load(strict).unwrap();
    assert_eq!(
        served(&strict, "y.a.example").as_deref(),
        Some("*.a.example")
    );
    for host in ["unknown.example", "127.0.0.1"] {
        assert_eq!(served(&strict, host), None, "{host}");
    }
}

#[test]
fn names_that_are_given_replace_those_of_the_certificate() {
    let pki = Pki::new();
    let mut pairs = vec![
        pki.pair("first", &["first.example"]),
        pki.pair("second", &["second.example"]),
    ];
    pairs[1].names = vec!["given.example".parse().unwrap()];
    let server = ServerTls::load(ServerTlsOptions::new(pairs)).unwrap();
    assert_eq!(
        served(&server, "given.example").as_deref(),
        Some("second.example")
    );
    assert_eq!(
        served(&server, "second.example").as_deref(),
        Some("first.example")
    );
    let warnings = server.warnings().join("\n");
    assert!(warnings.contains("not for given.example"), "{warnings}");
}

#[test]
fn a_name_with_two_kinds_of_keys_gets_the_one_that_the_client_verifies() {
    let pki = Pki::new();
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let rsa = pki.put(
        "rsa",
        &pki.authority.issue_with(&["a.example"], &rsa, |_| {}),
    );
    let ecdsa = pki.pair("ecdsa", &["a.example"]);
    let options = ServerTlsOptions::new(vec![ecdsa, rsa]);
    let server = ServerTls::load(options).unwrap();
    let kind = |suite: &str| {
        let policy = Policy {
            suites: vec![suite.parse().unwrap()],
            ..Policy::default()
        };
        let client = hioload_certs::ClientTls::load(&pki.client_options().policy(policy)).unwrap();
        let agreed = handshake(&server, &client, "a.example").unwrap();
        agreed.suite.suite()
    };
    for suite in [
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    ] {
        assert_eq!(kind(suite).as_str(), Some(suite));
    }
}

#[test]
fn the_files_of_certbot_and_kubernetes_are_found_in_their_folder() {
    for (certificate, key) in [("fullchain.pem", "privkey.pem"), ("tls.crt", "tls.key")] {
        let pki = Pki::new();
        let issued = pki.authority.issue(&["a.example"]);
        pki.folder.write(certificate, &issued.certificate);
        pki.folder.write(key, &issued.key);
        let folder = pki.folder.path("").display().to_string();
        let server = ServerTls::load(ServerTlsOptions::new(vec![folder.parse().unwrap()])).unwrap();
        assert!(handshake(&server, &pki.client(), "a.example").is_ok());
        assert_eq!(
            server.files(),
            [pki.folder.path(certificate), pki.folder.path(key)]
        );
    }
    let pki = Pki::new();
    let empty: PairFiles = pki.folder.path("").display().to_string().parse().unwrap();
    let said = ServerTls::load(ServerTlsOptions::new(vec![empty]))
        .unwrap_err()
        .to_string();
    assert!(said.contains("fullchain.pem"), "{said}");
}

#[test]
fn one_file_may_have_certificate_and_key() {
    let pki = Pki::new();
    let issued = pki.authority.issue(&["a.example"]);
    for both in [
        issued.key.clone() + &issued.certificate,
        issued.certificate + &issued.key,
    ] {
        let path = pki.folder.write("both.pem", &both).display().to_string();
        let server = ServerTls::load(ServerTlsOptions::new(vec![path.parse().unwrap()])).unwrap();
        assert!(handshake(&server, &pki.client(), "a.example").is_ok());
    }
}

#[test]
fn the_protocol_is_http_1_1() {
    let pki = Pki::new();
    let server = pki.server();
    let agreed = handshake(&server, &pki.client(), "a.example").unwrap();
    assert_eq!(agreed.protocol.as_deref(), Some(&b"http/1.1"[..]));
    let other = handshake_with(&server, &pki.client(), "a.example", |config| {
        config.alpn_protocols = vec![b"h2".to_vec()];
    });
    assert_eq!(
        other.unwrap_err(),
        Failed::Server(rustls::Error::NoApplicationProtocol)
    );
    let none = handshake_with(&server, &pki.client(), "a.example", |config| {
        config.alpn_protocols.clear();
    });
    assert_eq!(none.unwrap().protocol, None);
}
