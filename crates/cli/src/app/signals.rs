//! SIGTERM and SIGINT: the first drains, the second stops.

use std::io;

use hioload_ws::Remote;

/// What came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    Drain,
    Stop,
}

/// The order that the `n`th signal (from 0) stands for.
fn order(n: usize) -> Order {
    if n == 0 { Order::Drain } else { Order::Stop }
}

/// Signals caught from here on; what they order is done once [`Signals::obey`] is called.
pub(super) struct Signals(Source);

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn catch() -> io::Result<Self> {
        Source::new().map(Self)
    }

    /// Starts a thread that calls `f` for each.
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

    /// Starts a thread that passes them on to the server.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(super) fn obey<E: Send + 'static>(self, remote: Remote<E>) -> io::Result<()> {
        let Self(source) = self;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                source.each(|n| match order(n) {
                    Order::Drain => {
                        tracing::info!("draining; a second signal stops at once");
                        remote.drain();
                    }
                    Order::Stop => {
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

/// Where signals cannot wake a thread, a thread looks for them.
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
