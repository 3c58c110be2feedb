//! The server's side of the control socket.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use hioload_device::tap::{TapOptions, TapSwitch};
use hioload_transport::Wanted;
use hioload_ws::{Endpoint, Remote};

use super::question::{self, Question};
use super::row::{Ends, Recorded, Row, Start};
use crate::Failure;
use crate::config::values::Control;

/// Time for a client to send its question, and to take each part of the response.
const PATIENCE: Duration = Duration::from_secs(1);
/// Time for a whole response.
const LONGEST: Duration = Duration::from_secs(60);

/// What a control socket controls: the transport decides which questions have an answer.
pub(crate) enum Controlled {
    /// Connections of the kernel.
    Sockets,
    /// Connections of user-space TCP, whose packets can be recorded.
    // Only af-xdp and dpdk have it.
    #[cfg_attr(not(any(feature = "af-xdp", feature = "dpdk")), allow(dead_code))]
    Bypass {
        /// The transport: `af-xdp`.
        name: &'static str,
        /// The tap of all queues.
        tap: TapSwitch,
    },
}

impl Controlled {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Bypass { name, .. } => name,
        }
    }
}

/// Directories of control sockets: where `auto` puts one, and where `hioload flows` looks.
pub(crate) fn default_dirs() -> Vec<PathBuf> {
    let mine = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let mine = mine.map(|dir| PathBuf::from(dir).join("hioload"));
    let root = rustix::process::geteuid().is_root();
    let all = root.then(|| PathBuf::from("/run/hioload"));
    all.into_iter().chain(mine).collect()
}

/// A bound control socket. Dropping it removes its file.
pub(crate) struct Socket {
    listener: UnixListener,
    file: File,
    listen: Vec<String>,
}

/// The file of a bound socket. Dropping it removes the file, unless another file has replaced it.
pub(crate) struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for File {
    fn drop(&mut self) {
        let ours = |file: &fs::Metadata| (file.dev(), file.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(|file| ours(&file)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the control socket.
///
/// # Errors
/// Code 2: the path that the operator chose cannot be bound. The default path is optional: a failure is logged.
pub(crate) fn bind(wanted: &Control, endpoints: &[Endpoint]) -> Result<Option<Socket>, Failure> {
    let listen: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    let path = match wanted {
        Control::None => return Ok(None),
        Control::At(path) => path.clone(),
        Control::Auto => {
            let Some(path) = auto_path(endpoints) else {
                return Ok(None);
            };
            match bind_at(&path, listen) {
                Ok(socket) => return Ok(Some(socket)),
                Err(why) => {
                    tracing::warn!("no control socket: {}: {why}", path.display());
                    return Ok(None);
                }
            }
        }
    };
    bind_at(&path, listen)
        .map(Some)
        .map_err(|why| Failure::usage(why).in_context(format!("--control {}", path.display())))
}

/// `PORT.sock` in the first default directory that exists or can be created.
fn auto_path(endpoints: &[Endpoint]) -> Option<PathBuf> {
    let port = endpoints.iter().find_map(|endpoint| match endpoint {
        Endpoint::Tcp(addr) => Some(addr.port()),
        Endpoint::Unix(_) => None,
    })?;
    let ready = |dir: &PathBuf| dir.is_dir() || make_private(dir).is_ok();
    let dir = default_dirs().into_iter().find(ready)?;
    Some(dir.join(format!("{port}.sock")))
}

fn make_private(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(dir)
}

fn bind_at(path: &Path, listen: Vec<String>) -> io::Result<Socket> {
    if is_stale(path) {
        fs::remove_file(path)?;
    }
    // No client can connect before `listen`, and by then only this user may open the file.
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )?;
    rustix::net::bind(&socket, &rustix::net::SocketAddrUnix::new(path)?)?;
    let metadata = fs::symlink_metadata(path)?;
    let file = File {
        path: path.to_owned(),
        device: metadata.dev(),
        inode: metadata.ino(),
    };
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, 16)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(Socket {
        listener: socket.into(),
        file,
        listen,
    })
}

/// Whether `path` is a socket that no process listens on.
fn is_stale(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|why| why.kind() == ErrorKind::ConnectionRefused)
}

impl Socket {
    /// Starts a thread that answers until the process ends. Dropping the returned value removes the file.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn serve<E: Send + 'static>(
        self,
        controlled: Controlled,
        remote: Remote<E>,
    ) -> io::Result<File> {
        let Self {
            listener,
            file,
            listen,
        } = self;
        let start = Start {
            transport: controlled.name().to_owned(),
            lcores: remote.lcores(),
            listen,
        };
        let serve = move || {
            for client in listener.incoming() {
                match client {
                    Ok(client) => {
                        if let Err(why) = answer(&client, &start, &controlled, &remote) {
                            tracing::debug!("control socket: {why}");
                        }
                    }
                    // Most likely the process has no free descriptor.
                    Err(_) => thread::sleep(PATIENCE),
                }
            }
        };
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(serve)?;
        Ok(file)
    }
}

/// Reads one question and answers it.
fn answer<E: Send>(
    client: &UnixStream,
    start: &Start,
    controlled: &Controlled,
    remote: &Remote<E>,
) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let asked = question::read(&mut &*client, Instant::now() + PATIENCE)?;
    let mut out = BufWriter::new(client);
    let answered = match (Question::parse(&asked), controlled) {
        (None, _) => Err(format!("unknown question: {asked:?}")),
        (Some(Question::Flows(wanted)), _) => {
            line(&mut out, start)?;
            match controlled {
                Controlled::Sockets => Ok(()),
                Controlled::Bypass { .. } => flows(&mut out, wanted, remote)?,
            }
        }
        (Some(question), Controlled::Bypass { tap, .. }) => tapped(&mut out, &question, tap)?,
        (Some(_), Controlled::Sockets) => Err(
            "the kernel handles the packets of this server: record them with tcpdump".to_owned(),
        ),
    };
    let ends = Ends {
        end: answered.is_ok(),
        error: answered.err(),
    };
    line(&mut out, &ends)?;
    out.flush()
}

/// Writes the wanted flows of all lcores, a few at a time.
fn flows<E: Send>(
    out: &mut impl Write,
    wanted: Wanted,
    remote: &Remote<E>,
) -> io::Result<Result<(), String>> {
    let until = Instant::now() + LONGEST;
    for lcore in 0..remote.lcores() as u16 {
        let mut from = Some(0);
        while let Some(slot) = from {
            let (rows, next) = match remote.flows(lcore, slot, wanted) {
                Ok(answer) => answer,
                Err(why) => return Ok(Err(format!("lcore {lcore}: {why}"))),
            };
            for flow in &rows {
                line(out, &Row::new(lcore, flow))?;
            }
            if Instant::now() > until {
                return Ok(Err("the response took too long".to_owned()));
            }
            from = next;
        }
    }
    Ok(Ok(()))
}

/// Starts or stops a recording.
fn tapped(
    out: &mut impl Write,
    question: &Question<'_>,
    tap: &TapSwitch,
) -> io::Result<Result<(), String>> {
    let Question::Start(snaplen, max_bytes, file) = *question else {
        return match tap.stop() {
            Ok(Some(report)) => line(out, &Recorded::from(report)).map(Ok),
            Ok(None) => Ok(Err("no recording is running".to_owned())),
            Err(why) => Ok(Err(format!("the recording failed: {why}"))),
        };
    };
    let options = TapOptions::default()
        .snaplen(snaplen)
        .max_bytes(Some(max_bytes));
    let started = tap.start_file(Path::new(file), &options);
    Ok(started.map_err(|why| match why.kind() {
        ErrorKind::ResourceBusy => "a recording is already running".to_owned(),
        _ => format!("{file}: {why}"),
    }))
}

fn line(out: &mut impl Write, what: &impl serde::Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, what)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_starts_once_and_stops_once() {
        let path = std::env::temp_dir().join(format!("hioload-tap-{}.pcapng", std::process::id()));
        let _ = fs::remove_file(&path);
        let tap = TapSwitch::new();
        let start = format!("tap start 128 1000000 {}", path.display());
        let asked = |what: &str| {
            let mut out = Vec::new();
            let question = Question::parse(what).expect("a question");
            let outcome = tapped(&mut out, &question, &tap).expect("a Vec takes all");
            (outcome, String::from_utf8(out).expect("JSON"))
        };
        assert!(asked("tap stop").0.is_err());
        assert_eq!(asked(&start).0, Ok(()));
        assert!(asked(&start).0.is_err_and(|why| why.contains("already")));
        let (outcome, said) = asked("tap stop");
        assert!(outcome.is_ok() && said.contains("\"written\":0"), "{said}");
        // An existing file is not overwritten.
        assert!(
            asked(&start)
                .0
                .is_err_and(|why| why.contains("hioload-tap"))
        );
        fs::remove_file(&path).expect("the recording");
    }
}
