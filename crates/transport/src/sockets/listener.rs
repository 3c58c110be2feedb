//! Sockets that listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::options::SocketOptions;
use super::stream::{SocketStream, SocketTuning};
#[cfg(unix)]
use super::unix_file::{self, SocketFile, UnixAccess};
use crate::{Endpoint, Peer};

/// A listening socket that no transport has yet. It can be sent to the lcore's thread.
///
/// The file of a Unix socket is removed when its listener and all clones are dropped.
#[derive(Debug)]
pub struct BoundListener {
    socket: BoundSocket,
    /// Several lcores accept from this one socket.
    shared: bool,
}

#[derive(Debug)]
enum BoundSocket {
    Tcp(std::net::TcpListener),
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, std::sync::Arc<SocketFile>),
}

/// Whether the system distributes the connections of a port among its listeners by a hash.
const SHARES_PORTS: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "freebsd"
));

/// How an address is bound.
#[derive(Clone, Copy)]
struct TcpBind {
    addr: SocketAddr,
    /// The unspecified IPv6 address takes IPv4 connections too.
    dual: bool,
    /// Others may listen on the same port (SO_REUSEPORT).
    share: bool,
}

impl BoundListener {
    /// Binds and listens, with a backlog of `backlog` connections. With `reuse_port` (SO_REUSEPORT) several listeners share
    /// one TCP port and its connections; it is ignored on systems that do not distribute the connections. IPv6 sockets take
    /// IPv6 only, so `[::]` and `0.0.0.0` can be bound at once and mean the same on every system.
    ///
    /// # Errors
    /// The error of the system. `AddrInUse` also if a process accepts connections on the path of a Unix socket. A stale
    /// socket file, on which none does, is replaced.
    pub fn bind(to: &Endpoint, reuse_port: bool, backlog: i32) -> io::Result<Self> {
        match to {
            Endpoint::Tcp(addr) => Self::bind_tcp(TcpBind::new(*addr, reuse_port), backlog),
            #[cfg(unix)]
            Endpoint::Unix(path) => Self::bind_unix(path, backlog, UnixAccess::default()),
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn bind_tcp(to: TcpBind, backlog: i32) -> io::Result<Self> {
        let socket = to.bound()?;
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Self::new(BoundSocket::Tcp(socket.into())))
    }

    #[cfg(unix)]
    fn bind_unix(path: &std::path::Path, backlog: i32, access: UnixAccess) -> io::Result<Self> {
        let (socket, file) = unix_file::bind(path, backlog, access)?;
        Ok(Self::new(BoundSocket::Unix(
            socket,
            std::sync::Arc::new(file),
        )))
    }

    fn new(socket: BoundSocket) -> Self {
        Self {
            socket,
            shared: false,
        }
    }

    /// A TCP socket that listens already, such as one of a service manager.
    ///
    /// # Errors
    /// `InvalidInput`: the socket does not listen.
    pub fn inherit_tcp(socket: std::net::TcpListener) -> io::Result<Self> {
        check_listens(&socket)?;
        socket.set_nonblocking(true)?;
        Ok(Self::new(BoundSocket::Tcp(socket)))
    }

    /// A Unix stream socket that listens already. Its file stays when the listener is dropped.
    ///
    /// # Errors
    /// `InvalidInput`: the socket does not listen.
    #[cfg(unix)]
    pub fn inherit_unix(socket: std::os::unix::net::UnixListener) -> io::Result<Self> {
        check_listens(&socket)?;
        socket.set_nonblocking(true)?;
        let path = socket.local_addr()?.as_pathname().map(ToOwned::to_owned);
        let file = SocketFile::foreign(path.unwrap_or_default());
        Ok(Self::new(BoundSocket::Unix(
            socket,
            std::sync::Arc::new(file),
        )))
    }

    /// One listener for each of `lcores`, all on the same address. They share the port where the system distributes its
    /// connections; elsewhere they are clones of one socket.
    pub(super) fn bind_many(
        to: &Endpoint,
        lcores: usize,
        options: &SocketOptions,
    ) -> io::Result<Vec<Self>> {
        match to {
            Endpoint::Tcp(addr) => {
                Self::bind_ports(TcpBind::new(*addr, false), lcores, options.backlog)
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let access = UnixAccess {
                    mode: options.unix_mode,
                    group: options.unix_group,
                };
                Self::bind_unix(path, options.backlog, access)?.cloned(lcores)
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The same for the unspecified IPv6 address, whose sockets take IPv4 connections too.
    pub(super) fn bind_dual(
        addr: SocketAddr,
        lcores: usize,
        options: &SocketOptions,
    ) -> io::Result<Vec<Self>> {
        let to = TcpBind {
            dual: true,
            ..TcpBind::new(addr, false)
        };
        Self::bind_ports(to, lcores, options.backlog)
    }

    fn bind_ports(to: TcpBind, lcores: usize, backlog: i32) -> io::Result<Vec<Self>> {
        if lcores < 2 || !SHARES_PORTS {
            return Self::bind_tcp(to, backlog)?.cloned(lcores);
        }
        if to.addr.port() != 0 {
            // With SO_REUSEPORT the bind succeeds although another program listens there.
            drop(to.bound()?);
        }
        let mut to = TcpBind { share: true, ..to };
        let first = Self::bind_tcp(to, backlog)?;
        if let BoundSocket::Tcp(socket) = &first.socket {
            to.addr = socket.local_addr()?;
        }
        let mut all = vec![first];
        while all.len() < lcores {
            all.push(Self::bind_tcp(to, backlog)?);
        }
        Ok(all)
    }

    /// As many handles of this socket.
    pub(super) fn cloned(self, handles: usize) -> io::Result<Vec<Self>> {
        let mut all = vec![Self {
            shared: handles > 1,
            ..self
        }];
        while all.len() < handles {
            all.push(all[0].try_clone()?);
        }
        Ok(all)
    }

    /// The address that it listens on, with the port that the system chose if 0 was asked for.
    pub fn local(&self) -> io::Result<Endpoint> {
        match &self.socket {
            BoundSocket::Tcp(socket) => socket.local_addr().map(Endpoint::Tcp),
            #[cfg(unix)]
            BoundSocket::Unix(_, file) => Ok(Endpoint::Unix(file.path().to_owned())),
        }
    }

    /// The address that it listens on; a socket that takes IPv4 and IPv6 has one of each.
    pub(super) fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        let local = self.local()?;
        if let (BoundSocket::Tcp(socket), Endpoint::Tcp(addr)) = (&self.socket, &local)
            && addr.is_ipv6()
            && addr.ip().is_unspecified()
            && !SockRef::from(socket).only_v6()?
        {
            let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port()));
            return Ok(vec![Endpoint::Tcp(v4), local]);
        }
        Ok(vec![local])
    }

    /// Another handle of the same socket. A connection goes to the handle that accepts it first.
    pub fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            BoundSocket::Tcp(socket) => BoundSocket::Tcp(socket.try_clone()?),
            #[cfg(unix)]
            BoundSocket::Unix(socket, file) => BoundSocket::Unix(socket.try_clone()?, file.clone()),
        };
        Ok(Self {
            socket,
            shared: true,
        })
    }
}

/// A connected or unbound socket would make every accept fail.
fn check_listens<'s, S>(socket: &'s S) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    if !SockRef::from(socket).is_listener()? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the socket does not listen",
        ));
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    let _ = socket;
    Ok(())
}

impl TcpBind {
    fn new(addr: SocketAddr, share: bool) -> Self {
        Self {
            addr,
            dual: false,
            share,
        }
    }

    /// A bound socket that does not listen.
    fn bound(self) -> io::Result<Socket> {
        let Self { addr, dual, share } = self;
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(!dual)?;
        }
        // On Unix this lets a restarted server bind while old connections are in TIME_WAIT. On Windows it would let any process
        // take over the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if share {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            socket.set_reuse_port(true)?;
            #[cfg(target_os = "freebsd")]
            socket.set_reuse_port_lb(true)?;
        }
        socket.bind(&addr.into())?;
        Ok(socket)
    }
}

/// A listener that a transport accepts from.
pub(super) struct Listener {
    pub(super) socket: ListenerSocket,
    /// Connections may be waiting.
    pub(super) ready: bool,
    /// Other lcores accept from the same socket.
    pub(super) shared: bool,
}

pub(super) enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, std::sync::Arc<SocketFile>),
}

impl Listener {
    pub(super) fn new(bound: BoundListener, tuning: &SocketTuning) -> io::Result<Self> {
        let socket = match bound.socket {
            BoundSocket::Tcp(socket) => {
                tuning.apply(&socket)?;
                ListenerSocket::Tcp(TcpListener::from_std(socket))
            }
            #[cfg(unix)]
            BoundSocket::Unix(socket, file) => {
                ListenerSocket::Unix(UnixListener::from_std(socket), file)
            }
        };
        Ok(Self {
            socket,
            ready: true,
            shared: bound.shared,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match &mut self.socket {
            ListenerSocket::Tcp(socket) => registry.register(socket, token, Interest::READABLE),
            #[cfg(unix)]
            ListenerSocket::Unix(socket, _) => registry.register(socket, token, Interest::READABLE),
        }
    }
}

impl ListenerSocket {
    pub(super) fn accept(&self) -> io::Result<(SocketStream, Peer)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, from) = socket.accept()?;
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                Ok((SocketStream::Tcp(stream), Peer::Ip(from)))
            }
            #[cfg(unix)]
            Self::Unix(socket, _) => Ok((SocketStream::Unix(socket.accept()?.0), Peer::Unix)),
        }
    }

    pub(super) fn local(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Endpoint::Tcp),
            #[cfg(unix)]
            Self::Unix(_, file) => Ok(Endpoint::Unix(file.path().to_owned())),
        }
    }
}
