//! Certificates of clients.

use hioload_certs::{ClientAuth, ClientAuthOptions, ClientTls, Identity, PairFiles, ServerTls};
use rustls::{CertificateError, Error};

use crate::pki::{Authority, Pki};
use crate::wire::{Failed, handshake};

fn server(pki: &Pki, mode: ClientAuth, crl: bool) -> ServerTls {
    ServerTls::load(pki.options().client_auth(rule(pki, mode, crl))).unwrap()
}

fn rule(pki: &Pki, mode: ClientAuth, crl: bool) -> ClientAuthOptions {
    ClientAuthOptions {
        mode,
        ca: Some(pki.folder.path("ca.pem")),
        crl: crl.then(|| pki.folder.path("crl.pem")),
    }
}

fn client(pki: &Pki, certificate: Option<PairFiles>) -> ClientTls {
    ClientTls::load(&pki.client_options().certificate(certificate).sessions(4)).unwrap()
}

#[test]
fn a_required_certificate_is_verified_and_its_subject_known() {
    let pki = Pki::new();
    let server = server(&pki, ClientAuth::Required, false);
    let missing = handshake(&server, &client(&pki, None), "a.example").unwrap_err();
    assert_eq!(missing, Failed::Server(Error::NoCertificatesPresented));

    let unknown = Authority::new("unknown authority").issue(&["client.example"]);
    let unknown = client(&pki, Some(pki.put("unknown", &unknown)));
    let refused = handshake(&server, &unknown, "a.example").unwrap_err();
    assert!(
        matches!(refused, Failed::Server(Error::InvalidCertificate(_))),
        "{refused:?}"
    );

    let known = client(&pki, Some(pki.pair("client", &["client.example"])));
    let agreed = handshake(&server, &known, "a.example").unwrap();
    let identity = Identity::of(&agreed.client.unwrap()).unwrap();
    assert_eq!(identity.subject, "CN=client.example");
    assert_eq!(identity.dns_names, ["client.example"]);
    assert_eq!(identity.issuer, "CN=test authority");

    // The identity is part of the ticket.
    let again = handshake(&server, &known, "a.example").unwrap();
    assert!(again.resumed);
    assert_eq!(Identity::of(&again.client.unwrap()).unwrap(), identity);
}

/// A clock that is ahead.
#[derive(Debug)]
struct Ahead(std::sync::atomic::AtomicU64);

impl rustls::time_provider::TimeProvider for Ahead {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let ahead = self.0.load(std::sync::atomic::Ordering::Relaxed);
        let now = rustls::pki_types::UnixTime::now().as_secs() + ahead;
        Some(rustls::pki_types::UnixTime::since_unix_epoch(
            std::time::Duration::from_secs(now),
        ))
    }
}

#[test]
fn a_client_whose_certificate_or_revocation_list_has_expired_is_not_verified_any_more() {
    let pki = Pki::new();
    pki.folder.write("crl.pem", &pki.authority.revoke(&[]));
    for crl in [false, true] {
        let clock = std::sync::Arc::new(Ahead(0.into()));
        let options = pki
            .options()
            .client_auth(rule(&pki, ClientAuth::Required, crl));
        let server = ServerTls::load_at(options, clock.clone()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let hours =
            |n: u64| std::time::SystemTime::now() + std::time::Duration::from_secs(n * 3600);
        let issued = pki
            .authority
            .issue_with(&["client.example"], &key, |params| {
                // The revocation list is valid for a day.
                params.not_after = hours(if crl { 1000 } else { 10 }).into();
            });
        let known = client(&pki, Some(pki.put("client", &issued)));
        let agreed = handshake(&server, &known, "a.example").unwrap();
        let chain = [agreed.client.unwrap()];
        server.verify_client(&chain).unwrap();
        let set = |hours: u64| {
            clock
                .0
                .store(hours * 3600, std::sync::atomic::Ordering::Relaxed);
        };
        set(9);
        server.verify_client(&chain).unwrap();
        set(25);
        let why = server.verify_client(&chain).unwrap_err();
        let expired = match why {
            Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => !crl,
            Error::InvalidCertificate(
                CertificateError::ExpiredRevocationList
                | CertificateError::ExpiredRevocationListContext { .. },
            ) => crl,
            _ => false,
        };
        assert!(expired, "{why:?}");
        assert!(server.verify_client(&[]).is_err());
    }
    let nobody = pki.server();
    assert!(
        nobody
            .verify_client(&[rustls::pki_types::CertificateDer::from(vec![0])])
            .is_err()
    );
}

#[test]
fn an_optional_certificate_is_verified_if_there_is_one() {
    let pki = Pki::new();
    let server = server(&pki, ClientAuth::Optional, false);
    assert!(
        handshake(&server, &client(&pki, None), "a.example")
            .unwrap()
            .client
            .is_none()
    );
    let known = client(&pki, Some(pki.pair("client", &["client.example"])));
    assert!(
        handshake(&server, &known, "a.example")
            .unwrap()
            .client
            .is_some()
    );
    let unknown = Authority::new("unknown authority").issue(&["client.example"]);
    let unknown = client(&pki, Some(pki.put("unknown", &unknown)));
    assert!(handshake(&server, &unknown, "a.example").is_err());
}

#[test]
fn a_revoked_client_is_refused_and_does_not_resume() {
    let pki = Pki::new();
    let (good, bad) = (
        pki.authority.issue(&["good.example"]),
        pki.authority.issue(&["bad.example"]),
    );
    pki.folder.write("crl.pem", &pki.authority.revoke(&[]));
    let server = server(&pki, ClientAuth::Required, true);
    let good_client = client(&pki, Some(pki.put("good", &good)));
    let bad_client = client(&pki, Some(pki.put("bad", &bad)));
    assert!(handshake(&server, &good_client, "a.example").is_ok());
    assert!(handshake(&server, &bad_client, "a.example").is_ok());

    pki.folder
        .write("crl.pem", &pki.authority.revoke(&[bad.serial]));
    assert_eq!(server.reload().unwrap(), [pki.folder.path("crl.pem")]);
    let agreed = handshake(&server, &good_client, "a.example").unwrap();
    assert!(!agreed.resumed, "the rule has changed");
    let refused = handshake(&server, &bad_client, "a.example").unwrap_err();
    assert_eq!(
        refused,
        Failed::Server(Error::InvalidCertificate(CertificateError::Revoked))
    );
}

#[test]
fn a_session_of_another_authority_does_not_resume() {
    let pki = Pki::new();
    let server = server(&pki, ClientAuth::Required, false);
    let known = client(&pki, Some(pki.pair("client", &["client.example"])));
    assert!(handshake(&server, &known, "a.example").is_ok());
    let other = Authority::new("other authority");
    let ca = pki.folder.write("other.pem", &other.pem);
    let mut options = pki
        .options()
        .client_auth(rule(&pki, ClientAuth::Required, false));
    options.client_auth.ca = Some(ca);
    server.reconfigure(options).unwrap();
    let refused = handshake(&server, &known, "a.example").unwrap_err();
    assert!(
        matches!(refused, Failed::Server(Error::InvalidCertificate(_))),
        "{refused:?}"
    );
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let pki = Pki::new();
    let said = |rule: ClientAuthOptions| {
        ServerTls::load(pki.options().client_auth(rule))
            .unwrap_err()
            .to_string()
    };
    let mut none = rule(&pki, ClientAuth::Required, false);
    none.ca = None;
    assert!(said(none).contains("no file of the authorities"));
    assert!(said(rule(&pki, ClientAuth::Off, false)).contains("not asked"));
    let missing = said(rule(&pki, ClientAuth::Required, true));
    assert!(
        missing.contains("crl.pem: there is no such file"),
        "{missing}"
    );
    let mut wrong = rule(&pki, ClientAuth::Required, false);
    wrong.ca = Some(pki.folder.path("a.key"));
    assert!(said(wrong).contains("a.key: it has no -----BEGIN CERTIFICATE"));
}
