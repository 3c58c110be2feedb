//! The standard streams. All text of the command is written here, so that a stream that is closed, full, or not read is handled in one
//! place:
//!
//! * A stream that is closed when the process starts is `/dev/null`: the Rust runtime opens that before `main`, so no socket gets the
//!   number of a standard stream. The runtime also ignores SIGPIPE.
//! * Standard error, for log records and messages, is written by a thread from a bounded queue. A reader that stalls costs records,
//!   which are counted, and never stops an lcore. The same holds for a reader that is gone and for a full disk.
//! * Standard output, for results, is written by the caller, who waits for the reader. A reader that is gone has seen enough, which is
//!   no error. A result that cannot be written for another reason is one.

mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};
use std::ops::ControlFlow;
use std::panic::PanicHookInfo;
use std::thread;
use std::time::{Duration, Instant};

use self::queue::Queue;
use crate::Failure;

/// Time for the readers to take the last lines when the process ends.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Time between two attempts to write to a stream that does not block and takes nothing.
const RETRY: Duration = Duration::from_millis(5);

static ERRORS: Queue = Queue::new("stderr", |bytes| write_all(&mut io::stderr(), bytes));
static ANNOUNCEMENTS: Queue = Queue::new("stdout", write_stdout);

/// Sends panic messages and the ends of other signals here: to be called first in `main`.
pub(crate) fn init() {
    std::panic::set_hook(Box::new(on_panic));
    // Beyond `ulimit -f` a write then fails, as on a full disk, and the signal does not end the process.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(
        signal_hook::consts::SIGXFSZ,
        std::sync::Arc::<std::sync::atomic::AtomicBool>::default(),
    );
}

/// Waits until the readers have taken what was written, for at most one second.
pub(crate) fn flush() {
    let until = Instant::now() + LAST_LINES;
    ERRORS.flush(until);
    ANNOUNCEMENTS.flush(until);
}

/// Lines for standard error that are lost: the reader is gone or too slow, or the disk is full.
pub(crate) fn lost() -> u64 {
    ERRORS.lost()
}

/// A line or several to standard error. It never blocks and never fails.
pub(crate) fn note(text: impl std::fmt::Display) {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    ERRORS.push(text.as_bytes());
}

/// A line to standard output that must not delay the caller. It never blocks and never fails.
pub(crate) fn announce(line: &str) {
    ANNOUNCEMENTS.push(format!("{line}\n").as_bytes());
}

/// Text for people to standard output. A failure to write it is a line on standard error.
pub(crate) fn say(text: &str) {
    if let Err(failure) = result(text) {
        note(format_args!("hioload: {failure}"));
    }
}

/// The result that was asked for, to standard output.
///
/// # Errors
/// Code 1: it cannot be written, for another reason than that its reader is gone.
pub(crate) fn result(text: &str) -> Result<(), Failure> {
    // Where both streams are one file, lines keep their order.
    ERRORS.flush(Instant::now() + LAST_LINES);
    judge(write_stdout(text.as_bytes())).map(drop)
}

/// A result of many lines, to standard output.
pub(crate) struct Lines(BufWriter<StdoutLock<'static>>);

impl Lines {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes a line. `Break`: the reader is gone.
    ///
    /// # Errors
    /// Code 1: it cannot be written.
    pub(crate) fn line(&mut self, line: &str) -> Result<ControlFlow<()>, Failure> {
        let out = &mut self.0;
        judge(write_all(out, line.as_bytes()).and_then(|()| write_all(out, b"\n")))
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// Code 1: it cannot be written.
    pub(crate) fn end(mut self) -> Result<(), Failure> {
        judge(flush_all(&mut self.0)).map(drop)
    }
}

fn judge(written: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
    match written {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(why) => Err(Failure::run(why).in_context("cannot write to standard output")),
    }
}

fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write_all(&mut out, bytes)?;
    flush_all(&mut out)
}

/// As `write_all`, also for a stream that another process has made non-blocking.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match patiently(out.write(bytes))? {
            Some(0) => return Err(ErrorKind::WriteZero.into()),
            Some(n) => bytes = &bytes[n..],
            None => {}
        }
    }
    Ok(())
}

fn flush_all(out: &mut impl Write) -> io::Result<()> {
    while patiently(out.flush())?.is_none() {}
    Ok(())
}

/// `None`: the call is to be made again.
fn patiently<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(why) if why.kind() == ErrorKind::Interrupted => Ok(None),
        Err(why) if why.kind() == ErrorKind::WouldBlock => {
            thread::sleep(RETRY);
            Ok(None)
        }
        outcome => outcome.map(Some),
    }
}

/// The writer of log records: one call of `write` is one record.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        ERRORS.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The message of the default hook, which would block an lcore on a stream that is not read.
fn on_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let mut text = format!("thread '{name}' {info}\n");
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        text.push_str(&trace.to_string());
    }
    note(text);
    if name == "main" {
        flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with these, one for each call.
    struct Scripted(Vec<io::Result<usize>>, Vec<u8>);

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = self.0.remove(0)?;
            self.1.extend(&bytes[..n]);
            Ok(n)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_that_does_not_block_gets_all_of_it() {
        let answers = vec![
            Err(ErrorKind::WouldBlock.into()),
            Ok(2),
            Err(ErrorKind::Interrupted.into()),
            Ok(1),
        ];
        let mut stream = Scripted(answers, Vec::new());
        write_all(&mut stream, b"abc").expect("all of it");
        assert_eq!(stream.1, b"abc");
        let mut gone = Scripted(vec![Ok(1), Err(ErrorKind::BrokenPipe.into())], Vec::new());
        let why = write_all(&mut gone, b"abc").expect_err("gone");
        assert!(judge(Err(why)).is_ok_and(|flow| flow.is_break()));
        let full = judge(Err(ErrorKind::StorageFull.into())).expect_err("full");
        assert_eq!(full.code(), 1);
    }
}
