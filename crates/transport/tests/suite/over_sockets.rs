//! The sockets of this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{Endpoint, Peer};
use socket2::{Domain, SockAddr, Socket, Type};

use super::layers::{Bare, Wrap};
use super::world::{Harness, Seen, Setup};

pub const IPV4: u8 = 4;
pub const IPV6: u8 = 6;
pub const UNIX: u8 = 1;

/// Sockets of one family on this machine.
pub struct SocketHarness<const FAMILY: u8, W: Wrap = Bare> {
    io: W::Io<Sockets>,
    at: Endpoint,
    tiny: bool,
}

/// A path that no other test uses.
pub fn socket_path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("hioload-transport-{}-{n}.sock", std::process::id()))
}

pub fn any_port(family: u8) -> Endpoint {
    match family {
        IPV4 => Endpoint::Tcp("127.0.0.1:0".parse().unwrap()),
        IPV6 => Endpoint::Tcp("[::1]:0".parse().unwrap()),
        _ => Endpoint::Unix(socket_path()),
    }
}

/// A connected socket that does not block.
pub fn dial(to: &Endpoint, buffers: Option<usize>) -> Socket {
    let (domain, address) = match to {
        Endpoint::Tcp(addr) => (Domain::for_address(*addr), SockAddr::from(*addr)),
        Endpoint::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
    };
    let socket = Socket::new(domain, Type::STREAM, None).unwrap();
    if let Some(bytes) = buffers {
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.set_send_buffer_size(bytes).unwrap();
    }
    socket.connect(&address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

impl<const FAMILY: u8, W: Wrap> Harness for SocketHarness<FAMILY, W> {
    type Io = W::Io<Sockets>;
    type Wire = Socket;
    const HAS_RESET: bool = FAMILY != UNIX;

    fn is_available() -> bool {
        FAMILY != IPV6 || hioload_testkit::has_ipv6()
    }

    fn new(setup: Setup) -> Self {
        let buffers = setup.tiny.then_some(4096);
        let options = SocketOptions::default()
            .max_connections(setup.max_connections)
            .rx_buffer(setup.rx_buffer)
            .send_queue(setup.send_queue)
            .tx_chunk(if setup.tiny { 256 } else { 16 << 10 })
            .tx_chunks(4096)
            .recv_buffer(buffers)
            .send_buffer(buffers);
        let listener = BoundListener::bind(&any_port(FAMILY), false, 128).unwrap();
        let at = listener.local().unwrap();
        let io = Sockets::new(&options, vec![listener]).unwrap();
        assert_eq!(io.listening(), std::slice::from_ref(&at));
        Self {
            io: W::wrap(io),
            at,
            tiny: setup.tiny,
        }
    }
    fn io(&mut self) -> &mut Self::Io {
        &mut self.io
    }
    fn dial(&mut self) -> Socket {
        dial(&self.at, self.tiny.then_some(4096))
    }
    fn send(&mut self, wire: &mut Socket, bytes: &[u8]) -> usize {
        match wire.write(bytes) {
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("{error}"),
        }
    }
    fn recv(&mut self, wire: &mut Socket, into: &mut Vec<u8>) -> Seen {
        let mut buf = [0; 4096];
        loop {
            match wire.read(&mut buf) {
                Ok(0) => return Seen::End,
                Ok(n) => into.extend(&buf[..n]),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Seen::Open,
                    ErrorKind::ConnectionReset => return Seen::Reset,
                    kind => panic!("{kind}"),
                },
            }
        }
    }
    fn end(&mut self, wire: &mut Socket) {
        wire.shutdown(Shutdown::Write).unwrap();
    }
    fn reset(&mut self, wire: Socket) {
        wire.set_linger(Some(Duration::ZERO)).unwrap();
    }
    fn refuse(&mut self, _: &mut Socket) {}
    fn take(&mut self, _: &mut Socket) {}
    fn address(&self, wire: &Socket) -> Peer {
        let local = wire.local_addr().unwrap().as_socket();
        local.map_or(Peer::Unix, Peer::Ip)
    }
}
