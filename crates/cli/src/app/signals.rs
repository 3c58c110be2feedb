//! SIGTERM and SIGINT: the first drains, the second stops.

use std::io;

use hioload_ws::Remote;

/// What a signal asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Drain,
    Stop,
}

/// The request of the `n`th signal, from 0.
fn request(n: usize) -> Request {
    if n == 0 {
        Request::Drain
    } else {
        Request::Stop
    }
}

/// Signals that are caught from now on. [`Signals::obey`] acts on them.
pub(super) struct Signals(Source);

impl Signals {
    /// Catches the signals.
    ///
    /// # Errors
    /// The operating system refused.
    pub(super) fn catch() -> io::Result<Self> {
        Source::new().map(Self)
    }

    /// Starts a thread that calls `f` for each signal.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn each(self, mut f: impl FnMut() + Send + 'static) -> io::Result<()> {
        let Self(source) = self;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || source.each(|_| f()))?;
        Ok(())
    }

    /// Starts a thread that drains or stops the server.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn obey<E: Send + 'static>(self, remote: Remote<E>) -> io::Result<()> {
        let Self(source) = self;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                source.each(|n| match request(n) {
                    Request::Drain => {
                        tracing::info!("draining; a second signal stops at once");
                        remote.drain();
                    }
                    Request::Stop => {
                        tracing::info!("stopping");
                        remote.stop_now();
                    }
                });
            })?;
        Ok(())
    }
}

#[cfg(unix)]
struct Source(signal_hook::iterator::Signals);

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map(Self)
    }

    fn each(mut self, mut f: impl FnMut(usize)) {
        for (n, _) in self.0.forever().enumerate() {
            f(n);
        }
    }
}

/// Where a signal cannot wake a thread, a thread polls for it.
#[cfg(not(unix))]
struct Source(std::sync::Arc<std::sync::atomic::AtomicBool>);

#[cfg(not(unix))]
impl Source {
    fn new() -> io::Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let flag = std::sync::Arc::default();
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, std::sync::Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    fn each(self, mut f: impl FnMut(usize)) {
        let mut n = 0;
        loop {
            std::thread::sleep(std::time::Duration::from_millis(100));
            if self.0.swap(false, std::sync::atomic::Ordering::SeqCst) {
                f(n);
                n += 1;
            }
        }
    }
}
