//! State of connections that a layer keeps beside those of the transport below.

use crate::ConnId;

/// One value for each connection, found by its slot. A stale id finds nothing.
///
/// Slots are dense from 0, so this is an array: it grows to the highest slot ever used and then allocates nothing.
#[derive(Debug)]
pub struct BySlot<S> {
    entries: Vec<Entry<S>>,
}

#[derive(Debug)]
struct Entry<S> {
    generation: u32,
    state: Option<S>,
}

impl<S> Default for BySlot<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> BySlot<S> {
    /// An empty array.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: Vec::new(),
        }
    }

    /// Sets the state of a connection that begins. The state of an earlier connection in the same slot is dropped.
    pub fn insert(&mut self, id: ConnId, state: S) {
        let index = id.index as usize;
        if self.entries.len() <= index {
            self.entries.resize_with(index + 1, || Entry {
                generation: 0,
                state: None,
            });
        }
        self.entries[index] = Entry {
            generation: id.generation,
            state: Some(state),
        };
    }

    /// The state of a connection; `None` if the id is stale.
    #[inline]
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&S> {
        let entry = self.entries.get(id.index as usize)?;
        entry
            .state
            .as_ref()
            .filter(|_| entry.generation == id.generation)
    }

    /// The same, to change it.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut S> {
        let entry = self.entries.get_mut(id.index as usize)?;
        entry
            .state
            .as_mut()
            .filter(|_| entry.generation == id.generation)
    }

    /// Takes the state of a connection that has ended.
    pub fn remove(&mut self, id: ConnId) -> Option<S> {
        let entry = self.entries.get_mut(id.index as usize)?;
        entry.state.take_if(|_| entry.generation == id.generation)
    }

    /// The states of all connections.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        self.entries.iter().filter_map(|entry| entry.state.as_ref())
    }

    /// Prefetches the entry of slot `index`.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        hioload_mem::prefetch::item(self.entries.as_ptr().wrapping_add(index as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_and_removes_nothing() {
        let id = |index, generation| ConnId { index, generation };
        let mut states = BySlot::new();
        states.insert(id(3, 0), 'a');
        assert_eq!(states.get(id(3, 0)), Some(&'a'));
        assert_eq!(states.get(id(3, 1)), None);
        assert_eq!(states.get(id(2, 0)), None);
        assert_eq!(states.remove(id(9, 0)), None);
        states.insert(id(3, 1), 'b');
        assert_eq!(states.remove(id(3, 0)), None);
        assert_eq!(states.get_mut(id(3, 1)), Some(&mut 'b'));
        assert_eq!(states.remove(id(3, 1)), Some('b'));
        assert_eq!(states.remove(id(3, 1)), None);
    }
}
