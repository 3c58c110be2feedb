//! A configuration that is replaced while connections are open.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hioload_certs::{Identity, PairFiles, ServerTls, ServerTlsOptions, Tickets, Watch};

use crate::pki::{Authority, Pki, private};
use crate::wire::handshake;

fn serial(pki: &Pki, server: &ServerTls) -> String {
    let agreed = handshake(server, &pki.client(), "a.example").unwrap();
    Identity::of(&agreed.server).unwrap().serial
}

#[test]
fn new_connections_get_the_new_certificate_and_open_ones_continue() {
    let pki = Pki::new();
    let server = pki.server();
    let mut open: Vec<_> = (0..20)
        .map(|_| handshake(&server, &pki.client(), "a.example").unwrap())
        .collect();
    let before = serial(&pki, &server);
    let pair = pki.pair("a", &["a.example"]);
    assert_eq!(
        serial(&pki, &server),
        before,
        "nothing is read before a reload"
    );
    assert_eq!(
        server.reload().unwrap(),
        [pair.certificate, pair.key.unwrap()]
    );
    assert_ne!(serial(&pki, &server), before);
    assert!(open.iter_mut().all(|connection| connection.works()));
    assert_eq!(server.reload().unwrap(), [] as [std::path::PathBuf; 0]);
    assert_eq!((server.reloads(), server.reload_failures()), (2, 0));
}

#[test]
fn whatever_is_wrong_changes_nothing_and_is_named() {
    let pki = Pki::new();
    let pair = pki.pair("a", &["a.example"]);
    let (certificate, key) = (pair.certificate.clone(), pair.key.clone().unwrap());
    let keys = pki.folder.path("tickets");
    hioload_certs::TicketFile::extend(&keys, None, 2, 1_900_000_000).unwrap();
    let options = ServerTlsOptions::new(vec![pair, pki.pair("b", &["b.example"])])
        .tickets(Tickets::Shared { file: keys.clone() });
    let server = ServerTls::load(options).unwrap();
    let before = serial(&pki, &server);
    let (good_certificate, good_key) = (fs::read(&certificate).unwrap(), fs::read(&key).unwrap());
    let good_tickets = fs::read(&keys).unwrap();
    let other = Authority::new("other").issue(&["a.example"]);
    let cases: [(&std::path::Path, Option<&[u8]>, &str); 9] = [
        (
            &certificate,
            Some(other.certificate.as_bytes()),
            "a.key: the key is not that of the certificate",
        ),
        (
            &key,
            Some(other.key.as_bytes()),
            "a.key: the key is not that of the certificate",
        ),
        (
            &certificate,
            Some(b"garbage"),
            "a.pem: it has no -----BEGIN CERTIFICATE",
        ),
        (
            &certificate,
            Some(&good_certificate[..good_certificate.len() / 2]),
            "a.pem: it is not PEM",
        ),
        (
            &certificate,
            Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "a.pem: certificate 1: it is not an X.509",
        ),
        (&key, Some(b""), "a.key: it has no -----BEGIN PRIVATE KEY"),
        (&key, None, "a.key: there is no such file"),
        (&certificate, None, "a.pem: there is no such file"),
        (
            &keys,
            Some(b"hioload-ticket-keys 1\nperiod 60\nkey x\n"),
            "tickets: line 3: expected",
        ),
    ];
    for (n, (path, content, why)) in cases.into_iter().enumerate() {
        match content {
            Some(content) => fs::write(path, content).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        let said = server.reload().unwrap_err().to_string();
        assert!(said.contains(why) && !said.contains('\n'), "{said}");
        assert!(server.reload_if_changed().is_err());
        assert_eq!(serial(&pki, &server), before);
        assert_eq!(server.reload_failures(), 2 * (n as u64 + 1));
        fs::write(&certificate, &good_certificate).unwrap();
        fs::write(&key, &good_key).unwrap();
        fs::write(&keys, &good_tickets).unwrap();
        private(&key);
    }
    assert_eq!(server.reload_if_changed().unwrap(), None);
    assert_eq!(server.reload().unwrap().len(), 0);
}

#[test]
fn options_that_cannot_be_used_leave_those_before() {
    let pki = Pki::new();
    let server = pki.server();
    let before = serial(&pki, &server);
    let missing = PairFiles {
        certificate: pki.folder.path("missing.pem"),
        key: None,
        names: vec![],
    };
    let said = server
        .reconfigure(ServerTlsOptions::new(vec![missing]))
        .unwrap_err();
    assert_eq!(said.path(), Some(&*pki.folder.path("missing.pem")));
    assert!(server.reconfigure(ServerTlsOptions::new(vec![])).is_err());
    server.reload().unwrap();
    assert_eq!(serial(&pki, &server), before);
    let mut options = pki.options();
    options.certificates.push(pki.pair("b", &["b.example"]));
    server.reconfigure(options).unwrap();
    assert!(handshake(&server, &pki.client(), "b.example").is_ok());
}

#[test]
fn expiry_is_known_and_no_error() {
    let pki = Pki::new();
    let now = std::time::SystemTime::now();
    let day = Duration::from_secs(86_400);
    let expiring = |days: i32| {
        let key = rcgen::KeyPair::generate().unwrap();
        pki.authority.issue_with(&["a.example"], &key, |params| {
            params.not_before = (now - 400 * day).into();
            params.not_after = match u32::try_from(days) {
                Ok(days) => now + days * day + day / 2,
                Err(_) => now - days.unsigned_abs() * day + day / 2,
            }
            .into();
        })
    };
    let pair = pki.put("a", &expiring(6));
    let server = ServerTls::load(ServerTlsOptions::new(vec![pair])).unwrap();
    assert_eq!(server.days_left(), 6);
    let notices = server.notices();
    assert!(
        notices.len() == 1 && notices[0].ends_with("a.pem: the certificate expires in 6 days"),
        "{notices:?}"
    );
    assert_eq!(server.notices(), [] as [String; 0]);
    pki.put("a", &expiring(-3));
    server.reload().unwrap();
    assert_eq!(server.days_left(), -3);
    assert!(server.notices()[0].contains("has expired"));
    pki.put("a", &expiring(90));
    server.reload().unwrap();
    assert_eq!((server.days_left(), server.notices().len()), (90, 0));
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let pki = Pki::new();
    let pair = pki.pair("a", &["a.example"]);
    let key = pair.key.clone().unwrap();
    let warnings = |mode| {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        ServerTls::load(ServerTlsOptions::new(vec![pair.clone()]))
            .unwrap()
            .warnings()
    };
    assert_eq!(warnings(0o600), [] as [String; 0]);
    for mode in [0o640, 0o604, 0o660, 0o602] {
        let said = warnings(mode);
        assert!(
            said.len() == 1 && said[0].contains(&format!("{mode:04o}")),
            "{said:?}"
        );
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_refused_and_does_not_block() {
    let pki = Pki::new();
    let pair = pki.pair("a", &["a.example"]);
    let key = pair.key.clone().unwrap();
    fs::remove_file(&key).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(&key)
        .status()
        .unwrap();
    assert!(made.success());
    let said = ServerTls::load(ServerTlsOptions::new(vec![pair.clone()]))
        .unwrap_err()
        .to_string();
    assert!(said.contains("not a regular file"), "{said}");
    fs::remove_file(&key).unwrap();
    fs::write(&key, vec![b'x'; (4 << 20) + 1]).unwrap();
    let said = ServerTls::load(ServerTlsOptions::new(vec![pair]))
        .unwrap_err()
        .to_string();
    assert!(said.contains("more than 4 MiB"), "{said}");
}

/// Waits until the watcher has read the files `n` times; it has a minute.
fn wait_for(server: &ServerTls, n: u64) {
    for _ in 0..1200 {
        if server.reloads() >= n {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{} reloads instead of {n}", server.reloads());
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_read_when_they_are_renamed_or_a_link_on_the_way_changes() {
    use std::os::unix::fs::symlink;
    let pki = Pki::new();
    let put = |folder: &str| {
        fs::create_dir_all(pki.folder.path(folder)).unwrap();
        let issued = pki.authority.issue(&["a.example"]);
        pki.folder
            .write(&format!("{folder}/tls.crt"), &issued.certificate);
        pki.folder.write(&format!("{folder}/tls.key"), &issued.key);
    };
    // As Kubernetes mounts a secret: the files are links through a link that is replaced.
    put("..1");
    symlink("..1", pki.folder.path("..data")).unwrap();
    symlink("..data/tls.crt", pki.folder.path("tls.crt")).unwrap();
    symlink("..data/tls.key", pki.folder.path("tls.key")).unwrap();
    let folder = pki.folder.path("").display().to_string();
    let options = ServerTlsOptions::new(vec![folder.parse().unwrap()]);
    let server = Arc::new(ServerTls::load(options).unwrap());
    let watch = Watch::start(&server, true).unwrap();
    let first = serial(&pki, &server);

    put("..2");
    symlink("..2", pki.folder.path("..new")).unwrap();
    fs::rename(pki.folder.path("..new"), pki.folder.path("..data")).unwrap();
    wait_for(&server, 1);
    let second = serial(&pki, &server);
    assert_ne!(first, second);

    // A file is renamed over another one, in the folder that only the new link leads to. The pair matches when the second has arrived.
    let issued = pki.authority.issue(&["a.example"]);
    for (name, content) in [("tls.key", &issued.key), ("tls.crt", &issued.certificate)] {
        pki.folder.write("new", content);
        fs::rename(pki.folder.path("new"), pki.folder.path("..2").join(name)).unwrap();
    }
    wait_for(&server, 2);
    assert_ne!(serial(&pki, &server), second);

    watch.reload();
    wait_for(&server, 3);
}
