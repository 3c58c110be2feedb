//! The files of Unix sockets: who may open one, and when it is removed.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode};
use socket2::{Domain, SockAddr, Socket, Type};

/// Who may open the file of a Unix socket.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UnixAccess {
    /// The permission bits; `None`: as the umask leaves them.
    pub(super) mode: Option<u32>,
    /// The group; `None`: that of the process.
    pub(super) group: Option<u32>,
}

/// The file of a bound socket. It is removed with the socket, unless another file has replaced it.
#[derive(Debug)]
pub(in crate::sockets) struct SocketFile {
    path: PathBuf,
    /// Device and inode. `None`: the file belongs to another process, which removes it.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file of a socket that another process has bound.
    pub(super) fn foreign(path: PathBuf) -> Self {
        Self {
            path,
            identity: None,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|file| self.identity == Some((file.dev(), file.ino()))) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

pub(super) fn bind(
    path: &Path,
    backlog: i32,
    access: UnixAccess,
) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = SockAddr::unix(path)?;
    if access.mode.is_some() || access.group.is_some() {
        // On Linux the file gets the mode of the socket, less the umask: until its group is set, only its owner may open it.
        // Elsewhere the call fails, and `listen` comes last: before it no client can connect, whatever the mode of the file is.
        let owner_only = access.mode.unwrap_or(0o700) & 0o700;
        let _ = rustix::fs::fchmod(&socket, Mode::from_raw_mode(owner_only as _));
    }
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse || !is_stale(path, &address)? {
            return Err(error);
        }
        fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    let metadata = fs::symlink_metadata(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: Some((metadata.dev(), metadata.ino())),
    };
    set_access(path, access)?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// The group first: the mode may allow it more than others.
fn set_access(path: &Path, access: UnixAccess) -> io::Result<()> {
    let wrong = |what: &str, why: io::Error| {
        io::Error::new(
            why.kind(),
            format!("cannot set {what} of the socket: {why}"),
        )
    };
    if let Some(group) = access.group {
        let group = Some(Gid::from_raw(group));
        rustix::fs::chownat(
            rustix::fs::CWD,
            path,
            None,
            group,
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|why| wrong("the group", why.into()))?;
    }
    let mode = match access {
        UnixAccess {
            mode: Some(mode), ..
        } => mode,
        // The group was chosen so that it can connect, which takes the permission to write.
        UnixAccess { group: Some(_), .. } => 0o660,
        UnixAccess { .. } => return Ok(()),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|why| wrong("the mode", why))
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
