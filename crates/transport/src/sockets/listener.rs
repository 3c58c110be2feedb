//! Sockets that listen.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpListener;
#[cfg(unix)]
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use super::stream::{SocketStream, SocketTuning};
use crate::{Endpoint, Peer};

#[cfg(unix)]
use unix::SocketFile;

/// A listening socket that no transport has yet. It can be sent to the lcore's thread.
///
/// IPv6 sockets take IPv6 only, so `[::]` and `0.0.0.0` can be bound at once and mean the same on every system. The file
/// of a Unix socket is removed when its listener and all clones are dropped.
#[derive(Debug)]
pub struct BoundListener(Bound);

#[derive(Debug)]
enum Bound {
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

impl BoundListener {
    /// Binds and listens, with a backlog of `backlog` connections. With `reuse_port` (SO_REUSEPORT) several listeners share
    /// one TCP port and its connections; it is ignored on systems that do not distribute the connections.
    ///
    /// # Errors
    /// The error of the system. `AddrInUse` also if a process accepts connections on the path of a Unix socket. A stale
    /// socket file, on which none does, is replaced.
    pub fn bind(to: &Endpoint, reuse_port: bool, backlog: i32) -> io::Result<Self> {
        match to {
            Endpoint::Tcp(addr) => {
                bind_tcp(*addr, reuse_port, backlog).map(|s| Self(Bound::Tcp(s)))
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let (socket, file) = unix::bind(path, backlog)?;
                Ok(Self(Bound::Unix(socket, std::sync::Arc::new(file))))
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// One listener for each of `lcores`, all on the same address. They share the port where the system distributes its
    /// connections; elsewhere they are clones of one socket.
    ///
    /// # Errors
    /// The error of the system. `AddrInUse` also if another program shares the port: joining it would take a part of its
    /// connections.
    pub fn bind_many(to: &Endpoint, lcores: usize, backlog: i32) -> io::Result<Vec<Self>> {
        let share = lcores > 1 && SHARES_PORTS && matches!(to, Endpoint::Tcp(_));
        if let (true, Endpoint::Tcp(addr)) = (share, to)
            && addr.port() != 0
        {
            drop(bound_tcp(*addr, false)?);
        }
        let first = Self::bind(to, share, backlog)?;
        let local = first.local()?;
        let mut all = vec![first];
        while all.len() < lcores {
            all.push(if share {
                Self::bind(&local, true, backlog)?
            } else {
                all[0].try_clone()?
            });
        }
        Ok(all)
    }

    /// The address that it listens on, with the port that the system chose if 0 was asked for.
    pub fn local(&self) -> io::Result<Endpoint> {
        match &self.0 {
            Bound::Tcp(socket) => socket.local_addr().map(Endpoint::Tcp),
            #[cfg(unix)]
            Bound::Unix(_, file) => Ok(Endpoint::Unix(file.path().to_owned())),
        }
    }

    /// Another handle of the same socket. A connection goes to the handle that accepts it first.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Bound::Tcp(socket) => Bound::Tcp(socket.try_clone()?),
            #[cfg(unix)]
            Bound::Unix(socket, file) => Bound::Unix(socket.try_clone()?, file.clone()),
        }))
    }
}

fn bound_tcp(addr: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Unix this lets a restarted server bind while old connections are in TIME_WAIT. On Windows it would let any process
    // take over the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if reuse_port {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_reuse_port(true)?;
        #[cfg(target_os = "freebsd")]
        socket.set_reuse_port_lb(true)?;
    }
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn bind_tcp(addr: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<std::net::TcpListener> {
    let socket = bound_tcp(addr, reuse_port)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A listener that a transport accepts from.
pub(super) struct Listener {
    pub(super) socket: ListenerSocket,
    /// Connections may be waiting.
    pub(super) ready: bool,
}

pub(super) enum ListenerSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener, std::sync::Arc<SocketFile>),
}

impl Listener {
    pub(super) fn new(bound: BoundListener, tuning: &SocketTuning) -> io::Result<Self> {
        let socket = match bound.0 {
            Bound::Tcp(socket) => {
                tuning.apply(&socket)?;
                ListenerSocket::Tcp(TcpListener::from_std(socket))
            }
            #[cfg(unix)]
            Bound::Unix(socket, file) => ListenerSocket::Unix(UnixListener::from_std(socket), file),
        };
        Ok(Self {
            socket,
            ready: true,
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

#[cfg(unix)]
mod unix {
    //! The files of Unix sockets, and when one is removed.

    use std::fs;
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::os::unix::net::UnixListener;
    use std::path::{Path, PathBuf};

    use socket2::{Domain, SockAddr, Socket, Type};

    /// The file of a bound socket. It is removed with the socket, unless another file has replaced it.
    #[derive(Debug)]
    pub(in crate::sockets) struct SocketFile {
        path: PathBuf,
        device: u64,
        inode: u64,
    }

    impl SocketFile {
        pub(super) fn path(&self) -> &Path {
            &self.path
        }
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            let ours = |file: &fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
            if fs::symlink_metadata(&self.path).is_ok_and(|file| ours(&file)) {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    pub(super) fn bind(path: &Path, backlog: i32) -> io::Result<(UnixListener, SocketFile)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        if let Err(error) = socket.bind(&address) {
            if error.kind() != ErrorKind::AddrInUse || !is_stale(path, &address)? {
                return Err(error);
            }
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        let file = fs::symlink_metadata(path)?;
        let file = SocketFile {
            path: path.to_owned(),
            device: file.dev(),
            inode: file.ino(),
        };
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), file))
    }

    /// Whether `path` is a socket on which no process accepts connections.
    fn is_stale(path: &Path, address: &SockAddr) -> io::Result<bool> {
        if !fs::symlink_metadata(path)?.file_type().is_socket() {
            return Ok(false);
        }
        let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // Without blocking: a full backlog proves that a process listens.
        probe.set_nonblocking(true)?;
        Ok(probe
            .connect(address)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused))
    }
}
