//! Where flows send their frames: pairs of MAC address and VLAN, kept once and named by a small number. A million clients
//! behind a router share one.

use std::collections::HashMap;

/// A pair, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct L2Id(u16);

/// Whom to send to, and in which VLAN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Hop {
    /// The station.
    pub mac: [u8; 6],
    /// The VLAN, if tagged.
    pub vlan: Option<u16>,
}

#[derive(Debug)]
struct Entry {
    hop: Hop,
    users: u32,
}

/// The pairs in use. All memory is taken at start.
#[derive(Debug)]
pub(crate) struct L2Table {
    // Its hasher has a random key, so that nobody can choose addresses that collide.
    ids: HashMap<Hop, u16>,
    entries: Vec<Entry>,
    free: Vec<u16>,
    capacity: usize,
}

impl L2Table {
    /// For up to `capacity` pairs (at most 65,536).
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(1 << 16);
        Self {
            ids: HashMap::with_capacity(capacity),
            entries: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// The number of `hop`, with one more user; `None` while all numbers are in use.
    pub(crate) fn intern(&mut self, hop: Hop) -> Option<L2Id> {
        if let Some(&id) = self.ids.get(&hop) {
            let entry = self.entries.get_mut(usize::from(id))?;
            entry.users = entry.users.checked_add(1)?;
            return Some(L2Id(id));
        }
        let entry = Entry { hop, users: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                *self.entries.get_mut(usize::from(id))? = entry;
                id
            }
            None if self.entries.len() < self.capacity => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u16
            }
            None => return None,
        };
        self.ids.insert(hop, id);
        Some(L2Id(id))
    }

    /// One more user of a number in use.
    pub(crate) fn share(&mut self, id: L2Id) -> Option<L2Id> {
        let entry = self.entries.get_mut(usize::from(id.0))?;
        entry.users = entry.users.checked_add(1)?;
        Some(id)
    }

    /// One user less; with the last one the number is free.
    pub(crate) fn release(&mut self, id: L2Id) {
        let Some(entry) = self.entries.get_mut(usize::from(id.0)) else {
            return;
        };
        match entry.users {
            0 => debug_assert!(false, "a pair released more often than interned"),
            1 => {
                entry.users = 0;
                self.ids.remove(&entry.hop);
                self.free.push(id.0);
            }
            _ => entry.users -= 1,
        }
    }

    /// The pair.
    #[inline]
    pub(crate) fn get(&self, id: L2Id) -> Option<Hop> {
        self.entries.get(usize::from(id.0)).map(|entry| entry.hop)
    }

    #[cfg(test)]
    /// Pairs in use.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hop(n: u8) -> Hop {
        Hop {
            mac: [2, 0, 0, 0, 0, n / 2],
            vlan: (n % 2 == 1).then_some(7),
        }
    }

    proptest! {
        #[test]
        fn numbers_are_shared_bounded_and_given_back(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..200)) {
            let mut table = L2Table::new(4);
            let mut held: Vec<(L2Id, Hop)> = Vec::new();
            for (take, n) in steps {
                if take {
                    let hop = hop(n % 12);
                    let mut known: Vec<Hop> = held.iter().map(|(_, hop)| *hop).collect();
                    known.sort_by_key(|hop| (hop.mac, hop.vlan));
                    known.dedup();
                    match table.intern(hop) {
                        Some(id) => held.push((id, hop)),
                        None => prop_assert!(known.len() == 4 && !known.contains(&hop)),
                    }
                } else if !held.is_empty() {
                    let (id, _) = held.swap_remove(usize::from(n) % held.len());
                    table.release(id);
                }
                for (id, hop) in &held {
                    prop_assert_eq!(table.get(*id), Some(*hop));
                    prop_assert!(held.iter().all(|(other, its)| (other == id) == (its == hop)));
                }
            }
            for (id, _) in held {
                table.release(id);
            }
            prop_assert_eq!(table.len(), 0);
        }
    }

    #[test]
    fn a_shared_number_needs_as_many_releases() {
        let mut table = L2Table::new(1);
        let id = table.intern(hop(0)).expect("room");
        assert_eq!(table.share(id), Some(id));
        table.release(id);
        assert_eq!(table.intern(hop(1)), None);
        table.release(id);
        assert!(table.intern(hop(1)).is_some());
    }
}
