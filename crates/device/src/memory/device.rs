//! An open end of a pair.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hioload_mem::frames::{Frame, FramePool, RxMark, TxMark};
use rtrb::chunks::ChunkError;

use super::{Rings, Token};
use crate::{Burst, Capabilities, Device, DeviceStats, Waker, checksum};

/// An open end of a memory pair. It stays on the thread that opened it.
pub struct MemoryDevice {
    pub(super) pool: FramePool,
    pub(super) rings: Rings,
    pub(super) capabilities: Capabilities,
    /// The longest frame, in bytes.
    pub(super) longest: usize,
    /// The other end accepts frames with unfinished checksums.
    pub(super) far_rx_checksum: bool,
    pub(super) stats: DeviceStats,
    /// The number of chunks received or returned, minus the number sent: the other end has that many fewer than at the start.
    pub(super) surplus: isize,
    /// The smallest surplus that is returned.
    pub(super) batch: isize,
    /// The number of free chunks that are kept for sending, whatever the surplus.
    pub(super) reserve: usize,
    /// `alloc` has failed since the last `wait`.
    pub(super) alloc_failed: bool,
    /// `tx_burst` left frames behind since the last `wait`.
    pub(super) full: bool,
    /// Frames were received or chunks returned since the other end was last woken.
    pub(super) freed: bool,
    /// A `wait` has returned because the other end was dropped.
    pub(super) gone_reported: bool,
}

impl MemoryDevice {
    /// The free chunks, for tests that account for each of them.
    #[must_use]
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }

    /// Whether the other end still exists. Frames that it sent before it was dropped can still be received.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.rings.far.gone.load(Ordering::Acquire)
    }

    /// Takes the chunks that the other end has returned, and returns the whole surplus to it. `wait` does this before it sleeps.
    pub fn settle(&mut self) {
        self.take_returned();
        self.return_surplus(1);
        self.wake_starved();
    }

    /// Takes the chunks that the other end has returned.
    fn take_returned(&mut self) -> usize {
        let there = self.rings.returned.slots();
        if there == 0 {
            return 0;
        }
        if let Ok(chunks) = self.rings.returned.read_chunk(there) {
            for chunk in chunks {
                self.pool.put(chunk);
            }
        }
        self.surplus += there as isize;
        there
    }

    /// Returns the surplus if it is at least `least`, limited by the free chunks beyond the reserve.
    fn return_surplus(&mut self, least: isize) {
        if self.surplus < least {
            return;
        }
        let free = self.pool.available().saturating_sub(self.reserve);
        self.return_chunks((self.surplus as usize).min(free));
    }

    fn return_chunks(&mut self, chunks: usize) {
        if chunks == 0 {
            return;
        }
        // The ring has room for all chunks of the arena.
        if let Ok(room) = self.rings.returns.write_chunk_uninit(chunks) {
            let pool = &self.pool;
            let given = room.fill_from_iter((0..chunks).map_while(|_| pool.take()));
            self.surplus -= given as isize;
            self.freed = true;
        }
    }

    /// Wakes the other end if it waits for chunks or room, and there may be some. The load of its flag is not ordered after the
    /// changes to the rings. This is called in each turn, and in `wait` after the fence of `announce`, so no wake-up is lost.
    ///
    /// Only its owner writes the flag. A store here could come after the owner has set the flag for its next sleep, and that sleep
    /// would not end.
    fn wake_starved(&mut self) {
        let far = &self.rings.far;
        if self.freed && far.starved.load(Ordering::Relaxed) {
            self.freed = false;
            self.stats.kicks += u64::from(far.bell.ring());
        }
    }

    /// Whether no event keeps this end awake. `alloc_failed` and `full` have their values from before this `wait`. Must be called
    /// after `announce`.
    fn may_sleep(&mut self, alloc_failed: bool, full: bool) -> bool {
        let gone = !self.is_connected();
        let just_gone = gone && !self.gone_reported;
        self.gone_reported |= gone;
        // Acquire, pairs with the release in `waker`.
        let woken = self.rings.own.woken.swap(false, Ordering::Acquire);
        // A chunk that was returned since `alloc` failed may be in the pool already, where no wake-up follows for it.
        let chunks = self.pool.available() > 0 || !self.rings.returned.is_empty();
        let supplied = (alloc_failed && chunks) || (full && !self.rings.tx.is_full());
        self.rings.rx.is_empty() && !woken && !supplied && !just_gone
    }
}

impl Device for MemoryDevice {
    type Frame = Frame;

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn rx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        // Before receiving: the frames of the last turn have been answered or dropped, so the surplus is not in use.
        self.take_returned();
        self.return_surplus(self.batch);
        self.wake_starved();

        let wanted = burst.remaining_capacity();
        let tokens = match self.rings.rx.read_chunk(wanted) {
            Err(ChunkError::TooFewSlots(0)) => return 0,
            Err(ChunkError::TooFewSlots(there)) => self.rings.rx.read_chunk(there),
            tokens => tokens,
        };
        let Ok(tokens) = tokens else { return 0 };
        let taken = tokens.len();
        let (pool, mut bytes) = (&self.pool, 0);
        burst.extend(tokens.into_iter().map(|token| {
            let (start, len) = (token.start as usize, token.len as usize);
            bytes += len;
            pool.frame(token.chunk, start, len, token.mark)
        }));
        self.surplus += taken as isize;
        self.stats.rx_frames += taken as u64;
        self.stats.rx_bytes += bytes as u64;
        self.freed |= taken > 0;
        taken
    }

    fn tx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        if burst.is_empty() {
            return 0;
        }
        let offered = burst.len();
        if !self.is_connected() {
            self.stats.tx_dropped += offered as u64;
            burst.clear();
            return offered;
        }
        let room = match self.rings.tx.write_chunk_uninit(offered) {
            Err(ChunkError::TooFewSlots(there)) => self.rings.tx.write_chunk_uninit(there),
            room => room,
        };
        let taken = room.as_ref().map_or(0, |room| room.len());
        let mut bytes = 0;
        let mut sent = 0;
        if let Ok(room) = room {
            let wire = Wire {
                longest: self.longest,
                fills: self.capabilities.tx_checksum,
                far_vouches: self.far_rx_checksum,
            };
            let mut frames = burst.drain(..taken);
            // A loop instead of `filter_map`, whose closure is not inlined: this is half of the cost of a frame.
            sent = room.fill_from_iter(std::iter::from_fn(|| {
                loop {
                    if let Some(token) = wire.token(frames.next()?) {
                        bytes += u64::from(token.len);
                        return Some(token);
                    }
                }
            }));
        }
        self.surplus -= sent as isize;
        self.stats.tx_frames += sent as u64;
        self.stats.tx_bytes += bytes;
        self.stats.tx_dropped += (taken - sent) as u64;
        if taken < offered {
            self.stats.tx_full += 1;
            self.full = true;
        }
        if sent > 0 {
            self.stats.kicks += u64::from(self.rings.far.bell.ring());
        }
        taken
    }

    #[inline]
    fn alloc(&mut self) -> Option<Frame> {
        if let Some(frame) = self.pool.alloc() {
            return Some(frame);
        }
        let frame = match self.take_returned() {
            0 => None,
            _ => self.pool.alloc(),
        };
        self.alloc_failed |= frame.is_none();
        frame
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.settle();
        let (alloc_failed, full) = (self.alloc_failed, self.full);
        (self.alloc_failed, self.full) = (false, false);
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        // Relaxed: the fence in `announce` orders it.
        self.rings
            .own
            .starved
            .store(alloc_failed || full, Ordering::Relaxed);
        self.rings.own.bell.announce();
        // Once more after the fence, because the other end may have gone to sleep since the first call.
        self.wake_starved();
        if self.may_sleep(alloc_failed, full) {
            match timeout {
                None => thread::park(),
                Some(timeout) => thread::park_timeout(timeout),
            }
            // A use of the waker until now has had its effect.
            self.rings.own.woken.store(false, Ordering::Relaxed);
        }
        self.rings.own.bell.awake();
        self.rings.own.starved.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn waker(&self) -> Waker {
        let side = Arc::clone(&self.rings.own);
        Arc::new(move || {
            side.woken.store(true, Ordering::Release);
            side.bell.ring();
        })
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// The path of a frame from one end to the other.
struct Wire {
    longest: usize,
    fills: bool,
    far_vouches: bool,
}

impl Wire {
    /// The token of a frame; `None` if the frame is dropped.
    #[inline(always)]
    fn token(&self, mut frame: Frame) -> Option<Token> {
        if frame.len() > self.longest {
            return None;
        }
        let mut mark = RxMark::None;
        if frame.tx_mark().offset != 0 && self.fills {
            mark = self.checksum(&mut frame)?;
        }
        let parts = frame.into_parts();
        Some(Token {
            chunk: parts.chunk,
            start: parts.start as u16,
            len: parts.len as u16,
            mark,
        })
    }

    /// Completes the checksum, or marks it as good; `None` if the field is not within the frame. Not called for a device that does
    /// not offer checksums: such a request has no effect, and the frame has a bad checksum, as with a NIC.
    #[inline(never)]
    fn checksum(&self, frame: &mut Frame) -> Option<RxMark> {
        let TxMark { start, offset } = frame.tx_mark();
        if self.far_vouches {
            let within = start as usize + offset as usize + 2 <= frame.len();
            return within.then_some(RxMark::Good);
        }
        checksum::fill(frame.bytes_mut(), start, offset).then_some(RxMark::None)
    }
}

impl Drop for MemoryDevice {
    /// Returns the other end's chunks, except those in frames that are still in use.
    fn drop(&mut self) {
        self.take_returned();
        let unread = self.rings.rx.slots();
        if let Ok(tokens) = self.rings.rx.read_chunk(unread) {
            for token in tokens {
                self.pool.put(token.chunk);
            }
            self.surplus += unread as isize;
        }
        let owed = usize::try_from(self.surplus).unwrap_or(0);
        self.return_chunks(owed.min(self.pool.available()));
    }
}

impl fmt::Debug for MemoryDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDevice")
            .field("pool", &self.pool)
            .field("surplus", &self.surplus)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
