//! What all connections of an lcore share to put messages together: limits, recycled buffers, and a budget.

pub use crate::budget::AssemblerStats;
pub use crate::limits::Limits;

use crate::budget::Budget;
use crate::deflate::{InflateError, Inflater, MAX_WINDOW_BITS, Window};
use crate::error::ProtocolError;
use crate::header::MAX_CONTROL;
use crate::partial::Partial;

/// How an [`Assembler`] is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AssemblerOptions {
    /// Bounds of each message.
    pub limits: Limits,
    /// Bytes that the unfinished messages of all connections of the lcore may hold together (each counts with its
    /// payload so far and about 300 bytes more). Over it the connection that asks for more is failed with 1013. The last
    /// quarter is for messages of which up to 16 KiB are here.
    /// Vectors grow by doubling, so the memory behind it may be twice as much.
    pub budget: usize,
    /// A buffer larger than this is not kept for the next message. (The last message gathered and the last inflated
    /// keep theirs, of whatever size, until another comes: two for each lcore.)
    pub retain_buffer: usize,
    /// Bytes that all buffers kept for later may take together.
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
    /// Default limits; a budget of 256 MiB; buffers up to 256 KiB are kept, 16 MiB in all.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            budget: 256 << 20,
            retain_buffer: 256 << 10,
            retain_total: 16 << 20,
        }
    }
}

/// One per lcore, lent to each [`decode`](crate::Decoder::decode) call.
///
/// Connections that are between messages hold none of this. One that is in the middle of something borrows a `Partial`
/// (about 300 bytes and a growing buffer) and gives it back, so in steady state nothing is allocated.
#[derive(Debug)]
pub struct Assembler {
    options: AssemblerOptions,
    /// A whole message in one frame may have this many bytes: the smaller of the two limits.
    pub(crate) whole_max: usize,
    budget: Budget,
    // Boxes, not values: they move between this list and the decoders, and their addresses are all that moves.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Partial>>,
    /// Bytes that `free` keeps.
    retained: usize,
    /// Holds the payload of the message handed out last, if it was gathered.
    spent: Option<Box<Partial>>,
    /// The same for a control frame, which may come in the middle of a message: its length and bytes.
    control: (usize, [u8; MAX_CONTROL]),
    /// Inflates for all connections; made when the first compressed message comes.
    inflater: Option<Box<Inflater>>,
    /// The message it inflated last.
    inflated: Vec<u8>,
}

/// What a `Partial` counts for, besides its payload.
const PARTIAL: usize = size_of::<Partial>();

impl Assembler {
    /// Allocates nothing yet.
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

    /// Changes the bounds, for frames whose header is yet to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.options.limits = limits;
        self.whole_max = limits.max_message.min(limits.max_frame);
    }

    /// Where it stands.
    #[must_use]
    pub const fn stats(&self) -> AssemblerStats {
        self.budget.stats()
    }

    /// The count of unfinished messages' bytes.
    pub(crate) fn budget(&mut self) -> &mut Budget {
        &mut self.budget
    }

    /// An empty `Partial`, a used one if there is any.
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

    /// Ends the counting of a `Partial` and keeps its payload for the event that shows it.
    pub(crate) fn spend(&mut self, partial: Box<Partial>) {
        self.uncharge(&partial);
        if let Some(spent) = self.spent.replace(partial) {
            self.keep(spent);
        }
    }

    /// The payload of what `spend` was given last.
    pub(crate) fn spent(&self) -> &[u8] {
        self.spent.as_ref().map_or(&[], |p| &p.payload)
    }

    /// Keeps the payload of a gathered control frame for the event that shows it.
    pub(crate) fn spend_control(&mut self, payload: &[u8]) {
        self.control.0 = payload.len();
        self.control.1[..payload.len()].copy_from_slice(payload);
    }

    /// What `spend_control` was given last.
    pub(crate) fn spent_control(&self) -> &[u8] {
        &self.control.1[..self.control.0]
    }

    /// Takes back a `Partial` whose content nobody needs.
    pub(crate) fn give_back(&mut self, partial: Box<Partial>) {
        self.uncharge(&partial);
        self.keep(partial);
    }

    /// Inflates a message and keeps it for the event that shows it; `window` is what earlier messages left, unless the
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

    /// What `inflate` made last.
    pub(crate) fn inflated(&self) -> &[u8] {
        &self.inflated
    }

    fn uncharge(&mut self, partial: &Partial) {
        self.budget.end(PARTIAL + partial.payload.len());
    }

    /// Puts a `Partial` on the free list, unless that holds enough.
    fn keep(&mut self, mut partial: Box<Partial>) {
        partial.clear(self.options.retain_buffer);
        let total = self.retained + cost(&partial);
        if total <= self.options.retain_total {
            self.retained = total;
            self.free.push(partial);
        }
    }
}

/// Bytes that a `Partial` takes while nobody uses it.
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
    fn buffers_come_back_with_their_capacity() {
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
    fn what_is_kept_is_bounded() {
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
