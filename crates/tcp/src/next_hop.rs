//! The next hops of flows: pairs of MAC address and VLAN. Each pair is kept once and has a small number as its id. A million
//! clients behind one router share one pair.

use std::collections::HashMap;

/// The id of a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NextHopId(u16);

/// The destination of a frame on its link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct NextHop {
    pub mac: [u8; 6],
    /// The VLAN, if the frame is tagged.
    pub vlan: Option<u16>,
}

impl NextHop {
    /// The next hop of a flow whose neighbour is not resolved yet. No host has this MAC address.
    pub(crate) const UNRESOLVED: Self = Self {
        mac: [0; 6],
        vlan: None,
    };

    #[inline]
    pub(crate) fn is_unresolved(&self) -> bool {
        self.mac == Self::UNRESOLVED.mac
    }
}

#[derive(Debug)]
struct Entry {
    next_hop: NextHop,
    users: u32,
    /// A flow through it was established.
    proven: bool,
}

/// The pairs in use. All memory is allocated at start.
#[derive(Debug)]
pub(crate) struct NextHopTable {
    // The hasher has a random key, so a peer cannot choose MAC addresses that collide.
    ids: HashMap<NextHop, u16>,
    entries: Vec<Entry>,
    free: Vec<u16>,
    capacity: usize,
}

impl NextHopTable {
    /// A table for up to `capacity` pairs (at most 65,536).
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.min(1 << 16);
        Self {
            ids: HashMap::with_capacity(capacity),
            entries: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Adds a user to the pair and returns its id; `None` while all ids are in use.
    pub(crate) fn intern(&mut self, next_hop: NextHop) -> Option<NextHopId> {
        if let Some(&id) = self.ids.get(&next_hop) {
            let entry = self.entries.get_mut(usize::from(id))?;
            entry.users = entry.users.checked_add(1)?;
            return Some(NextHopId(id));
        }
        let entry = Entry {
            next_hop,
            users: 1,
            proven: false,
        };
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
        self.ids.insert(next_hop, id);
        Some(NextHopId(id))
    }

    /// Adds a user to an id in use.
    pub(crate) fn share(&mut self, id: NextHopId) -> Option<NextHopId> {
        let entry = self.entries.get_mut(usize::from(id.0))?;
        entry.users = entry.users.checked_add(1)?;
        Some(id)
    }

    /// Removes a user. Without users the id is free.
    pub(crate) fn release(&mut self, id: NextHopId) {
        let Some(entry) = self.entries.get_mut(usize::from(id.0)) else {
            return;
        };
        match entry.users {
            0 => debug_assert!(false, "a pair released more often than interned"),
            1 => {
                entry.users = 0;
                self.ids.remove(&entry.next_hop);
                self.free.push(id.0);
            }
            _ => entry.users -= 1,
        }
    }

    /// Notes that a flow through this next hop was established: frames that were sent to it have reached the peer, so it is a host or
    /// a router on the link, and not an invention of a flood.
    #[inline]
    pub(crate) fn prove(&mut self, id: NextHopId) {
        if let Some(entry) = self.entries.get_mut(usize::from(id.0)) {
            entry.proven = true;
        }
    }

    /// Whether a flow through this next hop was established, and some flow still uses it.
    pub(crate) fn is_proven(&self, next_hop: &NextHop) -> bool {
        let id = self.ids.get(next_hop);
        id.and_then(|&id| self.entries.get(usize::from(id)))
            .is_some_and(|entry| entry.proven)
    }

    /// The pair.
    #[inline]
    pub(crate) fn get(&self, id: NextHopId) -> Option<NextHop> {
        self.entries
            .get(usize::from(id.0))
            .map(|entry| entry.next_hop)
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

    fn hop(n: u8) -> NextHop {
        NextHop {
            mac: [2, 0, 0, 0, 0, n / 2],
            vlan: (n % 2 == 1).then_some(7),
        }
    }

    proptest! {
        #[test]
        fn ids_are_shared_bounded_and_released(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..200)) {
            let mut table = NextHopTable::new(4);
            let mut held: Vec<(NextHopId, NextHop)> = Vec::new();
            for (take, n) in steps {
                if take {
                    let hop = hop(n % 12);
                    let mut known: Vec<NextHop> = held.iter().map(|(_, hop)| *hop).collect();
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
    fn a_proven_next_hop_is_so_until_its_last_user_is_gone() {
        let mut table = NextHopTable::new(2);
        let id = table.intern(hop(0)).expect("room");
        assert!(!table.is_proven(&hop(0)));
        table.prove(id);
        assert!(table.is_proven(&hop(0)) && !table.is_proven(&hop(1)));
        table.release(id);
        assert!(!table.is_proven(&hop(0)));
        table.intern(hop(0));
        assert!(!table.is_proven(&hop(0)), "the id was used before");
    }

    #[test]
    fn a_shared_id_needs_one_release_for_each_user() {
        let mut table = NextHopTable::new(1);
        let id = table.intern(hop(0)).expect("room");
        assert_eq!(table.share(id), Some(id));
        table.release(id);
        assert_eq!(table.intern(hop(1)), None);
        table.release(id);
        assert!(table.intern(hop(1)).is_some());
    }
}
