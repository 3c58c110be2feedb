//! Versions, suites and key exchanges.

use hioload_certs::{ClientTls, ClientTlsOptions, Curve, Policy, ServerTls, Suite, Trust, Version};
use rcgen::KeyPair;
use rustls::{NamedGroup, ProtocolVersion};

use crate::pki::Pki;
use crate::wire::handshake;

fn server_with(pki: &Pki, policy: Policy) -> ServerTls {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut options = pki.options().policy(policy);
    let rsa = pki.authority.issue_with(&["a.example"], &rsa, |_| {});
    options.certificates.push(pki.put("rsa", &rsa));
    ServerTls::load(options).unwrap()
}

fn client_with(pki: &Pki, policy: Policy) -> ClientTls {
    ClientTls::load(&pki.client_options().policy(policy)).unwrap()
}

fn suites(names: &[&str]) -> Policy {
    Policy {
        suites: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Policy::default()
    }
}

fn curves(names: &[&str]) -> Policy {
    Policy {
        curves: names.iter().map(|name| name.parse().unwrap()).collect(),
        ..Policy::default()
    }
}

#[test]
fn every_suite_and_key_exchange_works_alone() {
    let pki = Pki::new();
    for suite in Suite::all() {
        let name = suite.to_string();
        let (server, client) = (
            server_with(&pki, suites(&[&name])),
            client_with(&pki, Policy::default()),
        );
        let agreed = handshake(&server, &client, "a.example").expect(&name);
        assert_eq!(
            agreed
                .suite
                .suite()
                .as_str()
                .unwrap()
                .replace("TLS13_", "TLS_"),
            name
        );
    }
    let server = server_with(
        &pki,
        curves(
            &Curve::all()
                .map(|curve| curve.to_string())
                .collect::<Vec<_>>()
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        ),
    );
    for curve in Curve::all() {
        let name = curve.to_string();
        let agreed =
            handshake(&server, &client_with(&pki, curves(&[&name])), "a.example").expect(&name);
        assert_eq!(agreed.group.unwrap().as_str(), Some(&*name));
    }
}

#[test]
fn the_default_key_exchange_is_a_hybrid_with_ml_kem() {
    let pki = Pki::new();
    let agreed = handshake(
        &server_with(&pki, Policy::default()),
        &pki.client(),
        "a.example",
    )
    .unwrap();
    assert_eq!(agreed.group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(agreed.version, ProtocolVersion::TLSv1_3);
}

#[test]
fn the_order_of_suites_that_are_named_is_that_of_the_server() {
    let pki = Pki::new();
    let (a, b) = ("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256");
    let agreed = |server: Policy, client: Policy| {
        let agreed = handshake(
            &server_with(&pki, server),
            &client_with(&pki, client),
            "a.example",
        )
        .unwrap();
        agreed
            .suite
            .suite()
            .as_str()
            .unwrap()
            .replace("TLS13_", "TLS_")
    };
    assert_eq!(agreed(suites(&[b, a]), suites(&[a, b])), b);
    // Without a list, a client that has no AES in hardware gets what it prefers.
    assert_eq!(agreed(Policy::default(), suites(&[b, a])), b);
}

#[test]
fn an_older_version_is_refused() {
    let pki = Pki::new();
    let new = Policy {
        min_version: Version::Tls13,
        ..Policy::default()
    };
    let old = suites(&["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
    let server = server_with(&pki, new);
    assert!(handshake(&server, &client_with(&pki, old.clone()), "a.example").is_err());
    assert!(handshake(&server, &pki.client(), "a.example").is_ok());
    let agreed = handshake(
        &server_with(&pki, Policy::default()),
        &client_with(&pki, old),
        "a.example",
    )
    .unwrap();
    assert_eq!(agreed.version, ProtocolVersion::TLSv1_2);
}

#[test]
fn a_client_judges_the_server_unless_it_trusts_anything() {
    let pki = Pki::new();
    let server = pki.server();
    assert!(handshake(&server, &pki.client(), "b.example").is_err());
    let other = Pki::new();
    assert!(handshake(&server, &other.client(), "a.example").is_err());
    let anything = ClientTls::load(&ClientTlsOptions::new().trust(Trust::Anything)).unwrap();
    assert!(handshake(&server, &anything, "b.example").is_ok());
    let old = Policy {
        suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".parse().unwrap()],
        ..Policy::default()
    };
    let anything = ClientTlsOptions::new().trust(Trust::Anything).policy(old);
    assert!(handshake(&server, &ClientTls::load(&anything).unwrap(), "b.example").is_ok());
}
