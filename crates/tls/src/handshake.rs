//! One handshake, by rustls: records in, records out, and a session at the end.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ClientConfig, CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, ProtocolVersion,
    ServerConfig,
};

use crate::configs::{Secrets, take_secrets};
use crate::record::{Half, Role, Session, Suite, Version};

/// Bytes that a handshake may receive in all: certificate chains of clients have a few KiB.
const MAX_BYTES: usize = 64 << 10;
/// Records that it may receive. A peer that cuts its messages into more costs more work than a handshake is worth.
const MAX_RECORDS: usize = 128;
/// States that rustls may report for one record: each message that it sends is one.
const MAX_STEPS: usize = 64;

enum Conn {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// A handshake in progress.
pub struct Handshake {
    conn: Box<Conn>,
    secrets: Option<Secrets>,
    /// Received bytes that rustls has not finished with: a message that spans records.
    unfinished: Vec<u8>,
    bytes: usize,
    records: usize,
}

impl std::fmt::Debug for Handshake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handshake")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

/// What a handshake needs.
#[derive(Debug)]
pub enum Step {
    /// Another record of the peer.
    More,
    /// Nothing: call [`Handshake::finish`].
    Done,
}

/// What a handshake agreed on.
pub struct Established {
    /// The record layer.
    pub session: Session,
    /// Whether a session was resumed.
    pub resumed: bool,
    /// The peer's certificate, if it was asked for one and sent it. It was verified.
    pub certificate: Option<CertificateDer<'static>>,
    /// What stores the tickets of a client.
    pub tickets: Option<KernelConnection<ClientConnectionData>>,
}

impl std::fmt::Debug for Established {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Established")
            .field("session", &self.session)
            .field("resumed", &self.resumed)
            .finish_non_exhaustive()
    }
}

impl Handshake {
    /// A server's handshake, which begins with the client's first record. The configuration is a
    /// [prepared](crate::prepare_server) one.
    ///
    /// # Errors
    /// Of rustls, for a configuration that cannot be used.
    pub fn server(config: Arc<ServerConfig>) -> Result<Self, Error> {
        UnbufferedServerConnection::new(config).map(|conn| Self::new(Conn::Server(conn)))
    }

    /// A client's handshake. Call [`begin`](Self::begin) for its first record. The configuration is a
    /// [prepared](crate::prepare_client) one.
    ///
    /// # Errors
    /// Of rustls, for a configuration that cannot be used.
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, Error> {
        UnbufferedClientConnection::new(config, name).map(|conn| Self::new(Conn::Client(conn)))
    }

    fn new(conn: Conn) -> Self {
        Self {
            conn: Box::new(conn),
            secrets: None,
            unfinished: Vec::new(),
            bytes: 0,
            records: 0,
        }
    }

    /// Appends what a client sends first.
    ///
    /// # Errors
    /// Of rustls.
    pub fn begin(&mut self, out: &mut Vec<u8>) -> Result<Step, Error> {
        self.drive(out)
    }

    /// Processes one whole record of the peer, and appends the answer. After an error, `out` ends with the alert to send.
    ///
    /// # Errors
    /// Of rustls; or for a handshake of too many bytes or records.
    pub fn receive(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<Step, Error> {
        self.bytes += record.len();
        self.records += 1;
        if self.bytes > MAX_BYTES || self.records > MAX_RECORDS {
            return Err(Error::General("the handshake is too long".into()));
        }
        self.unfinished.extend_from_slice(record);
        let step = self.drive(out);
        if step.is_err() {
            // The alert is the next thing that rustls wants to send. The error comes again after it. The bytes that rustls has not
            // discarded have to stay: it holds offsets into them.
            let _ = self.drive(out);
        }
        step
    }

    fn drive(&mut self, out: &mut Vec<u8>) -> Result<Step, Error> {
        let unfinished = &mut self.unfinished;
        let step = match &mut *self.conn {
            Conn::Server(conn) => drive(conn, unfinished, out, |conn, bytes, out| {
                answer::<ServerConnectionData>(conn.process_tls_records(bytes), out)
            }),
            Conn::Client(conn) => drive(conn, unfinished, out, |conn, bytes, out| {
                answer::<ClientConnectionData>(conn.process_tls_records(bytes), out)
            }),
        };
        if let Some(secrets) = take_secrets() {
            self.secrets = Some(secrets);
        }
        step
    }

    /// Ends a handshake that is [done](Step::Done).
    ///
    /// # Errors
    /// Of rustls; or if the peer has sent more handshake messages than it should have.
    pub fn finish(self) -> Result<Established, Error> {
        if !self.unfinished.is_empty() {
            return Err(Error::General("bytes after the last message".into()));
        }
        let Self { conn, secrets, .. } = self;
        match *conn {
            Conn::Server(conn) => {
                let about = About::of(&conn);
                let (keys, _) = conn.dangerous_into_kernel_connection()?;
                about.establish(Role::Server, keys, secrets.as_ref())
            }
            Conn::Client(conn) => {
                let about = About::of(&conn);
                let (keys, kernel) = conn.dangerous_into_kernel_connection()?;
                Ok(Established {
                    tickets: (about.version == Version::Tls13).then_some(kernel),
                    certificate: None,
                    ..about.establish(Role::Client, keys, secrets.as_ref())?
                })
            }
        }
    }
}

/// What one state of rustls means.
enum Answer {
    Again,
    Step(Step),
}

/// Processes what rustls has until it needs another record.
fn drive<C: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>>>(
    conn: &mut C,
    unfinished: &mut Vec<u8>,
    out: &mut Vec<u8>,
    mut process: impl FnMut(&mut C, &mut [u8], &mut Vec<u8>) -> (usize, Result<Answer, Error>),
) -> Result<Step, Error> {
    for _ in 0..MAX_STEPS {
        let (discard, answer) = process(conn, unfinished, out);
        unfinished.drain(..discard.min(unfinished.len()));
        match answer? {
            Answer::Again => {}
            Answer::Step(Step::Done) if conn.is_handshaking() => return Ok(Step::More),
            Answer::Step(step) => return Ok(step),
        }
    }
    Err(Error::General("the handshake does not proceed".into()))
}

fn answer<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    out: &mut Vec<u8>,
) -> (usize, Result<Answer, Error>) {
    let UnbufferedStatus { discard, state } = status;
    let answer = state.and_then(|state| match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let at = out.len();
            if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
                out.resize(at + size.required_size, 0);
                data.encode(&mut out[at..])
                    .map_err(|error| Error::General(error.to_string()))?;
            }
            Ok(Answer::Again)
        }
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(Answer::Again)
        }
        ConnectionState::BlockedHandshake => Ok(Answer::Step(Step::More)),
        ConnectionState::WriteTraffic(_) => Ok(Answer::Step(Step::Done)),
        // Application data before the end of the handshake, or its end by a close_notify.
        _ => Err(Error::HandshakeNotComplete),
    });
    (discard, answer)
}

/// What is known of a connection besides its keys.
struct About {
    version: Version,
    resumed: bool,
    certificate: Option<CertificateDer<'static>>,
}

impl About {
    fn of(conn: &CommonState) -> Self {
        Self {
            version: match conn.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
                _ => Version::Tls12,
            },
            resumed: conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed),
            certificate: conn
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| certificate.clone().into_owned()),
        }
    }

    fn establish(
        self,
        role: Role,
        keys: ExtractedSecrets,
        secrets: Option<&Secrets>,
    ) -> Result<Established, Error> {
        let (tx_secret, rx_secret) = match (secrets, role) {
            (Some(secrets), Role::Server) => (&secrets.server[..], &secrets.client[..]),
            (Some(secrets), Role::Client) => (&secrets.client[..], &secrets.server[..]),
            (None, _) => (&[][..], &[][..]),
        };
        let (suite, tx) = self.half(keys.tx, tx_secret)?;
        let (_, rx) = self.half(keys.rx, rx_secret)?;
        Ok(Established {
            session: Session::new(self.version, suite, role, rx, tx),
            resumed: self.resumed,
            certificate: self.certificate,
            tickets: None,
        })
    }

    fn half(
        &self,
        (seq, keys): (u64, ConnectionTrafficSecrets),
        secret: &[u8],
    ) -> Result<(Suite, Half), Error> {
        let (suite, key, iv) = match &keys {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (Suite::ChaCha20Poly1305, key, iv)
            }
            _ => return Err(Error::General("a suite that is not known here".into())),
        };
        let half = match self.version {
            Version::Tls13 => Half::from_secret(suite, secret, seq),
            Version::Tls12 => Half::from_key(suite, key.as_ref(), iv.as_ref(), seq),
        };
        half.map(|half| (suite, half))
            .ok_or_else(|| Error::General("secrets of a wrong length".into()))
    }
}
