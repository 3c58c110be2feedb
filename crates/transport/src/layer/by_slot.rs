//! State of connections that a layer keeps beside those of the transport below.

use crate::ConnId;

/// Entries of one allocation.
const CHUNK: usize = 1 << 10;

/// One value for each connection, found by its slot. A stale id finds nothing.
///
/// Slots are dense from 0, so this is an array: it grows to the highest slot ever used and then allocates nothing. It grows in chunks
/// that never move: a value that is wiped in its place has no copy in memory that was freed.
#[derive(Debug)]
pub struct BySlot<S> {
    chunks: Vec<Box<[Entry<S>]>>,
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
        Self { chunks: Vec::new() }
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&Entry<S>> {
        let index = index as usize;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    #[inline]
    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<S>> {
        let index = index as usize;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)
    }

    /// Sets the state of a connection that begins. The state of an earlier connection in the same slot is dropped.
    pub fn insert(&mut self, id: ConnId, state: S) {
        while self.chunks.len() <= id.index as usize / CHUNK {
            let empty = || Entry {
                generation: 0,
                state: None,
            };
            self.chunks
                .push(std::iter::repeat_with(empty).take(CHUNK).collect());
        }
        if let Some(entry) = self.entry_mut(id.index) {
            *entry = Entry {
                generation: id.generation,
                state: Some(state),
            };
        }
    }

    /// The state of a connection; `None` if the id is stale.
    #[inline]
    #[must_use]
    pub fn get(&self, id: ConnId) -> Option<&S> {
        let entry = self.entry(id.index)?;
        entry
            .state
            .as_ref()
            .filter(|_| entry.generation == id.generation)
    }

    /// The same, to change it.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut S> {
        let entry = self.entry_mut(id.index)?;
        entry
            .state
            .as_mut()
            .filter(|_| entry.generation == id.generation)
    }

    /// Takes the state of a connection that has ended.
    pub fn remove(&mut self, id: ConnId) -> Option<S> {
        let entry = self.entry_mut(id.index)?;
        entry.state.take_if(|_| entry.generation == id.generation)
    }

    /// The states of all connections.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        let entries = self.chunks.iter().flatten();
        entries.filter_map(|entry| entry.state.as_ref())
    }

    /// Prefetches the entry of slot `index`.
    #[inline]
    pub fn prefetch(&self, index: u32) {
        if let Some(entry) = self.entry(index) {
            hioload_mem::prefetch::item(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_stays_where_it_is_while_the_array_grows() {
        let id = |index| ConnId {
            index,
            generation: 0,
        };
        let mut states = BySlot::new();
        states.insert(id(0), 0);
        let at = std::ptr::from_ref(states.get(id(0)).expect("a state"));
        for index in 1..5000 {
            states.insert(id(index), index);
        }
        assert_eq!(std::ptr::from_ref(states.get(id(0)).expect("a state")), at);
        assert!(states.iter().copied().eq(0..5000));
        states.prefetch(4999);
        states.prefetch(u32::MAX);
    }

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
