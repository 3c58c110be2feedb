//! What a handler learns of a client: its certificate, and its address if a proxy passes TLS on.
#![allow(missing_docs)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use hioload_ws::tls::rustls::{ClientConnection, HandshakeKind, StreamOwned};
use hioload_ws::tls::{
    ClientAuth, ClientAuthOptions, ClientTls, ClientTlsOptions, DevCertificate, Identity,
    ServerTls, ServerTlsOptions, TlsOptions, Trust, secure, server_name,
};
use hioload_ws::{
    Config, Context, Endpoint, Handler, LcoreContext, Message, Peer, Proxies, ProxyProtocol,
    Request, Response, Server, ServerOptions,
};

/// Answers a request with the subject of the client's certificate.
struct Subject;

impl Handler for Subject {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}

    fn on_http(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        request: &Request<'_>,
    ) -> Response {
        let Some(der) = request.client_certificate else {
            return Response::text(403, "no certificate\n");
        };
        match Identity::of(&der.into()) {
            Ok(identity) => Response::text(200, identity.dns_names.join(" ")),
            Err(_) => Response::text(500, "not a certificate\n"),
        }
    }
}

/// The answer of the server, and whether the session was resumed.
fn ask(server: &Endpoint, client: &ClientTls) -> (String, bool) {
    let Endpoint::Tcp(address) = server else {
        panic!("{server} is not of TCP");
    };
    let name = server_name("localhost").expect("a name");
    let connection = ClientConnection::new(client.config(), name).expect("a configuration");
    let socket = TcpStream::connect(address).expect("the server listens");
    let mut stream = StreamOwned::new(connection, socket);
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("a whole answer, with a close_notify");
    let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
    (answer, resumed)
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_handler_receives_the_certificate_of_a_client_in_a_full_and_in_a_resumed_handshake() {
    let name = format!("hioload-client-certificate-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let names = ["client.example".to_owned()];
    let made = DevCertificate::create(&folder.0, &names, SystemTime::now()).expect("files");
    // The same authority signs for both sides.
    let rule = ClientAuthOptions {
        mode: ClientAuth::Optional,
        ca: Some(made.ca.clone()),
        crl: None,
    };
    let options = ServerTlsOptions::new(vec![made.pair()]).client_auth(rule);
    let tls = Arc::new(ServerTls::load(options).expect("the files of a server"));
    let options = ServerOptions::new()
        .listen("127.0.0.1:0")
        .expect("an endpoint");
    let server = Server::bind(options.lcores(1)).expect("a port");
    let endpoint = server.endpoints()[0].clone();
    let _running = secure(server, TlsOptions::default(), &tls)
        .start(|_| Subject)
        .expect("threads");

    let options = ClientTlsOptions::new()
        .trust(Trust::File(made.ca.clone()))
        .sessions(4);
    let anonymous = ClientTls::load(&options).expect("the files of a client");
    let (answer, _) = ask(&endpoint, &anonymous);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

    let known = ClientTls::load(&options.certificate(Some(made.pair()))).expect("the files");
    for expected in [false, true] {
        let (answer, resumed) = ask(&endpoint, &known);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("client.example"), "{answer}");
        assert_eq!(resumed, expected);
    }
}

/// Answers a request with the address of the client.
struct Address;

impl Handler for Address {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}

    fn on_http(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        peer: Peer,
        _: &Request<'_>,
    ) -> Response {
        Response::text(200, peer.to_string())
    }
}

#[test]
fn a_proxy_that_passes_tls_on_names_the_client_before_the_handshake() {
    let name = format!("hioload-proxied-tls-{}", std::process::id());
    let folder = Folder(std::env::temp_dir().join(name));
    let made = DevCertificate::create(&folder.0, &[], SystemTime::now()).expect("files");
    let tls = ServerTls::load(ServerTlsOptions::new(vec![made.pair()])).expect("files");
    let mut config = Config::default();
    let loopback = ["127.0.0.0/8".parse().expect("a network")];
    config.tunables.proxies = Proxies::new()
        .trusted(loopback.into_iter().collect())
        .protocol(ProxyProtocol::Require);
    let options = ServerOptions::new()
        .listen("127.0.0.1:0")
        .expect("an endpoint");
    let server = Server::bind(options.lcores(1).config(config)).expect("a port");
    let Endpoint::Tcp(address) = server.endpoints()[0].clone() else {
        panic!("it is not of TCP");
    };
    let _running = secure(server, TlsOptions::default(), &Arc::new(tls))
        .start(|_| Address)
        .expect("threads");
    let options = ClientTlsOptions::new().trust(Trust::File(made.ca.clone()));
    let client = ClientTls::load(&options).expect("the files of a client");
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 1234 443\r\n";
    // In one piece with the handshake, and in pieces.
    for cut in [0, 1, 20, header.len()] {
        let mut socket = TcpStream::connect(address).expect("the server listens");
        socket.set_nodelay(true).expect("TCP");
        socket.write_all(&header[..cut]).expect("the server reads");
        let name = server_name("localhost").expect("a name");
        let mut connection = ClientConnection::new(client.config(), name).expect("a client");
        let mut first = header[cut..].to_vec();
        connection.write_tls(&mut first).expect("memory");
        socket.write_all(&first).expect("the server reads");
        let mut stream = StreamOwned::new(connection, socket);
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("192.0.2.7:1234"), "{answer}");
    }
    // Without a header the handshake is no handshake.
    let mut socket = TcpStream::connect(address).expect("the server listens");
    let name = server_name("localhost").expect("a name");
    let mut connection = ClientConnection::new(client.config(), name).expect("a client");
    connection.write_tls(&mut socket).expect("the server reads");
    let mut answer = Vec::new();
    assert!(matches!(socket.read_to_end(&mut answer), Err(_) | Ok(0)));
}
