//! The handle that turns taps on and off.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hioload_lcore::Clock;

use super::writer::Writer;
use super::{Core, Source, TapOptions, TapReport};

/// Turns taps on and off. Clones are handles to the same switch. The drop of the last handle ends a running capture.
#[derive(Clone)]
pub struct TapSwitch(Arc<Control>);

struct Control {
    core: Arc<Core>,
    /// Taps that the writer has not taken yet.
    waiting: Arc<Mutex<Vec<Source>>>,
    running: Mutex<Option<JoinHandle<io::Result<TapReport>>>>,
    captures: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The protected data is consistent at every point at which a thread can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TapSwitch {
    /// A switch without taps, off.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Control {
            core: Arc::new(Core {
                state: AtomicU64::new(0),
            }),
            waiting: Arc::default(),
            running: Mutex::new(None),
            captures: AtomicU64::new(0),
        }))
    }

    /// Adds a tap, which takes part in a running capture from now on.
    pub(super) fn register(&self, source: Source) -> Arc<Core> {
        lock(&self.0.waiting).push(source);
        Arc::clone(&self.0.core)
    }

    /// Starts a capture to a new file.
    ///
    /// # Errors
    /// `AlreadyExists` if the file exists, the errors of creating it, and those of [`start`](Self::start).
    pub fn start_file(&self, path: &Path, options: &TapOptions) -> io::Result<()> {
        // Checked before the file is created, so that an error leaves no file behind.
        if lock(&self.0.running).is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut open = OpenOptions::new();
        open.write(true).create_new(true);
        // Captured traffic is confidential: only the owner may read it.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        self.start(open.open(path)?, options)
    }

    /// Starts a capture to `out`, which a thread of its own writes.
    ///
    /// # Errors
    /// `ResourceBusy` if a capture has not been stopped, `InvalidInput` for a snap length of 0, and the errors of starting a thread.
    pub fn start(&self, out: impl Write + Send + 'static, options: &TapOptions) -> io::Result<()> {
        let mut running = lock(&self.0.running);
        if running.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if options.snaplen == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The number is never 0, and differs from that of the previous capture.
        let number = self.0.captures.fetch_add(1, Ordering::Relaxed) as u32 | 1 << 31;
        let state = u64::from(number) << 32 | u64::from(options.snaplen);
        let start = Clock::new().now();
        let epoch = options.epoch.map_or_else(
            || nanos(SystemTime::now()).saturating_sub(start.as_nanos()),
            nanos,
        );
        let core = Arc::clone(&self.0.core);
        let waiting = Arc::clone(&self.0.waiting);
        let options = *options;
        let work = move || {
            let mut writer = Writer::new(Box::new(out), &core, number, &options, epoch);
            let end = writer.run(&waiting);
            // The taps must stop, whatever ended the writer.
            let _ = core
                .state
                .compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
            lock(&waiting).extend(writer.into_sources());
            end
        };
        // The switch is on before the thread runs, because the thread ends when it finds the switch off.
        self.0.core.state.store(state, Ordering::Relaxed);
        let thread = thread::Builder::new().name("pcap".into()).spawn(work);
        if thread.is_err() {
            self.0.core.state.store(0, Ordering::Relaxed);
        }
        *running = Some(thread?);
        Ok(())
    }

    /// Whether a capture is running. A capture turns itself off at its limit, and when it cannot write.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.core.state.load(Ordering::Relaxed) != 0
    }

    /// Ends the capture. The records in the rings are written to the file, followed by the statistics; the call waits for that.
    /// Returns `None` if there was no capture.
    ///
    /// # Errors
    /// The error of writing the file.
    pub fn stop(&self) -> io::Result<Option<TapReport>> {
        self.0.stop()
    }
}

impl Control {
    fn stop(&self) -> io::Result<Option<TapReport>> {
        // The lock is held until the thread has ended, so that the next capture cannot start before.
        let mut running = lock(&self.running);
        let Some(thread) = running.take() else {
            return Ok(None);
        };
        self.core.state.store(0, Ordering::Relaxed);
        thread.thread().unpark();
        match thread.join() {
            Ok(report) => report.map(Some),
            Err(_) => Err(io::Error::other("the capture's thread panicked")),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // There is no caller to return the error to.
        let _ = self.stop();
    }
}

impl Default for TapSwitch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TapSwitch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TapSwitch")
            .field("on", &self.is_on())
            .finish_non_exhaustive()
    }
}

/// Nanoseconds since 1970.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
