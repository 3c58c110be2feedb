//! Reads the files again when they change.
//!
//! What is watched are folders, not files: programs replace a file by renaming a new one over it, and certbot and Kubernetes change the
//! target of a symbolic link on the way to it. So each folder is watched in which a change can lead to another file: that of the path, and
//! those of each link that the path leads through.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::ServerTls;

/// Quiet time after a change: a certificate and its key are written one after the other.
const SETTLE: Duration = Duration::from_millis(500);
/// Changes are taken at the latest after so many times [`SETTLE`], even if more follow.
const MOST_SETTLES: u32 = 10;
/// Time between two readings of the files without an event: a network file system reports none. Expiry is checked as often.
const READ_EVERY: Duration = Duration::from_secs(60);
/// Events that wait for the thread.
const EVENTS: usize = 64;
/// The longest chain of symbolic links.
const MOST_LINKS: usize = 40;

enum Signal {
    Changed,
    /// The operator wants the files to be read now.
    Reload,
    End,
}

/// A thread that watches the files of a server. It ends when this is dropped.
#[derive(Debug)]
pub struct Watch {
    sender: SyncSender<Signal>,
}

impl Watch {
    /// Starts the thread. It logs what it does, as well as the notices of expiry. Without `files`, it reads the files only when
    /// [`reload`](Self::reload) asks for it.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(server: &Arc<ServerTls>, files: bool) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(EVENTS);
        let watcher = if files { watcher(sender.clone()) } else { None };
        let state = State {
            server: Arc::downgrade(server),
            files,
            watcher,
            watched: BTreeSet::new(),
            failure: None,
        };
        thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || state.run(&receiver))?;
        Ok(Self { sender })
    }

    /// Has the files read again, and the outcome logged.
    pub fn reload(&self) {
        // The thread ends only with the server.
        let _ = self.sender.send(Signal::Reload);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.sender.send(Signal::End);
    }
}

/// A watcher, where the system has one. Elsewhere the files are looked at each minute.
fn watcher(sender: SyncSender<Signal>) -> Option<RecommendedWatcher> {
    let signal = move |event: notify::Result<Event>| {
        let reading = |event: &Event| matches!(event.kind, EventKind::Access(_));
        if !event.as_ref().is_ok_and(reading) {
            // If the channel is full, changes wait in it already.
            let _ = sender.try_send(Signal::Changed);
        }
    };
    notify::recommended_watcher(signal)
        .inspect_err(|why| tracing::warn!("the files of TLS are looked at each minute: {why}"))
        .ok()
}

struct State {
    server: Weak<ServerTls>,
    /// Whether changes of files count.
    files: bool,
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// The last failure, which is logged once.
    failure: Option<String>,
}

impl State {
    fn run(mut self, receiver: &Receiver<Signal>) {
        self.follow();
        self.notices();
        loop {
            let signal = match receiver.recv_timeout(READ_EVERY) {
                Ok(Signal::Changed) => settled(receiver),
                Ok(signal) => signal,
                Err(RecvTimeoutError::Timeout) => Signal::Changed,
                Err(RecvTimeoutError::Disconnected) => Signal::End,
            };
            let wanted = matches!(signal, Signal::Reload);
            let look = wanted || self.files;
            let Some(server) = self
                .server
                .upgrade()
                .filter(|_| !matches!(signal, Signal::End))
            else {
                return;
            };
            if look {
                self.look(&server, wanted);
            }
            drop(server);
            self.follow();
            self.notices();
        }
    }

    /// Reads the files if one has changed, or if it is `wanted`.
    fn look(&mut self, server: &ServerTls, wanted: bool) {
        let result = if wanted {
            server.reload().map(Some)
        } else {
            server.reload_if_changed()
        };
        match result {
            Ok(None) => self.failure = None,
            Ok(Some(changed)) => {
                self.failure = None;
                let changed: Vec<String> = changed
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                tracing::info!(
                    changed = changed.join(", "),
                    "certificates and keys of TLS were read; new connections use them"
                );
                for warning in server.warnings() {
                    tracing::warn!("{warning}");
                }
            }
            Err(why) => {
                let why = why.to_string();
                if wanted || self.failure.as_ref() != Some(&why) {
                    tracing::error!("certificates and keys of TLS stay as they are: {why}");
                }
                self.failure = Some(why);
            }
        }
    }

    fn notices(&self) {
        if let Some(server) = self.server.upgrade() {
            for notice in server.notices() {
                tracing::warn!("{notice}");
            }
        }
    }

    /// Watches the folders on the way to the files as they are now.
    fn follow(&mut self) {
        let (Some(watcher), Some(server)) = (&mut self.watcher, self.server.upgrade()) else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = server
            .files()
            .iter()
            .flat_map(|path| folders(path))
            .collect();
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // A folder may have been removed and made again under its name, so each is watched anew: for one that is watched this does nothing.
        for folder in &wanted {
            if let Err(why) = watcher.watch(folder, RecursiveMode::NonRecursive)
                && !self.watched.contains(folder)
            {
                tracing::warn!(
                    "{}: cannot be watched, and is read each minute: {why}",
                    folder.display()
                );
            }
        }
        self.watched = wanted;
    }
}

/// Waits until changes have settled.
fn settled(receiver: &Receiver<Signal>) -> Signal {
    for _ in 0..MOST_SETTLES {
        match receiver.recv_timeout(SETTLE) {
            Ok(Signal::Changed) => {}
            Ok(signal) => return signal,
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return Signal::End,
        }
        // Changes that have already been reported count as one.
        while let Ok(signal) = receiver.try_recv() {
            if !matches!(signal, Signal::Changed) {
                return signal;
            }
        }
    }
    Signal::Changed
}

/// The folders in which a change can lead `path` to another file.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![path.to_owned()];
    let mut links = 0;
    while let Some(path) = todo.pop() {
        // Each component of the path may be a link.
        let mut so_far = PathBuf::new();
        for component in path.components() {
            let folder = so_far.clone();
            so_far.push(component);
            let Ok(target) = std::fs::read_link(&so_far) else {
                continue;
            };
            links += 1;
            if links > MOST_LINKS {
                return found;
            }
            add(&mut found, &folder);
            let rest = path.strip_prefix(&so_far).unwrap_or(Path::new(""));
            let target = folder.join(target);
            todo.push(if rest.as_os_str().is_empty() {
                target
            } else {
                target.join(rest)
            });
            break;
        }
        if let Some(folder) = path.parent() {
            add(&mut found, folder);
        }
    }
    found
}

fn add(found: &mut Vec<PathBuf>, folder: &Path) {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    // The name of a link as a folder would be watched instead of its target, and both are the same.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if !found.contains(&folder) {
        found.push(folder);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folders_of_all_links_on_the_way_are_watched() {
        let dir = std::env::temp_dir().join(format!("hioload-watch-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        // As Kubernetes mounts a secret.
        std::fs::create_dir_all(dir.join("mount/..2026")).expect("a folder");
        std::fs::write(dir.join("mount/..2026/tls.crt"), "x").expect("a file");
        symlink("..2026", dir.join("mount/..data")).expect("a link");
        symlink("..data/tls.crt", dir.join("mount/tls.crt")).expect("a link");
        // As certbot: a link in another folder, reached through a link.
        std::fs::create_dir_all(dir.join("live")).expect("a folder");
        symlink("../mount/tls.crt", dir.join("live/cert.pem")).expect("a link");
        symlink(dir.join("live"), dir.join("certs")).expect("a link");

        let mut names: Vec<String> = folders(&dir.join("certs/cert.pem"))
            .iter()
            .filter_map(|folder| {
                folder
                    .strip_prefix(dir.canonicalize().ok()?)
                    .ok()
                    .map(|name| name.display().to_string())
            })
            .collect();
        names.sort();
        assert_eq!(names, ["", "live", "mount", "mount/..2026"]);

        symlink("loop", dir.join("loop")).expect("a link");
        assert!(!folders(&dir.join("loop")).is_empty());
        std::fs::remove_dir_all(&dir).expect("its own folder");
    }
}
