//! Secrets appear nowhere, except where an operator wants them.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hioload_certs::{ClientTls, ServerTls, TicketFile, Tickets};
use tracing_subscriber::fmt::MakeWriter;

use crate::pki::Pki;
use crate::wire::handshake;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The body of the PEM of a key, and the bytes of each line as Rust prints them.
fn forms(pem: &str) -> Vec<String> {
    let lines = pem
        .lines()
        .filter(|line| line.len() >= 24 && !line.contains('-'));
    let forms = lines.flat_map(|line| {
        let text = &line[..24];
        let bytes = STANDARD.decode(text).unwrap();
        [
            text.to_owned(),
            format!("{bytes:?}").replace(['[', ']'], ""),
            format!("{bytes:02x?}").replace(['[', ']'], ""),
        ]
    });
    forms.collect()
}

#[test]
fn no_log_line_error_or_debug_text_has_a_secret() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .finish();
    let pki = Pki::new();
    let tickets = pki.folder.path("tickets");
    let mut shown = String::new();
    tracing::subscriber::with_default(subscriber, || {
        let file = TicketFile::extend(&tickets, None, 2, 1_900_000_000).unwrap();
        let options = pki.options().tickets(Tickets::Shared {
            file: tickets.clone(),
        });
        let server = ServerTls::load(options.clone()).unwrap();
        let client = ClientTls::load(
            &pki.client_options()
                .certificate(Some(options.certificates[0].clone()))
                .sessions(2),
        )
        .unwrap();
        handshake(&server, &client, "a.example").unwrap();
        shown += &format!(
            "{server:?} {client:?} {options:?} {file:?} {:?} {:?}",
            server.config(),
            server.certificates()
        );
        // A key and a file of keys that are damaged.
        let key = pki.folder.path("a.key");
        let damaged = fs::read_to_string(&key)
            .unwrap()
            .replace("-----END", "!!-----END");
        fs::write(&key, damaged).unwrap();
        shown += &format!("{:?}", server.reload().unwrap_err());
        let damaged = fs::read_to_string(&tickets)
            .unwrap()
            .replace("key ", "kye ");
        fs::write(&tickets, damaged).unwrap();
        shown += &format!(
            "{:?}",
            TicketFile::extend(&tickets, None, 2, 1).unwrap_err()
        );
    });
    shown += &String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let mut secrets = forms(&fs::read_to_string(pki.folder.path("a.key")).unwrap());
    for line in fs::read_to_string(&tickets)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("kye"))
    {
        secrets.push(line.split(' ').nth(3).unwrap()[..16].to_owned());
    }
    assert!(secrets.len() >= 6);
    for secret in secrets {
        assert!(!shown.contains(&secret), "{secret} is in {shown}");
    }
}

#[test]
fn secrets_of_connections_are_written_only_where_it_is_wanted_and_with_a_warning() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let pki = Pki::new();
    let path = pki.folder.path("keys.log");
    tracing::subscriber::with_default(subscriber, || {
        let server = ServerTls::load(pki.options()).unwrap();
        handshake(&server, &pki.client(), "a.example").unwrap();
        assert!(!path.exists());
        let server = ServerTls::load(pki.options().key_log(Some(path.clone()))).unwrap();
        server.reload().unwrap();
        handshake(&server, &pki.client(), "a.example").unwrap();
    });
    let lines = fs::read_to_string(&path).unwrap();
    for label in [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    ] {
        let line = lines
            .lines()
            .find(|line| line.starts_with(label))
            .expect(label);
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!((words.len(), words[1].len()), (3, 64), "{line}");
        assert!(words[2].bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        said.matches("the secrets of all connections").count(),
        1,
        "{said}"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
}
