//! Unsent bytes of one connection: written bytes in chunks of a pool and shared payloads by reference, in order.
//!
//! Written bytes are one stream over the chunks, whatever shared payloads lie between them: a small reply after a shared
//! payload continues in the same chunk. So the number of chunks is bounded by the number of bytes.

use std::collections::VecDeque;
use std::io::IoSlice;

use hioload_mem::{Buf, LocalShared, Pool};

use crate::SendError;

/// Space for at least this many bytes is lent in one piece, so that a frame header is never split.
const CONTIGUOUS: usize = 256;
/// A shared payload of fewer bytes is copied: another slice in a gathered write costs about as much.
const COPY_BELOW: usize = 512;
/// Shared payloads that a queue may hold besides one for each [`BYTES_PER_SHARED`] bytes of its bound: a segment uses memory
/// even if its payload is one byte long.
const SHARED_FREE: usize = 64;
const BYTES_PER_SHARED: usize = 64;
/// Chunks that a queue may have whatever the others hold, as long as the pool has one: enough for a few replies.
const SMALL: usize = 4;
/// This fraction (1 / N) of the pool's chunks is reserved for queues of at most [`SMALL`] chunks whose connections are not blocked.
/// Peers that do not read may hold the others for as long as they like, and connections whose peers read are still answered.
const RESERVED: usize = 4;
/// A recycled queue keeps tables of at most this many entries.
const KEEP_ENTRIES: usize = 64;

/// Pool memory with unsent bytes at `start..end`.
struct Chunk {
    buf: Buf,
    start: usize,
    end: usize,
}

enum Segment {
    /// The number of bytes of the chunk stream.
    Written(usize),
    /// A payload whose first `sent` bytes have been sent.
    Shared {
        payload: LocalShared,
        sent: usize,
        droppable: bool,
    },
}

impl Segment {
    /// Bytes that have not been sent.
    fn len(&self) -> usize {
        match self {
            Self::Written(len) => *len,
            Self::Shared { payload, sent, .. } => payload.len() - sent,
        }
    }
}

/// The queue of one connection. Exists only while there is something to send.
#[derive(Default)]
pub(crate) struct SendQueue {
    segments: VecDeque<Segment>,
    chunks: VecDeque<Chunk>,
    bytes: usize,
    shared: usize,
    lent: usize,
    /// Its connection is blocked.
    blocked: bool,
    /// Bytes at the front that lie before the mark.
    before_mark: usize,
}

/// The least number of bytes that is lent in one piece.
fn contiguous(pool: &Pool) -> usize {
    CONTIGUOUS.min(pool.buffer_size() / 4).max(1)
}

/// Bytes that a queue is sure to take, with `bytes` queued, `tail` bytes left in its last chunk and `chunks` more available.
fn room(pool: &Pool, bound: usize, bytes: usize, tail: usize, chunks: usize) -> usize {
    // In each chunk, the present one too, up to `contiguous` - 1 bytes may stay unused.
    let unused = contiguous(pool) - 1;
    let free = chunks.saturating_mul(pool.buffer_size() - unused);
    bound
        .saturating_sub(bytes)
        .min(free.saturating_add(tail.saturating_sub(unused)))
}

/// Chunks that a queue with `held` chunks may still take from the pool.
///
/// Beyond [`SMALL`] chunks and outside of the reserve, a queue may have half as many as are left when it takes one. So a single queue
/// may have a quarter of the pool, many have an equal part of it, and there is always some left for one more.
fn chunks_for(pool: &Pool, held: usize, blocked: bool) -> usize {
    let (left, reserve) = (pool.available(), pool.capacity() / RESERVED);
    let open = left.saturating_sub(reserve);
    let small = SMALL
        .saturating_sub(held)
        .min(if blocked { open } else { left });
    let held = held + small;
    if held < SMALL {
        return small;
    }
    // It takes the chunk after `n` more if 2 * (held + n) < open - n.
    let open = (left - small).saturating_sub(reserve);
    small + open.saturating_sub(2 * held).div_ceil(3)
}

/// The room of a connection that has no queue.
pub(crate) fn room_when_empty(pool: &Pool, bound: usize) -> usize {
    room(pool, bound, 0, 0, chunks_for(pool, 0, false))
}

impl SendQueue {
    /// Bytes queued.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    #[inline]
    fn tail(&self) -> usize {
        self.chunks
            .back()
            .map_or(0, |chunk| chunk.buf.len() - chunk.end)
    }

    /// Its connection is blocked, until the queue is empty.
    pub(crate) fn set_blocked(&mut self) {
        self.blocked = true;
    }

    /// Sets the mark at the end of the queue, or `most` bytes from the front if that is nearer.
    pub(crate) fn set_mark(&mut self, most: usize) {
        self.before_mark = self.bytes.min(most);
    }

    /// Bytes before the mark that are still queued.
    pub(crate) fn before_mark(&self) -> usize {
        self.before_mark
    }

    /// Chunks that it may take from the pool.
    fn chunks_left(&self, pool: &Pool) -> usize {
        chunks_for(pool, self.chunks.len(), self.blocked)
    }

    /// Bytes that `space` and `commit` are sure to take, in all.
    pub(crate) fn room(&self, pool: &Pool, bound: usize) -> usize {
        room(pool, bound, self.bytes, self.tail(), self.chunks_left(pool))
    }

    /// Lends the rest of the last chunk, or a new chunk if the rest is less than both `want` and a header's size.
    #[inline]
    pub(crate) fn space(
        &mut self,
        pool: &Pool,
        want: usize,
        bound: usize,
    ) -> Result<&mut [u8], SendError> {
        let room = bound.saturating_sub(self.bytes);
        let least = want.clamp(1, contiguous(pool));
        if room < least {
            return Err(SendError::Full);
        }
        if self.tail() < least {
            self.grow(pool)?;
        }
        let chunk = self.chunks.back_mut().ok_or(SendError::Full)?;
        let end = room.saturating_add(chunk.end).min(chunk.buf.len());
        self.lent = end - chunk.end;
        Ok(&mut chunk.buf[chunk.end..end])
    }

    /// Takes another chunk.
    fn grow(&mut self, pool: &Pool) -> Result<(), SendError> {
        if self.chunks_left(pool) == 0 {
            return Err(SendError::Full);
        }
        let buf = pool.get().ok_or(SendError::Full)?;
        self.chunks.push_back(Chunk {
            buf,
            start: 0,
            end: 0,
        });
        Ok(())
    }

    /// Queues the first `n` bytes of the space lent last (all of it, if `n` is more).
    #[inline]
    pub(crate) fn commit(&mut self, n: usize) {
        debug_assert!(n <= self.lent, "committed {n} of {} bytes lent", self.lent);
        let n = n.min(self.lent);
        self.lent = 0;
        if n == 0 {
            return;
        }
        let Some(chunk) = self.chunks.back_mut() else {
            return;
        };
        chunk.end += n;
        self.bytes += n;
        match self.segments.back_mut() {
            Some(Segment::Written(len)) => *len += n,
            _ => self.segments.push_back(Segment::Written(n)),
        }
    }

    /// Queues a payload by reference, or copies it if it is small and not droppable.
    pub(crate) fn push_shared(
        &mut self,
        pool: &Pool,
        payload: LocalShared,
        droppable: bool,
        bound: usize,
    ) -> Result<(), SendError> {
        if payload.len() > bound.saturating_sub(self.bytes) {
            return Err(SendError::Full);
        }
        if payload.is_empty() {
            return Ok(());
        }
        if !droppable && payload.len() < COPY_BELOW && self.copy(pool, &payload) {
            return Ok(());
        }
        if self.shared >= SHARED_FREE + bound / BYTES_PER_SHARED {
            return Err(SendError::Full);
        }
        self.lent = 0;
        self.bytes += payload.len();
        self.shared += 1;
        self.segments.push_back(Segment::Shared {
            payload,
            sent: 0,
            droppable,
        });
        Ok(())
    }

    /// Writes all of `bytes`, or nothing if the pool has no chunk for them.
    fn copy(&mut self, pool: &Pool, bytes: &[u8]) -> bool {
        let head = self.tail().min(bytes.len());
        let rest = bytes.len() - head;
        if rest > pool.buffer_size() || (rest > 0 && self.chunks_left(pool) == 0) {
            return false;
        }
        for part in [&bytes[..head], &bytes[head..]] {
            if part.is_empty() {
                continue;
            }
            // The caller checked the bound, and a chunk is available: `space` lends what is asked for.
            match self.space(pool, 1, usize::MAX) {
                Ok(space) if space.len() >= part.len() => space[..part.len()].copy_from_slice(part),
                _ => return false,
            }
            self.commit(part.len());
        }
        true
    }

    /// Removes the oldest droppable payload of which no byte was sent; returns its length.
    pub(crate) fn drop_oldest(&mut self) -> Option<usize> {
        if self.shared == 0 {
            return None;
        }
        let at = self.segments.iter().position(|segment| {
            matches!(
                segment,
                Segment::Shared {
                    sent: 0,
                    droppable: true,
                    ..
                }
            )
        })?;
        let Some(Segment::Shared { payload, .. }) = self.segments.remove(at) else {
            return None;
        };
        let len = payload.len();
        self.bytes -= len;
        self.shared -= 1;
        let start: usize = self.segments.iter().take(at).map(Segment::len).sum();
        self.before_mark -= len.min(self.before_mark.saturating_sub(start));
        Some(len)
    }

    /// All queued bytes, if they are contiguous.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        match (
            self.segments.front()?,
            self.segments.len(),
            self.chunks.len(),
        ) {
            (Segment::Written(_), 1, 1) => {
                let chunk = self.chunks.front()?;
                Some(&chunk.buf[chunk.start..chunk.end])
            }
            (Segment::Shared { payload, sent, .. }, 1, _) => Some(&payload[*sent..]),
            _ => None,
        }
    }

    /// Points `slices` at the front of the queue; returns how many it set and how many bytes they hold.
    pub(crate) fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> (usize, usize) {
        let mut chunks = self.chunks.iter();
        let mut written: &[u8] = &[];
        let (mut count, mut bytes) = (0, 0);
        for segment in &self.segments {
            let mut left = segment.len();
            while left > 0 {
                let Some(slice) = slices.get_mut(count) else {
                    return (count, bytes);
                };
                let part = match segment {
                    Segment::Shared { payload, sent, .. } => &payload[*sent..],
                    Segment::Written(_) => {
                        if written.is_empty() {
                            let Some(chunk) = chunks.next() else {
                                return (count, bytes);
                            };
                            written = &chunk.buf[chunk.start..chunk.end];
                            continue;
                        }
                        let (part, rest) = written.split_at(left.min(written.len()));
                        written = rest;
                        part
                    }
                };
                *slice = IoSlice::new(part);
                left -= part.len();
                bytes += part.len();
                count += 1;
            }
        }
        (count, bytes)
    }

    /// Removes `n` bytes that have been sent from the front.
    pub(crate) fn consume(&mut self, mut n: usize) {
        self.bytes -= n;
        self.before_mark = self.before_mark.saturating_sub(n);
        while n > 0 {
            let (taken, done, written) = match self.segments.front_mut() {
                None => return,
                Some(Segment::Written(len)) => {
                    let taken = n.min(*len);
                    *len -= taken;
                    (taken, *len == 0, true)
                }
                Some(Segment::Shared { payload, sent, .. }) => {
                    let taken = n.min(payload.len() - *sent);
                    *sent += taken;
                    (taken, *sent == payload.len(), false)
                }
            };
            if done {
                self.segments.pop_front();
                self.shared -= usize::from(!written);
            }
            if written {
                self.consume_written(taken);
            }
            n -= taken;
        }
    }

    fn consume_written(&mut self, mut n: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            let taken = n.min(chunk.end - chunk.start);
            chunk.start += taken;
            n -= taken;
            if chunk.start < chunk.end {
                return;
            }
            if self.chunks.len() == 1 {
                self.lent = 0;
            }
            self.chunks.pop_front();
            if n == 0 {
                return;
            }
        }
    }

    /// Empties the queue, so that it can serve another connection.
    pub(crate) fn clear(&mut self) {
        self.segments.clear();
        self.chunks.clear();
        self.segments.shrink_to(KEEP_ENTRIES);
        self.chunks.shrink_to(KEEP_ENTRIES);
        (self.bytes, self.shared, self.lent) = (0, 0, 0);
        (self.blocked, self.before_mark) = (false, 0);
    }
}

#[cfg(test)]
#[path = "send_queue_tests.rs"]
mod tests;
