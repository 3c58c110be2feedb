//! The state that all connections of an lcore share to reassemble messages: limits, recycled buffers, and a budget.

pub use crate::budget::AssemblerStats;
pub use crate::limits::Limits;

use crate::budget::Budget;
use crate::deflate::{Inflater, Window};
use crate::error::ProtocolError;
use crate::header::MAX_CONTROL;
use crate::inflating::Inflating;
use crate::partial::Partial;
use crate::types::Kind;

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
    /// How much of a compressed message one call of [`decode`](crate::Decoder::decode) inflates, in bytes: a call returns without
    /// an event once it has made about this many, or has read a sixteenth of them. The message then keeps an inflater of its
    /// own, which counts in the budget together with the bytes made so far. The default is no bound: a message is inflated
    /// in one call.
    pub slice: usize,
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

    /// Bounds the bytes that one call inflates.
    #[must_use]
    pub const fn slice(mut self, bytes: usize) -> Self {
        self.slice = bytes;
        self
    }
}

impl Default for AssemblerOptions {
    /// Default limits, a budget of 256 MiB, kept buffers of up to 256 KiB each and 16 MiB together, and no slices.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            budget: 256 << 20,
            retain_buffer: 256 << 10,
            retain_total: 16 << 20,
            slice: usize::MAX,
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
    /// Inflaters that no message uses. One serves all connections whose messages fit in a slice; it is made when the first
    /// compressed message comes.
    // Boxes, not values: only addresses move.
    #[allow(clippy::vec_box)]
    inflaters: Vec<Box<Inflating>>,
    /// The last inflated message.
    inflated: Vec<u8>,
    /// The effort of inflation since it was last asked for.
    effort: usize,
}

/// The bytes that a `Partial` counts for, besides its payload.
const PARTIAL: usize = size_of::<Partial>();
/// Inflaters kept for reuse.
const SPARE_INFLATERS: usize = 4;

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
            inflaters: Vec::new(),
            inflated: Vec::new(),
            effort: 0,
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

    /// What inflating has cost since the last call, in bytes: those made, and others for octets that make none. A caller that
    /// shares its time between connections counts it.
    #[inline]
    #[must_use]
    pub fn take_effort(&mut self) -> usize {
        std::mem::take(&mut self.effort)
    }

    /// Takes an inflater for a message.
    pub(crate) fn begin_inflating(&mut self, kind: Kind) -> Box<Inflating> {
        let mut message = self
            .inflaters
            .pop()
            .unwrap_or_else(|| Box::new(Inflating::new()));
        message.begin(kind, self.options.limits.max_message);
        message
    }

    /// Inflates a slice of a message; returns whether it is whole.
    pub(crate) fn inflate(
        &mut self,
        message: &mut Inflating,
        window: Option<&mut Window>,
        payload: &[u8],
    ) -> Result<bool, ProtocolError> {
        let before = message.effort();
        let result = message.advance(window, payload, self.options.slice);
        self.effort += message.effort() - before;
        result
    }

    /// Counts an unfinished message, which holds `payload` bytes besides, as far as it has grown.
    pub(crate) fn charge_inflating(
        &mut self,
        message: &mut Inflating,
        payload: usize,
    ) -> Result<(), ProtocolError> {
        let more = Inflater::MEMORY + message.len() - message.charged;
        self.budget.charge(payload + message.charged, more)?;
        message.charged += more;
        Ok(())
    }

    /// Stops counting a `Partial`, and keeps what it has inflated for the event that borrows it.
    pub(crate) fn spend_compressed(&mut self, mut partial: Box<Partial>) {
        self.uncharge(&partial);
        if let Some(message) = partial.inflating.take() {
            self.keep_inflated(message);
        }
        self.keep(partial);
    }

    /// Keeps an inflated message for the event that borrows it.
    pub(crate) fn keep_inflated(&mut self, mut message: Box<Inflating>) {
        message.exchange(&mut self.inflated, self.options.retain_buffer);
        self.give_back_inflater(message);
    }

    /// Takes back an inflater whose message is no longer needed.
    pub(crate) fn give_back_inflater(&mut self, mut message: Box<Inflating>) {
        if self.inflaters.len() < SPARE_INFLATERS {
            message.trim(self.options.retain_buffer);
            self.inflaters.push(message);
        }
    }

    /// The message of the last `keep_inflated`.
    pub(crate) fn inflated(&self) -> &[u8] {
        &self.inflated
    }

    fn uncharge(&mut self, partial: &Partial) {
        self.budget.end(PARTIAL + partial.held());
    }

    /// Puts a `Partial` on the free list, unless that holds `retain_total` bytes.
    fn keep(&mut self, mut partial: Box<Partial>) {
        if let Some(message) = partial.inflating.take() {
            self.give_back_inflater(message);
        }
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
            slice: usize::MAX,
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
