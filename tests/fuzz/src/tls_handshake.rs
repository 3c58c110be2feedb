//! The first bytes on a TLS port, and what a server answers to a client.
//!
//! Input: a byte whose lowest bit chooses the side under test, the seed of the splits (4 bytes), the bytes that arrive.
//!
//! A server's answer and the end of the connection do not depend on the splits. No driver is lent a byte.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hioload_lcore::Time;
use hioload_tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use hioload_tls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};
use hioload_tls::{Configs, Handshake, Tls, TlsOptions, prepare_client};
use hioload_transport::fake::{Fake, FakeEnd, FakeOptions};
use hioload_transport::layer::Layered;
use hioload_transport::{
    Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, Taken, Transport,
};

use super::input::{Input, cut};

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let is_client = input.byte() & 1 == 1;
    let seed = input.word();
    let bytes = input.rest();
    if is_client {
        client(bytes);
        return;
    }
    let whole = serve(&[bytes]);
    let split = serve(&cut(bytes, seed));
    assert_eq!(whole, split, "the split changes the answer");
}

fn configs() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static CONFIGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])
            .expect("a certificate");
        let certificate: CertificateDer<'static> = pair.cert.der().clone();
        let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a pair");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a root");
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(prepare_client(&client)))
    })
}

struct Server;

impl Configs for Server {
    fn server(&mut self) -> Option<Arc<ServerConfig>> {
        Some(Arc::clone(&configs().0))
    }
    fn client(&mut self, _: &Endpoint) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        None
    }
}

/// A driver that expects nothing.
#[derive(Default)]
struct Nothing {
    closed: Option<Closed>,
}

impl Driver for Nothing {
    fn on_accept<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Peer) -> bool {
        true
    }
    fn on_connect<C: Connections>(&mut self, _: &mut C, _: ConnId, _: std::io::Result<()>) {
        panic!("nothing was connected");
    }
    fn on_data<C: Connections>(&mut self, _: &mut C, _: ConnId, data: &mut [u8]) -> Taken {
        panic!("{} bytes without a handshake", data.len());
    }
    fn on_end<C: Connections>(&mut self, _: &mut C, _: ConnId) {
        panic!("an end without a close_notify");
    }
    fn on_writable<C: Connections>(&mut self, _: &mut C, _: ConnId) {}
    fn on_closed<C: Connections>(&mut self, _: &mut C, _: ConnId, why: Closed) {
        assert!(self.closed.replace(why).is_none());
    }
}

/// What a server does: what begins its answer and what ends it, and how the connection ended. A ServerHello differs each time.
type Answer = (Option<u8>, Option<Vec<u8>>, Option<Closed>);

fn serve(pieces: &[&[u8]]) -> Answer {
    let options = FakeOptions::default().max_connections(1).tx_chunks(16);
    let fake = Fake::new(&options).expect("memory");
    let tls = Tls::new(TlsOptions::default(), Box::new(Server));
    let mut io = Layered::new(fake, tls);
    let mut driver = Nothing::default();
    let id = io.below().accept(Peer::Unix);
    let mut now = Time::from_millis(1);
    let mut turn = |io: &mut Layered<Fake, Tls>, driver: &mut Nothing| {
        now += Duration::from_millis(1);
        let budget = Budget {
            events: 4,
            accepts: 1,
        };
        io.wait(Some(Duration::ZERO)).expect("a fake never fails");
        io.dispatch(driver, budget, now);
        io.flush(driver);
    };
    turn(&mut io, &mut driver);
    for piece in pieces {
        io.below().deliver(id, piece);
        turn(&mut io, &mut driver);
    }
    turn(&mut io, &mut driver);
    io.below().end(id);
    for _ in 0..3 {
        turn(&mut io, &mut driver);
    }
    let end = io.below().closed(id);
    assert!(end.is_some(), "the peer has ended");
    assert!(end == Some(FakeEnd::Reset) || driver.closed.is_some());
    let stats = io.layer().stats();
    assert_eq!((stats.handshakes, stats.handshakes_open), (0, 0));
    let sent = io.below().sent(id);
    let alert = sent.len().checked_sub(7).map(|at| sent[at..].to_vec());
    let alert = alert.filter(|alert| matches!(alert[..], [21, 3, _, 0, 2, ..]));
    (sent.first().copied(), alert, driver.closed)
}

/// Bytes of a server, to a client. They cannot complete its handshake.
fn client(bytes: &[u8]) {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Handshake::client(Arc::clone(&configs().1), name).expect("a client");
    let mut out = Vec::new();
    client.begin(&mut out).expect("a first record");
    let mut rest = bytes;
    while let [_, _, _, high, low, ..] = *rest {
        let len = 5 + usize::from(u16::from_be_bytes([high, low]));
        let Some((record, behind)) = rest.split_at_checked(len) else {
            return;
        };
        rest = behind;
        match client.receive(record, &mut out) {
            Ok(step) => assert!(matches!(step, hioload_tls::Step::More)),
            Err(_) => return,
        }
    }
}
