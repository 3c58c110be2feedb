//! User memory of an idle connection: at most 256 bytes on the server's side, the application's state included.
//!
//! The allocator counts two parts, both exactly. The arrays with one entry for each possible connection (slots, sessions,
//! decoders, states, timers) are reserved at the start and touched as connections open. The test measures their entries as the
//! bytes that one more possible connection adds to the reservation. The other heap memory of a connection is the difference
//! between the engine with many idle connections and with none. The kernel's memory of a socket is not counted.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hioload_engine::{Accept, Config, Context, Handler, Lcore, LcoreContext, Response};
use hioload_lcore::{Clock, Time};
use hioload_testkit::counting::{Counting, held};
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{Endpoint, Peer, Transport};
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{Message, OpCode, encode};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes of an idle connection.
const BYTES: f64 = 256.0;
/// Both ends of these connections are in this process, which usually may have 1024 descriptors.
const CONNECTIONS: usize = 400;

/// Echoes. The state of a connection is a number.
struct App;

impl Handler for App {
    type Conn = u64;
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<u64>, Response> {
        Ok(Accept::new(0))
    }

    fn on_message(
        &mut self,
        seen: &mut u64,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        *seen += 1;
        cx.send(message.kind(), message.as_bytes()).unwrap();
    }
}

type Server = Lcore<Sockets, App>;

fn server(max_connections: usize, now: Time) -> (Server, SocketAddr) {
    let listener =
        BoundListener::bind(&Endpoint::Tcp(([127, 0, 0, 1], 0).into()), false, 16).unwrap();
    let Endpoint::Tcp(address) = listener.local().unwrap() else {
        panic!("a TCP address")
    };
    let options = SocketOptions::default().max_connections(max_connections);
    let io = Sockets::new(&options, vec![listener]).unwrap();
    (Lcore::alone(io, App, Config::default(), now), address)
}

/// Bytes of array entries for each possible connection.
fn entries(clock: &mut Clock) -> f64 {
    const MORE: usize = 100_000;
    let mut reserved = |max| {
        let before = held();
        let server = server(max, clock.tick());
        let bytes = held() - before;
        drop(server);
        bytes
    };
    let (few, many) = (reserved(1000), reserved(1000 + MORE));
    (many - few) as f64 / MORE as f64
}

/// Turns until `done`. Returns the change of the engine's heap memory in these turns, in bytes.
fn turns(server: &mut Server, clock: &mut Clock, mut done: impl FnMut(&Server) -> bool) -> isize {
    let mut change = 0;
    while !done(server) {
        let before = held();
        server
            .transport()
            .wait(Some(Duration::from_millis(5)))
            .unwrap();
        server.turn(clock.tick());
        change += held() - before;
    }
    change
}

/// Opens a connection. Returns the change of the engine's heap memory, in bytes.
fn open(
    server: &mut Server,
    clock: &mut Clock,
    to: SocketAddr,
    clients: &mut Vec<TcpStream>,
) -> isize {
    let mut client = TcpStream::connect(to).unwrap();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let open = clients.len() + 1;
    let change = turns(server, clock, |server| server.connections() == open);
    let mut head = [0; 1024];
    assert!(client.read(&mut head).unwrap() > 0);
    clients.push(client);
    change
}

/// A message of 16 KiB in two fragments and two reads, and its echo. The engine must free its buffers afterwards.
fn talk(server: &mut Server, clock: &mut Clock, client: &mut TcpStream) -> isize {
    let mut wire = Vec::new();
    encode::fragment_into(
        &mut wire,
        false,
        false,
        OpCode::Binary,
        &[1; 6000],
        Some([1, 2, 3, 4]),
    );
    encode::fragment_into(
        &mut wire,
        true,
        false,
        OpCode::Continuation,
        &[1; 10_384],
        Some([1, 2, 3, 4]),
    );
    let mut change = 0;
    for (n, piece) in wire.chunks(10_000).enumerate() {
        let seen = server.totals();
        client.write_all(piece).unwrap();
        let messages = seen.messages_out + n as u64;
        change += turns(server, clock, |server| {
            let totals = server.totals();
            totals.transport.bytes_in > seen.transport.bytes_in && totals.messages_out == messages
        });
    }
    let mut echo = vec![0; 4 + (16 << 10)];
    client.read_exact(&mut echo).unwrap();
    change
}

#[test]
fn an_idle_connection_costs_at_most_256_bytes() {
    let mut clock = Clock::new();
    let entries = entries(&mut clock);
    assert!(
        entries >= size_of::<hioload_ws_proto::Decoder>() as f64,
        "the count includes the arrays: {entries}"
    );

    let (mut server, address) = server(10_000, clock.tick());
    let mut clients = Vec::new();
    // The first connections allocate shared memory: tables and spare buffers.
    for _ in 0..10 {
        open(&mut server, &mut clock, address, &mut clients);
        talk(&mut server, &mut clock, clients.last_mut().unwrap());
    }
    let first = clients.len();
    let (mut opened, mut talked) = (0, 0);
    for _ in 0..CONNECTIONS {
        opened += open(&mut server, &mut clock, address, &mut clients);
    }
    for client in &mut clients[first..] {
        talked += talk(&mut server, &mut clock, client);
    }
    assert_eq!(server.connections(), first + CONNECTIONS);
    let fresh = opened as f64 / CONNECTIONS as f64;
    let used = (opened + talked) as f64 / CONNECTIONS as f64;
    // The count includes memory that the engine holds: here an incomplete message.
    let seen = server.totals().transport.bytes_in;
    clients[0]
        .write_all(&[0x82, 0xfe, 0x40, 0, 1, 2, 3, 4, 5])
        .unwrap();
    let unfinished = turns(&mut server, &mut clock, |server| {
        server.totals().transport.bytes_in > seen
    });
    clients[1]
        .write_all(&[0x82, 0xfe, 0x40, 0, 1, 2, 3, 4, 5])
        .unwrap();
    let both = turns(&mut server, &mut clock, |server| {
        server.totals().transport.bytes_in > seen + 9
    });
    assert!(
        unfinished + both > 200,
        "{unfinished} and {both} bytes for unfinished messages"
    );

    println!(
        "{entries} bytes of array entries; {fresh} on the heap when fresh, {used} after a message"
    );
    assert!(
        entries + fresh <= BYTES,
        "{entries} + {fresh} bytes before the first message"
    );
    assert!(
        entries + used <= BYTES,
        "{entries} + {used} bytes after a message"
    );
}
