//! The manager, at a Unix datagram socket.

use std::env;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::Duration;

use hioload_ws::CountersHandle;

/// The service manager that started this process.
#[derive(Debug)]
pub(crate) struct Manager {
    socket: UnixDatagram,
    to: SocketAddr,
}

impl Manager {
    /// The manager whose socket `NOTIFY_SOCKET` names; `None` without one.
    pub(crate) fn find() -> Option<Self> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        match Self::at(name.as_bytes()) {
            Ok(manager) => Some(manager),
            Err(why) => {
                tracing::warn!("NOTIFY_SOCKET {}: {why}", name.display());
                None
            }
        }
    }

    /// A name that begins with `@` is abstract.
    fn at(name: &[u8]) -> io::Result<Self> {
        let to = match name.split_first() {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Some((b'@', name)) => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)?
            }
            Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// Sends a state, such as `READY=1`. A manager that does not take it is the manager's concern.
    pub(crate) fn tell(&self, state: &str) {
        if let Err(why) = self.socket.send_to_addr(state.as_bytes(), &self.to) {
            tracing::debug!("the service manager does not take {state}: {why}");
        }
    }

    /// Starts a thread that says every so often that the server is alive, while no lcore is stalled. Nothing if the manager wants
    /// no such messages (`WATCHDOG_USEC`).
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn watch(self, counters: CountersHandle) -> io::Result<()> {
        let own = std::process::id().to_string();
        let ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == own);
        let usec = env::var("WATCHDOG_USEC")
            .ok()
            .and_then(|usec| usec.parse().ok());
        let Some(usec) = usec.filter(|usec| ours && *usec > 0) else {
            return Ok(());
        };
        // sd_watchdog_enabled(3) recommends half of the time.
        let pause = Duration::from_micros(usec) / 2;
        thread::Builder::new()
            .name("notify".to_owned())
            .spawn(move || {
                loop {
                    if counters.stalled() == 0 {
                        self.tell("WATCHDOG=1");
                    }
                    thread::sleep(pause);
                }
            })?;
        Ok(())
    }

    /// Another handle.
    ///
    /// # Errors
    /// There is no free descriptor.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            to: self.to.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reaches_the_socket() {
        let path = env::temp_dir().join(format!("hioload-notify-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).expect("a socket");
        let told = Manager::at(path.as_os_str().as_bytes()).expect("a path");
        told.tell("READY=1");
        let mut state = [0; 64];
        let len = manager.recv(&mut state).expect("a state");
        assert_eq!(&state[..len], b"READY=1");
        std::fs::remove_file(&path).expect("the socket");
        // A manager that is gone is no error.
        told.tell("STOPPING=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_reached() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("hioload-notify-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(name.as_bytes()).expect("a name");
        let manager = UnixDatagram::bind_addr(&at).expect("a socket");
        let told = Manager::at(format!("@{name}").as_bytes()).expect("a name");
        told.tell("STOPPING=1");
        let mut state = [0; 64];
        let len = manager.recv(&mut state).expect("a state");
        assert_eq!(&state[..len], b"STOPPING=1");
        assert!(Manager::at(b"relative").is_err() && Manager::at(b"").is_err());
    }
}
