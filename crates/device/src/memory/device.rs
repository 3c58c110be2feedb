//! One end of a pair, open.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use hioload_mem::frames::{Frame, FramePool, RxMark, TxMark};
use rtrb::chunks::ChunkError;

use super::{Lines, Token};
use crate::{Burst, Capabilities, Device, DeviceStats, Waker, checksum};

/// One end of a memory pair. It stays on the thread that opened it.
pub struct MemoryDevice {
    pub(super) pool: FramePool,
    pub(super) lines: Lines,
    pub(super) capabilities: Capabilities,
    /// The longest frame, in bytes.
    pub(super) longest: usize,
    /// The other end takes frames without their sum.
    pub(super) far_rx_checksum: bool,
    pub(super) stats: DeviceStats,
    /// Chunks that came (received or given back) less those that went. Positive: the other end has so many fewer.
    pub(super) surplus: isize,
    /// The surplus that is worth giving back.
    pub(super) batch: isize,
    /// Free chunks that are kept for sending whatever the surplus.
    pub(super) reserve: usize,
    /// `alloc` had nothing since the last `wait`.
    pub(super) short: bool,
    /// `tx_burst` left frames behind since the last `wait`.
    pub(super) full: bool,
    /// Frames were taken or chunks given back since the other end was last fed.
    pub(super) made_room: bool,
    /// A `wait` has returned because the other end is gone.
    pub(super) told_gone: bool,
}

impl MemoryDevice {
    /// Its free chunks, for tests that account for each.
    #[must_use]
    pub fn pool(&self) -> &FramePool {
        &self.pool
    }

    /// Whether the other end is still there. What it sent before it went can be received in any case.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        !self.lines.far.gone.load(Ordering::Acquire)
    }

    /// Takes the chunks that the other end has given back, and gives back what it is owed, down to the last one. What a `wait`
    /// does before it sleeps.
    pub fn settle(&mut self) {
        self.collect();
        self.give_back(1);
        self.feed();
    }

    /// Takes the chunks that were given back.
    fn collect(&mut self) -> usize {
        let there = self.lines.back.slots();
        if there == 0 {
            return 0;
        }
        if let Ok(chunks) = self.lines.back.read_chunk(there) {
            for chunk in chunks {
                self.pool.put(chunk);
            }
        }
        self.surplus += there as isize;
        there
    }

    /// Gives back the surplus if it is at least `least`, as far as there are free chunks beyond the reserve.
    fn give_back(&mut self, least: isize) {
        if self.surplus < least {
            return;
        }
        let free = self.pool.available().saturating_sub(self.reserve);
        self.give((self.surplus as usize).min(free));
    }

    fn give(&mut self, chunks: usize) {
        if chunks == 0 {
            return;
        }
        // There is room for all chunks of the arena.
        if let Ok(room) = self.lines.give.write_chunk_uninit(chunks) {
            let pool = &self.pool;
            let given = room.fill_from_iter((0..chunks).map_while(|_| pool.take()));
            self.surplus -= given as isize;
            self.made_room = true;
        }
    }

    /// Wakes the other end if it waits for chunks or room and may find some. The look at its flag is not ordered after what
    /// was done for it: this is called in each turn, and in `wait` after the fence of `announce`, so it is seen in the end.
    fn feed(&mut self) {
        let far = &self.lines.far;
        if self.made_room && far.hungry.load(Ordering::Relaxed) {
            self.made_room = false;
            far.hungry.store(false, Ordering::Relaxed);
            self.stats.kicks += u64::from(far.bell.ring());
        }
    }

    /// Whether there is nothing to be awake for; `short` and `full` as they were before this `wait`. To be asked after
    /// `announce`.
    fn may_sleep(&mut self, short: bool, full: bool) -> bool {
        let gone = !self.is_connected();
        let news = gone && !self.told_gone;
        self.told_gone |= gone;
        // Acquire, with the release in `waker`.
        let woken = self.lines.here.woken.swap(false, Ordering::Acquire);
        let fed = (short && !self.lines.back.is_empty()) || (full && !self.lines.tx.is_full());
        self.lines.rx.is_empty() && !woken && !fed && !news
    }
}

impl Device for MemoryDevice {
    type Frame = Frame;

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    fn rx_burst(&mut self, burst: &mut Burst<Frame>) -> usize {
        // Before receiving: whatever the last turn received has by now been answered or dropped, so the surplus is one.
        self.collect();
        self.give_back(self.batch);
        self.feed();

        let wanted = burst.remaining_capacity();
        let tokens = match self.lines.rx.read_chunk(wanted) {
            Err(ChunkError::TooFewSlots(0)) => return 0,
            Err(ChunkError::TooFewSlots(there)) => self.lines.rx.read_chunk(there),
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
        self.made_room |= taken > 0;
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
        let room = match self.lines.tx.write_chunk_uninit(offered) {
            Err(ChunkError::TooFewSlots(there)) => self.lines.tx.write_chunk_uninit(there),
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
            // Not `filter_map`: its closure would not be inlined, and this is half of what a frame costs.
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
            self.stats.kicks += u64::from(self.lines.far.bell.ring());
        }
        taken
    }

    #[inline]
    fn alloc(&mut self) -> Option<Frame> {
        if let Some(frame) = self.pool.alloc() {
            return Some(frame);
        }
        let frame = match self.collect() {
            0 => None,
            _ => self.pool.alloc(),
        };
        self.short |= frame.is_none();
        frame
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.settle();
        let (short, full) = (self.short, self.full);
        (self.short, self.full) = (false, false);
        if timeout == Some(Duration::ZERO) {
            return Ok(());
        }
        // Relaxed: ordered by the fence in `announce`.
        self.lines
            .here
            .hungry
            .store(short || full, Ordering::Relaxed);
        self.lines.here.bell.announce();
        // Again, now that it cannot miss an end that went to sleep in between.
        self.feed();
        if self.may_sleep(short, full) {
            match timeout {
                None => thread::park(),
                Some(timeout) => thread::park_timeout(timeout),
            }
            // If that was the waker, it has had its effect.
            self.lines.here.woken.store(false, Ordering::Relaxed);
        }
        self.lines.here.bell.awake();
        self.lines.here.hungry.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn waker(&self) -> Waker {
        let side = Arc::clone(&self.lines.here);
        Arc::new(move || {
            side.woken.store(true, Ordering::Release);
            side.bell.ring();
        })
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// What happens to a frame between the ends.
struct Wire {
    longest: usize,
    fills: bool,
    far_vouches: bool,
}

impl Wire {
    /// The frame as it goes into the ring; `None` if it is lost.
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

    /// Completes the checksum, or vouches for it; `None` if it is not within the frame. Who asks a device for what it does not
    /// offer does not come here and gets what a NIC would give him: a bad sum.
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
    /// The other end gets its share of the chunks back, as far as they are not in frames that are still about.
    fn drop(&mut self) {
        self.collect();
        let unread = self.lines.rx.slots();
        if let Ok(tokens) = self.lines.rx.read_chunk(unread) {
            for token in tokens {
                self.pool.put(token.chunk);
            }
            self.surplus += unread as isize;
        }
        let owed = usize::try_from(self.surplus).unwrap_or(0);
        self.give(owed.min(self.pool.available()));
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
