//! The state that all connections of an lcore share to reassemble messages: limits, recycled buffers, and a budget.

pub use crate::budget::AssemblerStats;
pub use crate::limits::Limits;

use crate::budget::Budget;
use crate::deflate::{InflateError, Inflater, MAX_WINDOW_BITS, Window};
use crate::error::ProtocolError;
use crate::header::MAX_CONTROL;
use crate::partial::Partial;

/// Options of an [`Assembler`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AssemblerOptions {
    /// Bounds of each message.
    pub limits: Limits,
    /// Bytes that the unfinished messages of all connections of the lcore may hold together. Each message counts with the
    /// payload received so far, compressed if it is, and about 300 bytes more. The connection that would exceed the budget is failed
    /// with 1013, and so is one whose message would have more than a quarter of it (at least 16 KiB). The last quarter is reserved for
    /// messages of at most 16 KiB so far. Vectors grow by doubling, so the memory in use may be twice as much.
    pub budget: usize,
    /// A buffer larger than this is not kept for the next message. The last reassembled and the last inflated message keep
    /// their buffers, of any size, until the next one: two buffers for each lcore.
    pub retain_buffer: usize,
    /// Bytes that all kept buffers may have together.
    pub retain_total: usize,
}

impl AssemblerOptions {
    /// These bounds of each message, and the defaults for everything else.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Bounds the bytes of all unfinished messages together.
    #[must_use]
    pub const fn budget(mut self, bytes: usize) -> Self {
        self.budget = bytes;
        self
    }
}

impl Default for AssemblerOptions {
    /// Default limits, a budget of 256 MiB, and kept buffers of up to 256 KiB each and 16 MiB together.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            budget: 256 << 20,
            retain_buffer: 256 << 10,
            retain_total: 16 << 20,
        }
    }
}

/// The reassembly state of one lcore, which each [`decode`](crate::Decoder::decode) call borrows.
///
/// A connection between messages holds nothing of it. A connection with an unfinished message or frame holds a `Partial`
/// (about 300 bytes and a growing buffer) and returns it afterwards, so in steady state nothing is allocated.
#[derive(Debug)]
pub struct Assembler {
    options: AssemblerOptions,
    /// The most bytes of a message in one frame: the smaller of the two limits.
    pub(crate) whole_max: usize,
    budget: Budget,
    // Boxes, not values: only addresses move between this list and the decoders.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Partial>>,
    /// Bytes of the buffers in `free`.
    retained: usize,
    /// Holds the payload of the last message, if it was reassembled.
    spent: Option<Box<Partial>>,
    /// The length and the bytes of the last reassembled control frame, which may come in the middle of a message.
    control: (usize, [u8; MAX_CONTROL]),
    /// Inflates for all connections. It is made when the first compressed message comes.
    inflater: Option<Box<Inflater>>,
    /// The last inflated message.
    inflated: Vec<u8>,
}

/// The bytes that a `Partial` counts for, besides its payload.
const PARTIAL: usize = size_of::<Partial>();

impl Assembler {
    /// Makes an assembler without allocating.
    #[must_use]
    pub fn new(options: AssemblerOptions) -> Self {
        let limits = &options.limits;
        Self {
            whole_max: limits.max_message.min(limits.max_frame),
            options,
            budget: Budget::new(options.budget),
            free: Vec::new(),
            retained: 0,
            spent: None,
            control: (0, [0; MAX_CONTROL]),
            inflater: None,
            inflated: Vec::new(),
        }
    }

    /// The bounds of each message.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.options.limits
    }

    /// Changes the bounds, for frames whose header has not been read yet.
    pub fn set_limits(&mut self, limits: Limits) {
        self.options.limits = limits;
        self.whole_max = limits.max_message.min(limits.max_frame);
    }

    /// Changes the budget. Unfinished messages stay, also above it, and can hold no more until others have ended.
    pub fn set_budget(&mut self, bytes: usize) {
        self.budget.set_max(bytes);
    }

    /// The number of unfinished messages, and their bytes.
    #[must_use]
    pub const fn stats(&self) -> AssemblerStats {
        self.budget.stats()
    }

    /// The count of the unfinished messages' bytes.
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// Takes an empty `Partial`, a recycled one if there is one.
    pub(crate) fn take(&mut self) -> Result<Box<Partial>, ProtocolError> {
        self.budget.begin(PARTIAL)?;
        if let Some(spent) = self.spent.take() {
            self.keep(spent);
        }
        Ok(match self.free.pop() {
            Some(partial) => {
                self.retained -= cost(&partial);
                partial
            }
            None => Box::default(),
        })
    }

    /// Stops counting a `Partial`, and keeps its payload for the event that borrows it.
    pub(crate) fn spend(&mut self, partial: Box<Partial>) {
        self.uncharge(&partial);
        if let Some(spent) = self.spent.replace(partial) {
            self.keep(spent);
        }
    }

    /// The payload of the last `spend`.
    pub(crate) fn spent(&self) -> &[u8] {
        self.spent.as_ref().map_or(&[], |p| &p.payload)
    }

    /// Keeps the payload of a reassembled control frame for the event that borrows it.
    pub(crate) fn spend_control(&mut self, payload: &[u8]) {
        self.control.0 = payload.len();
        self.control.1[..payload.len()].copy_from_slice(payload);
    }

    /// The payload of the last `spend_control`.
    pub(crate) fn spent_control(&self) -> &[u8] {
        &self.control.1[..self.control.0]
    }

    /// Takes back a `Partial` whose contents are no longer needed.
    pub(crate) fn give_back(&mut self, partial: Box<Partial>) {
        self.uncharge(&partial);
        self.keep(partial);
    }

    /// Inflates a message and keeps it for the event that borrows it. `window` is the history of earlier messages; `None` if the
    /// peer takes no context over.
    pub(crate) fn inflate(
        &mut self,
        window: Option<&mut Window>,
        payload: &[u8],
    ) -> Result<&[u8], ProtocolError> {
        let (out, cap) = (&mut self.inflated, self.options.limits.max_message);
        out.clear();
        if out.capacity() > self.options.retain_buffer {
            *out = Vec::new();
        }
        let inflater = self
            .inflater
            .get_or_insert_with(|| Box::new(Inflater::new(MAX_WINDOW_BITS)));
        let result = match window {
            Some(window) => inflater.inflate_with(window, payload, out, cap),
            None => inflater.inflate_alone(payload, out, cap),
        };
        match result {
            Ok(()) => Ok(out),
            Err(InflateError::TooBig) => Err(ProtocolError::MessageTooBig),
            Err(InflateError::Corrupt) => Err(ProtocolError::InvalidCompression),
        }
    }

    /// The result of the last `inflate`.
    pub(crate) fn inflated(&self) -> &[u8] {
        &self.inflated
    }

    fn uncharge(&mut self, partial: &Partial) {
        self.budget.end(PARTIAL + partial.payload.len());
    }

    /// Puts a `Partial` on the free list, unless that holds `retain_total` bytes.
    fn keep(&mut self, mut partial: Box<Partial>) {
        partial.clear(self.options.retain_buffer);
        let total = self.retained + cost(&partial);
        if total <= self.options.retain_total {
            self.retained = total;
            self.free.push(partial);
        }
    }
}

/// The bytes of a `Partial` on the free list.
fn cost(partial: &Partial) -> usize {
    PARTIAL + partial.payload.capacity()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembler(budget: usize, retain_buffer: usize, retain_total: usize) -> Assembler {
        let limits = Limits::default();
        Assembler::new(AssemblerOptions {
            limits,
            budget,
            retain_buffer,
            retain_total,
        })
    }

    #[test]
    fn recycled_buffers_keep_their_capacity() {
        let mut asm = assembler(1 << 20, 4096, 1 << 20);
        let mut partial = asm.take().unwrap();
        partial.payload.reserve_exact(4096);
        let (address, buffer) = (&raw const *partial, partial.payload.as_ptr());
        asm.give_back(partial);
        let partial = asm.take().unwrap();
        assert_eq!(
            (&raw const *partial, partial.payload.as_ptr()),
            (address, buffer)
        );
        assert_eq!(asm.stats().unfinished, 1);
        asm.give_back(partial);
        assert_eq!(asm.stats().bytes, 0);
        assert_eq!(asm.retained, PARTIAL + 4096);
    }

    #[test]
    fn kept_buffers_are_bounded() {
        let mut asm = assembler(1 << 20, 4096, 4 * (PARTIAL + 1000));
        let mut big = asm.take().unwrap();
        big.payload.reserve_exact(4097);
        asm.give_back(big);
        assert_eq!(asm.retained, PARTIAL, "the buffer was over retain_buffer");
        let taken: Vec<_> = (0..10).map(|_| asm.take().unwrap()).collect();
        for mut partial in taken {
            partial.payload.reserve_exact(1000);
            asm.give_back(partial);
        }
        assert_eq!(asm.free.len(), 4);
        assert_eq!(asm.retained, 4 * (PARTIAL + 1000));
    }

    #[test]
    fn every_unfinished_message_counts_against_the_budget() {
        let mut asm = assembler(2 * PARTIAL + 10, 4096, 1 << 20);
        let first = asm.take().unwrap();
        let second = asm.take().unwrap();
        assert_eq!(asm.take().err(), Some(ProtocolError::OutOfMemory));
        assert_eq!(asm.stats().refused, 1);
        asm.give_back(first);
        let first = asm.take().unwrap();
        asm.give_back(first);
        asm.give_back(second);
        assert_eq!((asm.stats().unfinished, asm.stats().bytes), (0, 0));
        assert_eq!(asm.stats().high_water, 2 * PARTIAL);
    }
}
