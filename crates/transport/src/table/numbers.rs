//! Slot numbers, for transports that have nothing below them that chooses one.

/// Hands out slot numbers, dense from 0, the most recently freed one first: its memory is warm.
pub(crate) struct Numbers {
    free: Vec<u32>,
    next: u32,
    max: usize,
}

impl Numbers {
    /// Numbers below `max`.
    pub(crate) fn new(max: usize) -> Self {
        let max = max.min(u32::MAX as usize - 16);
        Self {
            free: Vec::with_capacity(max),
            next: 0,
            max,
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free.is_empty() && self.next as usize == self.max
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = self.next;
        ((index as usize) < self.max).then(|| {
            self.next += 1;
            index
        })
    }

    /// Takes `index` back.
    pub(crate) fn give_back(&mut self, index: u32) {
        self.free.push(index);
    }
}
