//! Signals. SIGTERM and SIGINT: the first drains, the second stops, the third ends the process. SIGHUP never ends a server.

use std::io;
use std::process;

use hioload_ws::Remote;

use crate::streams;

/// A signal that was caught.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caught {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP: the terminal is gone, or an operator asks for a reload.
    Hangup,
}

/// What a signal asks a server for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Drain,
    Stop,
    Exit,
}

/// The request of the `n`th signal that ends, from 0.
fn request(n: usize) -> Request {
    match n {
        0 => Request::Drain,
        1 => Request::Stop,
        _ => Request::Exit,
    }
}

/// Signals that are caught from now on. [`Signals::obey`] acts on them.
pub(super) struct Signals(Source);

impl Signals {
    /// Catches SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    /// The operating system refused.
    pub(super) fn catch() -> io::Result<Self> {
        Source::new().map(Self)
    }

    /// Starts a thread that calls `f` for each signal that asks this process to end. A hangup does so, unless the process was
    /// started to survive it (nohup).
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn each(self, mut f: impl FnMut() + Send + 'static) -> io::Result<()> {
        let Self(source) = self;
        let survives = source.survives_hangup;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                source.each(|caught| match caught {
                    Caught::Hangup if survives => {}
                    Caught::End | Caught::Hangup => f(),
                });
            })?;
        Ok(())
    }

    /// Starts a thread that drains or stops the server; `on_drain` is called when the drain has begun, and `on_hangup` for each SIGHUP.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn obey<E: Send + 'static>(
        self,
        remote: Remote<E>,
        mut on_drain: impl FnMut() + Send + 'static,
        on_hangup: impl Fn() + Send + 'static,
    ) -> io::Result<()> {
        let Self(source) = self;
        let mut ends = 0;
        // It acts before it reports: nothing that happens to the report may keep the server from ending.
        let mut obey = move |caught| match caught {
            Caught::Hangup => on_hangup(),
            Caught::End => {
                let request = request(ends);
                ends += 1;
                match request {
                    Request::Drain => {
                        remote.drain();
                        on_drain();
                        tracing::info!("draining; a second signal stops at once");
                    }
                    Request::Stop => {
                        remote.stop_now();
                        tracing::info!("stopping; a third signal ends the process");
                    }
                    // An lcore that does not finish its turn has not stopped.
                    Request::Exit => {
                        streams::note("hioload: ended by a third signal");
                        streams::flush();
                        process::exit(1);
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || source.each(&mut obey))?;
        Ok(())
    }
}

#[cfg(unix)]
struct Source {
    signals: signal_hook::iterator::Signals,
    /// SIGHUP was ignored when the process started.
    survives_hangup: bool,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let survives_hangup = is_ignored(SIGHUP);
        let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        Ok(Self {
            signals,
            survives_hangup,
        })
    }

    fn each(mut self, mut f: impl FnMut(Caught)) {
        for signal in self.signals.forever() {
            f(match signal {
                signal_hook::consts::SIGHUP => Caught::Hangup,
                _ => Caught::End,
            });
        }
    }
}

/// Whether the process ignores a signal, as `nohup` has it ignore SIGHUP. Linux alone says so without unsafe code.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    ignored(&status) & 1 << (signal - 1) != 0
}

/// The mask of ignored signals in `/proc/PID/status`.
#[cfg(unix)]
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

/// Where a signal cannot wake a thread, a thread polls for it. There is no SIGHUP.
#[cfg(not(unix))]
struct Source {
    flag: std::sync::Arc<std::sync::atomic::AtomicBool>,
    survives_hangup: bool,
}

#[cfg(not(unix))]
impl Source {
    fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let flag = std::sync::Arc::default();
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, std::sync::Arc::clone(&flag))?;
        }
        Ok(Self {
            flag,
            survives_hangup: false,
        })
    }

    fn each(self, mut f: impl FnMut(Caught)) {
        loop {
            std::thread::sleep(std::time::Duration::from_millis(100));
            if self.flag.swap(false, std::sync::atomic::Ordering::SeqCst) {
                f(Caught::End);
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        let status =
            "Name:\thioload\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert_eq!(ignored(status), 0x1001);
        assert_eq!(ignored(""), 0);
    }
}
