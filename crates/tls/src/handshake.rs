//! One handshake, by rustls: records in, records out, and a session at the end.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{
    ClientConfig, CommonState, ConnectionTrafficSecrets, Error, ExtractedSecrets, InvalidMessage,
    ProtocolVersion, ServerConfig,
};

use crate::configs::{Secrets, take_secrets};
use crate::record::{Alert, Half, Role, Session, Suite, Version, content};

/// Bytes that a server's handshake may receive before its first answer: a ClientHello with a ticket of 12 KiB and a key share of
/// X25519MLKEM768.
const MAX_HELLO: usize = 16 << 10;
/// Bytes that a handshake may receive in all: certificate chains have a few KiB.
const MAX_BYTES: usize = 64 << 10;
/// Bytes that the buffer of an unfinished message keeps when it is empty.
const KEEP: usize = 1 << 10;
/// Records that it may receive. The messages of a handshake need about 10.
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
    /// Whether something was sent.
    answered: bool,
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
    /// The certificates of a client whose session was resumed: those of the ticket, which rustls does not verify again.
    pub chain: Option<Vec<CertificateDer<'static>>>,
    /// Whether more followed the last message in its record. The connection must end with unexpected_message (RFC 8446 §5.1).
    pub excess: bool,
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
            answered: false,
        }
    }

    /// Bytes that it holds of what it received.
    #[must_use]
    pub fn held(&self) -> usize {
        self.unfinished.capacity()
    }

    /// Whether no record is encrypted yet, so that an alert can be sent in the clear: a server has sent nothing, and a client has
    /// received nothing.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        match *self.conn {
            Conn::Server(_) => !self.answered,
            Conn::Client(_) => self.records == 0,
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
        let clear = self.is_clear();
        let most = match *self.conn {
            Conn::Server(_) if clear => MAX_HELLO,
            _ => MAX_BYTES,
        };
        self.bytes += record.len();
        self.records += 1;
        if self.bytes > most || self.records > MAX_RECORDS {
            if clear {
                out.extend_from_slice(&alert_in_clear(Alert::DecodeError));
            }
            return Err(too_long());
        }
        self.unfinished.extend_from_slice(record);
        let step = self.drive(out);
        self.answered |= !out.is_empty();
        if self.unfinished.is_empty() && self.unfinished.capacity() > KEEP {
            self.unfinished = Vec::new();
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
    /// Of rustls.
    pub fn finish(self) -> Result<Established, Error> {
        let excess = !self.unfinished.is_empty();
        let Self { conn, secrets, .. } = self;
        match *conn {
            Conn::Server(conn) => {
                let about = About::of(&conn);
                let chain = match conn.peer_certificates() {
                    Some(chain) if about.resumed && !chain.is_empty() => Some(chain.to_vec()),
                    _ => None,
                };
                let (keys, _) = conn.dangerous_into_kernel_connection()?;
                Ok(Established {
                    chain,
                    excess,
                    ..about.establish(Role::Server, keys, secrets.as_ref())?
                })
            }
            Conn::Client(conn) => {
                let about = About::of(&conn);
                let (keys, kernel) = conn.dangerous_into_kernel_connection()?;
                Ok(Established {
                    excess,
                    tickets: (about.version == Version::Tls13).then_some(kernel),
                    certificate: None,
                    ..about.establish(Role::Client, keys, secrets.as_ref())?
                })
            }
        }
    }
}

/// A fatal alert that is not encrypted.
pub(crate) fn alert_in_clear(alert: Alert) -> [u8; 7] {
    const FATAL: u8 = 2;
    [content::ALERT, 3, 3, 0, 2, FATAL, alert as u8]
}

/// The error of a handshake with too many bytes or records.
pub(crate) fn too_long() -> Error {
    Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge)
}

/// What one state of rustls means.
enum Answer {
    Again,
    Step(Step),
}

/// Processes what rustls has until it needs another record. After an error, `out` ends with the alert.
fn drive<C: std::ops::Deref<Target: std::ops::Deref<Target = CommonState>>>(
    conn: &mut C,
    unfinished: &mut Vec<u8>,
    out: &mut Vec<u8>,
    mut process: impl FnMut(&mut C, &mut [u8], &mut Vec<u8>) -> (usize, Result<Answer, Error>),
) -> Result<Step, Error> {
    for _ in 0..MAX_STEPS {
        let (discard, answer) = process(conn, unfinished, out);
        unfinished.drain(..discard.min(unfinished.len()));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // What rustls still wants to send ends with the alert. It must not see the received bytes again: it would fail again.
                while conn.wants_write() && matches!(process(conn, &mut [], out), (_, Ok(_))) {}
                return Err(error);
            }
        };
        match answer {
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
            chain: None,
            excess: false,
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
            // rustls has derived the key and the IV from the secret just now.
            Version::Tls13 => Half::from_derived(suite, secret, (key.as_ref(), iv.as_ref()), seq),
            Version::Tls12 => Half::from_key(suite, key.as_ref(), iv.as_ref(), seq),
        };
        half.map(|half| (suite, half))
            .ok_or_else(|| Error::General("secrets of a wrong length".into()))
    }
}
