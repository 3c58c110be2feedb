//! A handshake in memory.

use std::sync::Arc;

use hioload_certs::{ClientTls, ServerTls, server_name};
use rustls::pki_types::CertificateDer;
use rustls::{
    ClientConnection, Error, HandshakeKind, NamedGroup, ProtocolVersion, ServerConnection,
    SupportedCipherSuite,
};

/// What a handshake agreed on.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) version: ProtocolVersion,
    pub(crate) suite: SupportedCipherSuite,
    pub(crate) group: Option<NamedGroup>,
    pub(crate) resumed: bool,
    /// What the client saw of the server.
    pub(crate) server: CertificateDer<'static>,
    /// What the server saw of the client.
    pub(crate) client: Option<CertificateDer<'static>>,
    pub(crate) protocol: Option<Vec<u8>>,
    ends: (ClientConnection, ServerConnection),
}

impl Agreed {
    /// Whether a message of the client still arrives.
    pub(crate) fn works(&mut self) -> bool {
        use std::io::{Read, Write};
        let (client, server) = &mut self.ends;
        client.writer().write_all(b"hello").unwrap();
        if exchange(client, server).is_err() {
            return false;
        }
        let mut bytes = [0; 5];
        server.reader().read_exact(&mut bytes).is_ok() && &bytes == b"hello"
    }
}

/// Which end failed, and why; the other end got an alert.
#[derive(Debug, PartialEq)]
pub(crate) enum Failed {
    Client(Error),
    Server(Error),
}

/// A handshake of a client that asks for `host`.
pub(crate) fn handshake(
    server: &ServerTls,
    client: &ClientTls,
    host: &str,
) -> Result<Agreed, Failed> {
    handshake_with(server, client, host, |_| {})
}

pub(crate) fn handshake_with(
    server: &ServerTls,
    client: &ClientTls,
    host: &str,
    set: impl FnOnce(&mut rustls::ClientConfig),
) -> Result<Agreed, Failed> {
    let mut config = rustls::ClientConfig::clone(&client.config());
    set(&mut config);
    let mut server = ServerConnection::new(server.config()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), server_name(host).unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        exchange(&mut client, &mut server)?;
    }
    // Tickets.
    exchange(&mut client, &mut server)?;
    let first =
        |chain: Option<&[CertificateDer<'static>]>| chain.and_then(|chain| chain.first()).cloned();
    Ok(Agreed {
        version: client.protocol_version().unwrap(),
        suite: client.negotiated_cipher_suite().unwrap(),
        group: client
            .negotiated_key_exchange_group()
            .map(|group| group.name()),
        resumed: client.handshake_kind() == Some(HandshakeKind::Resumed),
        server: first(client.peer_certificates()).unwrap(),
        client: first(server.peer_certificates()),
        protocol: client.alpn_protocol().map(<[u8]>::to_vec),
        ends: (client, server),
    })
}

/// Moves what each end has to send to the other.
fn exchange(client: &mut ClientConnection, server: &mut ServerConnection) -> Result<(), Failed> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        server.read_tls(&mut rest).unwrap();
        if let Err(why) = server.process_new_packets() {
            // The alert reaches the client, which sees it as its own error.
            let mut alert = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut alert).unwrap();
            }
            let _ = client.read_tls(&mut &alert[..]);
            let _ = client.process_new_packets();
            return Err(Failed::Server(why));
        }
    }
    let mut bytes = Vec::new();
    while server.wants_write() {
        server.write_tls(&mut bytes).unwrap();
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        client.read_tls(&mut rest).unwrap();
        client.process_new_packets().map_err(Failed::Client)?;
    }
    Ok(())
}
