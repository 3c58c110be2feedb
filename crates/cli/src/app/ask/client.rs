//! The client's side of the control socket.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Failure;
use crate::app::control::{Ends, Recorded, Row, Start, default_dirs};
use crate::cli::{FlowsArgs, TapStartArgs, TapStopArgs};
use crate::streams;

/// Time for the server to response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lists the connections of a server.
///
/// # Errors
/// Code 2 if there is no such server, 1 if its response is incomplete.
pub(crate) fn flows(arguments: &FlowsArgs) -> Result<(), Failure> {
    let path = socket(arguments.socket.as_deref(), &default_dirs())?;
    let mut question = "flows".to_owned();
    if arguments.details {
        question.push_str(" details");
    }
    if let Some(peer) = arguments.peer {
        question.push_str(&format!(" {peer}"));
    }
    let mut response = Response::ask(&path, &question)?;
    let start: Start = response.next()?;
    if start.transport == "sockets" {
        streams::note(format_args!("hioload: {}", kernels(&start)));
        return response.skip_all();
    }
    let mut out = streams::Lines::new();
    if !arguments.json && out.line(&Row::heading())?.is_break() {
        return Ok(());
    }
    response.rest(|line| {
        if arguments.json {
            return out.line(line);
        }
        let row: Row = serde_json::from_str(line).map_err(unreadable)?;
        out.line(&row.text())
    })?;
    out.end()
}

/// Starts recording packets.
///
/// # Errors
/// Code 2 if there is no such server, 1 if it cannot record.
pub(crate) fn tap_start(arguments: &TapStartArgs) -> Result<(), Failure> {
    let path = socket(arguments.socket.as_deref(), &default_dirs())?;
    // The server may have another working directory.
    let file = std::path::absolute(&arguments.file)
        .map_err(|why| Failure::usage(format!("{}: {why}", arguments.file.display())))?;
    let name = file
        .to_str()
        .filter(|name| !name.contains('\n'))
        .ok_or_else(|| Failure::usage("--file: the path must be UTF-8 without line breaks"))?;
    let (snaplen, most) = (arguments.snaplen.0, arguments.max_size.0.0);
    let response = Response::ask(&path, &format!("tap start {snaplen} {most} {name}"))?;
    response.skip_all()?;
    streams::say(&format!("recording to {name}\n"));
    Ok(())
}

/// Stops the recording.
///
/// # Errors
/// Code 2 if there is no such server, 1 if there is no recording or it failed.
pub(crate) fn tap_stop(arguments: &TapStopArgs) -> Result<(), Failure> {
    let path = socket(arguments.socket.as_deref(), &default_dirs())?;
    let mut response = Response::ask(&path, "tap stop")?;
    let recorded: Recorded = response.next()?;
    response.skip_all()?;
    streams::say(&format!("{}\n", recorded.text()));
    Ok(())
}

/// How to list connections of the kernel.
fn kernels(start: &Start) -> String {
    let ports = start.listen.iter().filter_map(|listen| {
        let (_, port) = listen.rsplit_once(':')?;
        let port: u16 = port.parse().ok()?;
        Some(format!("sport = :{port}"))
    });
    // A port of both families is listed twice.
    let ports: BTreeSet<String> = ports.collect();
    let ports = ports.into_iter().collect::<Vec<_>>().join(" or ");
    format!("the kernel has the connections of this server: ss -ti '{ports}' lists them")
}

fn unreadable(why: serde_json::Error) -> Failure {
    Failure::run(why).in_context("cannot read the response of the server")
}

/// The socket to use: the named one, or the only one of this machine.
fn socket(named: Option<&Path>, dirs: &[PathBuf]) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let entries = dirs.iter().filter_map(|dir| std::fs::read_dir(dir).ok());
    let paths = entries.flatten().flatten().map(|entry| entry.path());
    let mut sockets: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "sock"))
        // A killed server leaves its file.
        .filter(|path| UnixStream::connect(path).is_ok())
        .collect();
    sockets.sort();
    match sockets.as_slice() {
        [] => Err(Failure::usage(
            "no server with a control socket runs here; name the socket with --socket",
        )),
        [one] => Ok(one.clone()),
        several => {
            let names = several.iter().map(|path| path.display().to_string());
            let names = names.collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!(
                "several servers run here; choose one with --socket: {names}"
            )))
        }
    }
}

/// The lines of a response.
struct Response {
    lines: io::Lines<BufReader<UnixStream>>,
}

impl Response {
    fn ask(path: &Path, question: &str) -> Result<Self, Failure> {
        let mut stream = UnixStream::connect(path)
            .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
        let ask = || -> io::Result<()> {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            writeln!(stream, "{question}")
        };
        let mut ask = ask;
        ask().map_err(|why| Failure::run(format!("{}: {why}", path.display())))?;
        Ok(Self {
            lines: BufReader::new(stream).lines(),
        })
    }

    fn line(&mut self) -> Result<String, Failure> {
        match self.lines.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(why)) => Err(Failure::run(format!("the server does not response: {why}"))),
            None => Err(Failure::run("the response of the server is incomplete")),
        }
    }

    /// The next line, which must not be the last one.
    fn next<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, Failure> {
        let line = self.line()?;
        if let Some(ends) = ends(&line) {
            return Err(Failure::run(ends.error.unwrap_or_default()));
        }
        serde_json::from_str(&line).map_err(unreadable)
    }

    /// Reads the remaining lines, which have no meaning here.
    fn skip_all(self) -> Result<(), Failure> {
        self.rest(|_| Ok(ControlFlow::Continue(())))
    }

    /// Calls `each` for the remaining lines, until it breaks.
    fn rest(
        mut self,
        mut each: impl FnMut(&str) -> Result<ControlFlow<()>, Failure>,
    ) -> Result<(), Failure> {
        loop {
            let line = self.line()?;
            match ends(&line) {
                None => {
                    if each(&line)?.is_break() {
                        return Ok(());
                    }
                }
                Some(Ends { error: None, .. }) => return Ok(()),
                Some(Ends {
                    error: Some(why), ..
                }) => return Err(Failure::run(why)),
            }
        }
    }
}

/// The last line of a response; `None` for other lines.
fn ends(line: &str) -> Option<Ends> {
    if !line.starts_with("{\"end\"") {
        return None;
    }
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_only_server_need_not_be_named() {
        let dir = std::env::temp_dir().join(format!("hioload-ask-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let dirs = [dir.join("not-there"), dir.clone()];
        let none = socket(None, &dirs).expect_err("no server");
        assert!(none.to_string().contains("no server"), "{none}");
        let _one = UnixListener::bind(dir.join("9001.sock")).expect("a socket");
        drop(UnixListener::bind(dir.join("8000.sock")).expect("a socket"));
        assert_eq!(
            socket(None, &dirs).expect("one server"),
            dir.join("9001.sock")
        );
        let _two = UnixListener::bind(dir.join("9002.sock")).expect("a socket");
        let why = socket(None, &dirs).expect_err("two servers").to_string();
        assert!(
            why.contains("9001.sock") && why.contains("9002.sock"),
            "{why}"
        );
        let named = Path::new("/x/y.sock");
        assert_eq!(socket(Some(named), &dirs).expect("named"), named);
        std::fs::remove_dir_all(&dir).expect("the directory");
    }

    #[test]
    fn the_last_line_is_recognized() {
        assert_eq!(ends(r#"{"lcore":0,"error":"x"}"#), None);
        let end = ends(r#"{"end":true}"#).expect("the end");
        assert!(end.end && end.error.is_none());
        let error = ends(r#"{"end":false,"error":"no"}"#).expect("the end");
        assert_eq!(error.error.as_deref(), Some("no"));
    }

    #[test]
    fn connections_of_the_kernel_are_found_by_port() {
        let start = Start {
            transport: "sockets".into(),
            lcores: 1,
            listen: vec!["127.0.0.1:80".into(), "unix:/x".into(), "[::1]:81".into()],
        };
        assert!(kernels(&start).contains("ss -ti 'sport = :80 or sport = :81'"));
    }
}
