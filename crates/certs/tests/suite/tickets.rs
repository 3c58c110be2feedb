//! Session tickets.

use std::path::Path;
use std::time::Duration;

use hioload_certs::{ClientTls, Policy, ServerTls, TicketFile, Tickets};

use crate::pki::Pki;
use crate::wire::handshake;

fn now() -> u64 {
    std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs()
}

fn shared(file: &Path) -> Tickets {
    Tickets::Shared {
        file: file.to_owned(),
    }
}

fn policies() -> [Policy; 2] {
    let old = Policy {
        suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".parse().unwrap()],
        ..Policy::default()
    };
    [Policy::default(), old]
}

#[test]
fn a_session_resumes_on_another_server_with_the_same_file() {
    let pki = Pki::new();
    let file = pki.folder.path("tickets");
    TicketFile::extend(&file, Some(Duration::from_secs(3600)), 2, now()).unwrap();
    let options = pki.options().tickets(shared(&file));
    let load = || ServerTls::load(options.clone()).unwrap();
    let alone = ServerTls::load(pki.options()).unwrap();
    for policy in policies() {
        let (a, b) = (load(), load());
        let client = ClientTls::load(&pki.client_options().policy(policy).sessions(4)).unwrap();
        assert!(!handshake(&a, &client, "a.example").unwrap().resumed);
        assert!(handshake(&b, &client, "a.example").unwrap().resumed);
        assert!(handshake(&a, &client, "a.example").unwrap().resumed);
        assert!(!handshake(&alone, &client, "a.example").unwrap().resumed);
        // The server with keys of its own resumes what it has issued, after a reload as well.
        let client = ClientTls::load(&pki.client_options().sessions(4)).unwrap();
        assert!(!handshake(&alone, &client, "a.example").unwrap().resumed);
        alone.reload().unwrap();
        assert!(handshake(&alone, &client, "a.example").unwrap().resumed);
    }
}

#[test]
fn a_file_with_new_keys_is_read_and_old_tickets_still_resume() {
    let pki = Pki::new();
    let file = pki.folder.path("tickets");
    let hour = Duration::from_secs(3600);
    // The key has been in use for nearly its whole period.
    TicketFile::extend(&file, Some(hour), 0, now() - 3590).unwrap();
    let server = ServerTls::load(pki.options().tickets(shared(&file))).unwrap();
    assert!(server.ticket_concern().unwrap().contains("ends in 1 h"));
    let client = ClientTls::load(&pki.client_options().sessions(4)).unwrap();
    assert!(!handshake(&server, &client, "a.example").unwrap().resumed);
    // As if the period had passed: a second server has only newer keys and the old one.
    let extended = TicketFile::extend(&file, None, 3, now() + 20).unwrap();
    assert_eq!((extended.keys(), extended.period()), (5, hour));
    assert_eq!(server.reload().unwrap(), [&*file]);
    assert_eq!(server.ticket_concern(), None);
    assert!(handshake(&server, &client, "a.example").unwrap().resumed);

    let other = TicketFile::extend(&file, Some(Duration::from_secs(60)), 3, now());
    assert!(
        other
            .unwrap_err()
            .to_string()
            .contains("its period is 3600 s")
    );
}

#[test]
fn a_file_without_a_current_key_is_a_concern_and_full_handshakes_work() {
    let pki = Pki::new();
    let file = pki.folder.path("tickets");
    TicketFile::extend(&file, Some(Duration::from_secs(60)), 0, now() - 1000).unwrap();
    let server = ServerTls::load(pki.options().tickets(shared(&file))).unwrap();
    assert!(server.notices()[0].contains("no key of a session ticket is current"));
    for policy in policies() {
        let client = ClientTls::load(&pki.client_options().policy(policy).sessions(4)).unwrap();
        for _ in 0..2 {
            assert!(!handshake(&server, &client, "a.example").unwrap().resumed);
        }
        assert_eq!(client.sessions().unwrap().waiting(), 0);
    }
}

#[test]
fn without_tickets_nothing_resumes() {
    let pki = Pki::new();
    let server = ServerTls::load(pki.options().tickets(Tickets::Off)).unwrap();
    for policy in policies() {
        let client = ClientTls::load(&pki.client_options().policy(policy).sessions(4)).unwrap();
        for _ in 0..2 {
            assert!(!handshake(&server, &client, "a.example").unwrap().resumed);
        }
    }
    // A client that keeps no sessions does not resume either.
    let server = pki.server();
    for _ in 0..2 {
        assert!(
            !handshake(&server, &pki.client(), "a.example")
                .unwrap()
                .resumed
        );
    }
}

#[test]
fn a_client_keeps_as_many_sessions_as_it_is_told() {
    let pki = Pki::new();
    let server = pki.server();
    let client = ClientTls::load(&pki.client_options().sessions(3)).unwrap();
    let fresh = ClientTls::load(&pki.client_options().sessions(3)).unwrap();
    for expected in [1, 1, 1] {
        handshake(&server, &client, "a.example").unwrap();
        assert_eq!(client.sessions().unwrap().waiting(), expected);
    }
    assert_eq!(client.sessions().unwrap().taken(), 2);
    assert_eq!(fresh.sessions().unwrap().waiting(), 0);
    assert!(!handshake(&server, &fresh, "a.example").unwrap().resumed);
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let pki = Pki::new();
    let file = pki.folder.path("tickets");
    for _ in 0..2 {
        TicketFile::extend(&file, None, 2, now()).unwrap();
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let server = ServerTls::load(pki.options().tickets(shared(&file))).unwrap();
    assert!(
        server.warnings()[0].contains("0644"),
        "{:?}",
        server.warnings()
    );
    let no_period = TicketFile::extend(&pki.folder.path("x"), Some(Duration::ZERO), 2, now());
    assert!(no_period.is_err());
    let no_folder = TicketFile::extend(&pki.folder.path("no/x"), None, 2, now());
    assert!(no_folder.unwrap_err().to_string().contains("cannot write"));
}
