//! The budget of bytes that the unfinished messages of one lcore may hold together.

use crate::error::ProtocolError;

/// Unfinished messages up to this size may use the whole budget.
const SMALL: usize = 16 << 10;

/// The state of an [`Assembler`](crate::Assembler).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AssemblerStats {
    /// Connections with an unfinished message, frame or header.
    pub unfinished: usize,
    /// Bytes that these hold, as the budget counts them.
    pub bytes: usize,
    /// The largest value that `bytes` has had.
    pub high_water: usize,
    /// Connections failed because the budget was used up.
    pub refused: u64,
}

/// The bound, and how much of it is used.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    stats: AssemblerStats,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            stats: AssemblerStats::default(),
        }
    }

    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
    }

    pub(crate) const fn stats(&self) -> AssemblerStats {
        self.stats
    }

    /// Counts a message that begins with `bytes`.
    pub(crate) fn begin(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.charge(0, bytes)?;
        self.stats.unfinished += 1;
        Ok(())
    }

    /// Counts `bytes` more for a message that already holds `held` bytes.
    pub(crate) fn charge(&mut self, held: usize, bytes: usize) -> Result<(), ProtocolError> {
        let total = self.stats.bytes.saturating_add(bytes);
        let holds = held.saturating_add(bytes);
        // The last quarter is reserved for small messages: a few peers that never finish large ones cannot take it.
        let quarter = self.max / 4;
        let reserved = if holds <= SMALL { 0 } else { quarter };
        if total > self.max - reserved || holds > quarter.max(SMALL) {
            self.stats.refused += 1;
            return Err(ProtocolError::OutOfMemory);
        }
        self.stats.bytes = total;
        self.stats.high_water = self.stats.high_water.max(total);
        Ok(())
    }

    /// Ends the counting of a message that held `bytes`.
    pub(crate) fn end(&mut self, bytes: usize) {
        self.stats.unfinished -= 1;
        self.stats.bytes -= bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_over_the_budget_is_refused_and_counted() {
        let mut budget = Budget::new(210);
        budget.begin(100).unwrap();
        budget.begin(100).unwrap();
        assert_eq!(budget.begin(100), Err(ProtocolError::OutOfMemory));
        assert_eq!(budget.charge(0, 11), Err(ProtocolError::OutOfMemory));
        assert_eq!(budget.stats().refused, 2);
        budget.end(100);
        budget.begin(100).unwrap();
        budget.end(100);
        budget.end(100);
        assert_eq!(budget.stats().bytes, 0);
        assert_eq!(budget.stats().high_water, 200);
    }

    #[test]
    fn large_messages_leave_a_quarter_to_small_ones() {
        let mut budget = Budget::new(400 << 10);
        for _ in 0..3 {
            budget.charge(0, 100 << 10).unwrap();
        }
        assert_eq!(budget.charge(SMALL, 1), Err(ProtocolError::OutOfMemory));
        budget.charge(SMALL - 100, 100).unwrap();
        budget.begin(300).unwrap();
    }

    #[test]
    fn one_message_holds_at_most_a_quarter() {
        let mut budget = Budget::new(400 << 10);
        budget.charge(0, 100 << 10).unwrap();
        assert_eq!(budget.charge(100 << 10, 1), Err(ProtocolError::OutOfMemory));
        budget.charge(0, 100 << 10).unwrap();
        // A small message may use more than a quarter of a small budget.
        let mut budget = Budget::new(20 << 10);
        budget.charge(0, SMALL).unwrap();
        assert_eq!(budget.charge(SMALL, 1), Err(ProtocolError::OutOfMemory));
    }
}
