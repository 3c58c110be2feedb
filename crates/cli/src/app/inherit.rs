//! Sockets that systemd passes to the process: the protocol of sd_listen_fds(3).

use std::env;

use hioload_ws::{BoundListener, Listen};
use listenfd::ListenFd;

use crate::Failure;

/// The first passed descriptor.
const FIRST: usize = 3;

/// A passed socket and its name (`FileDescriptorName`), which is `unknown` if it has none.
struct Passed {
    number: usize,
    name: String,
}

impl Passed {
    /// All of them, if this is the process that they are for.
    fn all() -> Vec<Self> {
        let own = std::process::id().to_string();
        if env::var("LISTEN_PID").ok() != Some(own) {
            return Vec::new();
        }
        let count = env::var("LISTEN_FDS")
            .ok()
            .and_then(|count| count.parse().ok());
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self::named(count.unwrap_or(0), &names)
    }

    /// `count` descriptors with these names, which colons separate.
    fn named(count: usize, names: &str) -> Vec<Self> {
        let mut names = names.split(':');
        let passed = (0..count).map(|number| Self {
            number,
            name: match names.next() {
                None | Some("") => "unknown".to_owned(),
                Some(name) => name.to_owned(),
            },
        });
        passed.collect()
    }
}

/// The sockets that were passed to this process.
pub(super) struct Inherited {
    fds: ListenFd,
    passed: Vec<Passed>,
}

impl Inherited {
    /// Takes them, and removes `LISTEN_PID` and `LISTEN_FDS` from the environment: to be called before there are threads.
    pub(super) fn take() -> Self {
        let passed = Passed::all();
        let fds = match passed.is_empty() {
            true => ListenFd::empty(),
            false => ListenFd::from_env(),
        };
        Self { fds, passed }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passed.is_empty()
    }

    /// The sockets with these names; `None` is all of them.
    ///
    /// # Errors
    /// Code 2: there is none, or one is not a stream socket that listens.
    pub(super) fn sockets(mut self, wanted: &[Option<String>]) -> Result<Vec<Listen>, Failure> {
        for wanted in wanted {
            let found = |passed: &Passed| wanted.as_ref().is_none_or(|name| *name == passed.name);
            if !self.passed.iter().any(found) {
                return Err(self.missing(wanted.as_deref()));
            }
        }
        let is_wanted = |name: &str| {
            let mut wanted = wanted.iter();
            wanted.any(|wanted| wanted.as_deref().is_none_or(|wanted| wanted == name))
        };
        let mut sockets = Vec::new();
        for Passed { number, name } in &self.passed {
            // All are taken, so that a child inherits none.
            let socket = listener(&mut self.fds, *number);
            match socket {
                Ok(socket) if is_wanted(name) => sockets.push(Listen::from(socket)),
                Err(why) if is_wanted(name) => {
                    return Err(Failure::usage(format!(
                        "--listen systemd: descriptor {} ({name}): {why}",
                        FIRST + number
                    )));
                }
                _ => tracing::warn!(
                    "descriptor {} ({name}) of systemd is not used: --listen does not name it",
                    FIRST + number
                ),
            }
        }
        Ok(sockets)
    }

    fn missing(&self, wanted: Option<&str>) -> Failure {
        let names: Vec<&str> = self
            .passed
            .iter()
            .map(|passed| passed.name.as_str())
            .collect();
        Failure::usage(match (wanted, names.as_slice()) {
            (_, []) => {
                "--listen systemd: no sockets were passed to this process (LISTEN_PID, LISTEN_FDS)"
                    .to_owned()
            }
            (wanted, names) => format!(
                "--listen systemd:{}: the sockets that were passed are {}",
                wanted.unwrap_or_default(),
                names.join(", ")
            ),
        })
    }
}

/// A passed socket, which has to be a TCP or Unix stream socket that listens.
fn listener(fds: &mut ListenFd, number: usize) -> Result<BoundListener, String> {
    const EXPECTED: &str =
        "expected a TCP or Unix stream socket that listens (ListenStream=, Accept=no)";
    let said = |why: std::io::Error| format!("{EXPECTED}: {why}");
    if let Ok(Some(socket)) = fds.take_tcp_listener(number) {
        return BoundListener::inherit_tcp(socket).map_err(said);
    }
    match fds.take_unix_listener(number) {
        Ok(Some(socket)) => BoundListener::inherit_unix(socket).map_err(said),
        Ok(None) | Err(_) => Err(EXPECTED.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_belong_to_descriptors_in_order() {
        let names = |count, names| -> Vec<String> {
            let passed = Passed::named(count, names);
            passed.into_iter().map(|passed| passed.name).collect()
        };
        assert_eq!(names(2, "web:admin"), ["web", "admin"]);
        assert_eq!(names(3, ":web"), ["unknown", "web", "unknown"]);
        assert!(names(0, "web").is_empty());
    }
}
