//! Records in one array, with their numbers reused.

use std::ops::{Index, IndexMut};

/// No record.
pub(super) const NIL: u32 = u32::MAX;

/// Records by number. A removed record's number is given to the next one.
pub(super) struct Slab<T> {
    records: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slab<T> {
    /// Uses `memory`, which is empty and has its capacity reserved.
    pub(super) fn new(memory: Vec<T>) -> Self {
        Self {
            records: memory,
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, record: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.records[at as usize] = record;
            return at;
        }
        self.records.push(record);
        // The memory budget ends far below.
        (self.records.len() - 1) as u32
    }

    pub(super) fn remove(&mut self, at: u32) -> T {
        self.free.push(at);
        std::mem::take(&mut self.records[at as usize])
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.records.len() - self.free.len()
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, at: u32) -> &T {
        &self.records[at as usize]
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.records[at as usize]
    }
}
