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
use super::{Core, Source};

/// How to record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TapOptions {
    /// Bytes kept of each frame; at least 1, by default all.
    pub snaplen: u32,
    /// The largest file, in bytes, its end included. At it the capture turns itself off; what was still in the rings is
    /// counted.
    pub max_bytes: Option<u64>,
    /// The time of day at the zero of the taps' clock; `None`: as the system's two clocks say. For virtual time.
    pub epoch: Option<SystemTime>,
}

impl Default for TapOptions {
    fn default() -> Self {
        Self {
            snaplen: 65535,
            max_bytes: None,
            epoch: None,
        }
    }
}

/// What a capture has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TapReport {
    /// Frames in the file.
    pub written: u64,
    /// Frames that a tap's ring had no room for.
    pub dropped: u64,
    /// Frames left out because the file had reached its limit.
    pub over_limit: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Turns taps on and off. Clones are handles to the same switch; when the last is dropped, a running capture is ended.
#[derive(Clone)]
pub struct TapSwitch(Arc<Control>);

struct Control {
    core: Arc<Core>,
    /// Queues that the writer has not taken yet.
    waiting: Arc<Mutex<Vec<Source>>>,
    running: Mutex<Option<JoinHandle<io::Result<TapReport>>>>,
    captures: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind them is whole at every moment at which one can panic.
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

    /// Another queue. If a capture is running, it is part of it from now on.
    pub(super) fn register(&self, source: Source) -> Arc<Core> {
        lock(&self.0.waiting).push(source);
        Arc::clone(&self.0.core)
    }

    /// Begins to record to a new file.
    ///
    /// # Errors
    /// `AlreadyExists` if the file is there, else what the system says, and as [`start`](Self::start).
    pub fn start_file(&self, path: &Path, options: &TapOptions) -> io::Result<()> {
        // Before the file is made: a refusal leaves none behind.
        if lock(&self.0.running).is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut open = OpenOptions::new();
        open.write(true).create_new(true);
        // What passes by is nobody else's business.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        self.start(open.open(path)?, options)
    }

    /// Begins to record to `out`, from a thread of its own.
    ///
    /// # Errors
    /// `ResourceBusy` if a capture has not been stopped, `InvalidInput` for a snap length of 0, or what the system says when
    /// there can be no thread.
    pub fn start(&self, out: impl Write + Send + 'static, options: &TapOptions) -> io::Result<()> {
        let mut running = lock(&self.0.running);
        if running.is_some() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if options.snaplen == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Never 0, and not that of the capture before.
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
            // Whatever ended it, the taps need not go on.
            let _ = core
                .state
                .compare_exchange(state, 0, Ordering::Relaxed, Ordering::Relaxed);
            lock(&waiting).extend(writer.into_sources());
            end
        };
        // On before the thread runs: it ends when it finds the switch off.
        self.0.core.state.store(state, Ordering::Relaxed);
        let thread = thread::Builder::new().name("pcap".into()).spawn(work);
        if thread.is_err() {
            self.0.core.state.store(0, Ordering::Relaxed);
        }
        *running = Some(thread?);
        Ok(())
    }

    /// Whether frames are being recorded. A capture turns itself off at its limit and when it cannot write.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.core.state.load(Ordering::Relaxed) != 0
    }

    /// Ends the capture: what the taps have handed over is written, then the statistics. `None` if there was none. Waits for
    /// the file.
    ///
    /// # Errors
    /// What the system said when it could not write.
    pub fn stop(&self) -> io::Result<Option<TapReport>> {
        self.0.stop()
    }
}

impl Control {
    fn stop(&self) -> io::Result<Option<TapReport>> {
        // Held until it has ended: the next capture cannot begin before.
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
        // Nobody is left to be told.
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
