//! The subscriptions of one lcore: a trie over tokens, kept in flat arrays.
//!
//! A node is 48 bytes and a subscription 16; both live in slabs, and hash chains run through them, so no operation moves or
//! rehashes what is there. [`Index::subscribe`] and [`Index::unsubscribe`] cost O(tokens). [`Index::matches`] visits each node that
//! matches a prefix of the topic once; [`MAX_WILDCARDS`](super::MAX_WILDCARDS) bounds their number.

use std::hash::{BuildHasher, RandomState};

use hioload_mem::room_for;

use super::slab::{NIL, Slab};
use super::token::Token;

/// The root of the trie. It has no token.
const ROOT: u32 = 0;
/// Bytes of a hash chain's head, for each record that the tables are sized for.
const HEAD: usize = size_of::<u32>();
/// Bytes of a list of subscribers beside its numbers.
const LIST: usize = size_of::<Vec<u32>>() + 16;

/// The memory budget is used up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoRoom;

/// One set of subscribers: nobody, one (`value` is the subscriber), or several (`value` is their list).
#[derive(Clone, Copy, Default)]
struct Set {
    count: u32,
    value: u32,
}

/// A prefix of patterns.
#[derive(Default)]
struct Node {
    parent: u32,
    /// The next node of the same hash chain.
    next: u32,
    /// The child for `*`, or `NIL`.
    any: u32,
    /// Children, that for `*` included.
    children: u32,
    token: Token,
    /// Subscribers to the pattern that ends here.
    here: Set,
    /// Subscribers to the pattern that goes on with `>`.
    rest: Set,
}

/// One subscription.
#[derive(Clone, Copy, Default)]
struct Member {
    /// The node, and whether it is subscribed with `>` behind it.
    set: SetId,
    subscriber: u32,
    /// The position in the set's list.
    at: u32,
    next: u32,
}

/// Names a set: a node's number times two, plus one for `>`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct SetId(u32);

impl SetId {
    fn new(node: u32, rest: bool) -> Self {
        Self(node << 1 | u32::from(rest))
    }
    fn node(self) -> u32 {
        self.0 >> 1
    }
    fn is_rest(self) -> bool {
        self.0 & 1 != 0
    }
}

/// The subscriptions of one lcore. A subscriber is a connection's slot.
pub(crate) struct Index {
    nodes: Slab<Node>,
    members: Slab<Member>,
    /// Heads of hash chains: of children by parent and token, of members by set and subscriber.
    edges: Vec<u32>,
    memberships: Vec<u32>,
    lists: Vec<Vec<u32>>,
    free_lists: Vec<u32>,
    keys: RandomState,
    /// Bytes in use: nodes and subscriptions with the head of a hash chain for each, and the lists of subscribers.
    bytes: usize,
    budget: usize,
    /// Scratch of `matches`: the nodes of one depth, and of the next.
    frontier: [Vec<u32>; 2],
}

impl Index {
    /// An index that uses at most `budget` bytes. Its memory is reserved at once and touched as it is used.
    pub(crate) fn new(budget: usize) -> Self {
        let records = (budget / (size_of::<Node>() + size_of::<Member>() + 2 * HEAD)).max(1);
        let heads = records.next_power_of_two();
        let mut nodes = Slab::new(room_for(records));
        nodes.insert(Node {
            any: NIL,
            ..Node::default()
        });
        Self {
            nodes,
            members: Slab::new(room_for(records)),
            // Zeroed pages that nobody has touched cost nothing: a head is a record's number plus one.
            edges: vec![0; heads],
            memberships: vec![0; heads],
            lists: Vec::new(),
            free_lists: Vec::new(),
            keys: RandomState::new(),
            bytes: 0,
            budget,
            frontier: Default::default(),
        }
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a subscription, and returns its set if it is new. `pattern` must satisfy [`is_pattern`](super::is_pattern).
    pub(crate) fn subscribe(
        &mut self,
        pattern: &str,
        subscriber: u32,
    ) -> Result<Option<SetId>, NoRoom> {
        if let Some(set) = self.find(pattern)
            && self.member(set, subscriber).is_some()
        {
            return Ok(None);
        }
        if self.bytes + most_bytes(pattern) > self.budget {
            return Err(NoRoom);
        }
        let mut node = ROOT;
        let mut rest = false;
        for token in pattern.split('.') {
            match token {
                ">" => rest = true,
                _ => {
                    node = match self.child(node, token) {
                        Some(child) => child,
                        None => self.add_child(node, token),
                    };
                }
            }
        }
        let set = SetId::new(node, rest);
        self.add_member(set, subscriber);
        Ok(Some(set))
    }

    /// Removes a subscription; `false` if there is none.
    pub(crate) fn unsubscribe(&mut self, pattern: &str, subscriber: u32) -> Option<SetId> {
        let set = self.find(pattern)?;
        self.remove(set, subscriber).then_some(set)
    }

    /// Removes a subscription by its set, and the nodes that held only it; `false` if there is none.
    pub(crate) fn remove(&mut self, set: SetId, subscriber: u32) -> bool {
        let Some(member) = self.take_member(set, subscriber) else {
            return false;
        };
        self.take_from_list(set, member.at);
        self.prune(set.node());
        true
    }

    /// Whether `subscriber` has this subscription.
    pub(crate) fn contains(&self, pattern: &str, subscriber: u32) -> bool {
        self.find(pattern)
            .is_some_and(|set| self.member(set, subscriber).is_some())
    }

    /// The subscribers with exactly this pattern.
    #[cfg(test)]
    pub(crate) fn subscribers(&self, pattern: &str) -> &[u32] {
        self.find(pattern).map_or(&[], |set| self.list(set))
    }

    /// The pattern of a set.
    pub(crate) fn pattern(&self, set: SetId) -> String {
        let mut tokens = Vec::new();
        if set.is_rest() {
            tokens.push(">");
        }
        let mut node = set.node();
        while node != ROOT {
            tokens.push(self.nodes[node].token.as_str());
            node = self.nodes[node].parent;
        }
        tokens.reverse();
        tokens.join(".")
    }

    /// Appends the subscribers whose patterns match `topic` to `found`; a subscriber with several such patterns comes several
    /// times. Returns the number of nodes visited.
    pub(crate) fn matches(&mut self, topic: &str, found: &mut Vec<u32>) -> usize {
        let [mut level, mut next] = std::mem::take(&mut self.frontier);
        level.clear();
        level.push(ROOT);
        let mut visited = 0;
        for token in topic.split('.') {
            visited += level.len();
            next.clear();
            let key = self.keys.hash_one(token);
            for &node in &level {
                found.extend_from_slice(self.list(SetId::new(node, true)));
                next.extend(self.literal_child(node, token, key));
                let any = self.nodes[node].any;
                if any != NIL {
                    next.push(any);
                }
            }
            std::mem::swap(&mut level, &mut next);
            if level.is_empty() {
                break;
            }
        }
        visited += level.len();
        for &node in &level {
            found.extend_from_slice(self.list(SetId::new(node, false)));
        }
        self.frontier = [level, next];
        visited
    }

    /// The set of a pattern, if its node exists.
    fn find(&self, pattern: &str) -> Option<SetId> {
        let mut node = ROOT;
        for token in pattern.split('.') {
            if token == ">" {
                return Some(SetId::new(node, true));
            }
            node = self.child(node, token)?;
        }
        Some(SetId::new(node, false))
    }

    fn child(&self, node: u32, token: &str) -> Option<u32> {
        if token == "*" {
            let any = self.nodes[node].any;
            return (any != NIL).then_some(any);
        }
        self.literal_child(node, token, self.keys.hash_one(token))
    }

    fn literal_child(&self, parent: u32, token: &str, key: u64) -> Option<u32> {
        let mut head = self.edges[self.bucket(key, parent)];
        while let Some(at) = head.checked_sub(1) {
            let node = &self.nodes[at];
            if node.parent == parent && node.token.as_str() == token {
                return Some(at);
            }
            head = node.next;
        }
        None
    }

    fn add_child(&mut self, parent: u32, token: &str) -> u32 {
        let wildcard = token == "*";
        let token = Token::new(token);
        self.bytes += size_of::<Node>() + HEAD + token.heap_bytes();
        let bucket = self.bucket(self.keys.hash_one(token.as_str()), parent);
        let at = self.nodes.insert(Node {
            parent,
            next: if wildcard { 0 } else { self.edges[bucket] },
            any: NIL,
            token,
            ..Node::default()
        });
        self.nodes[parent].children += 1;
        if wildcard {
            self.nodes[parent].any = at;
        } else {
            self.edges[bucket] = at + 1;
        }
        at
    }

    /// Frees `node` and its ancestors as far as nothing needs them.
    fn prune(&mut self, mut node: u32) {
        while node != ROOT {
            let this = &self.nodes[node];
            if this.children > 0 || this.here.count > 0 || this.rest.count > 0 {
                return;
            }
            let parent = this.parent;
            if self.nodes[parent].any == node {
                self.nodes[parent].any = NIL;
            } else {
                self.unchain(node);
            }
            self.nodes[parent].children -= 1;
            let token = self.nodes.remove(node).token;
            self.bytes -= size_of::<Node>() + HEAD + token.heap_bytes();
            node = parent;
        }
    }

    /// Takes a node out of its hash chain.
    fn unchain(&mut self, node: u32) {
        let this = &self.nodes[node];
        let (next, key) = (this.next, self.keys.hash_one(this.token.as_str()));
        let bucket = self.bucket(key, this.parent);
        let mut at = self.edges[bucket];
        if at == node + 1 {
            self.edges[bucket] = next;
            return;
        }
        while let Some(before) = at.checked_sub(1) {
            at = self.nodes[before].next;
            if at == node + 1 {
                self.nodes[before].next = next;
                return;
            }
        }
    }

    /// The chain of what hashes to `key` below `parent`. The key is a keyed hash, so a peer cannot aim at one chain.
    fn bucket(&self, key: u64, parent: u32) -> usize {
        mix(key ^ u64::from(parent)) as usize & (self.edges.len() - 1)
    }

    fn membership(&self, set: SetId, subscriber: u32) -> usize {
        let key = self.keys.hash_one((set.0, subscriber));
        key as usize & (self.memberships.len() - 1)
    }

    fn member(&self, set: SetId, subscriber: u32) -> Option<u32> {
        let mut head = self.memberships[self.membership(set, subscriber)];
        while let Some(at) = head.checked_sub(1) {
            let member = &self.members[at];
            if member.set == set && member.subscriber == subscriber {
                return Some(at);
            }
            head = member.next;
        }
        None
    }

    fn set(&mut self, set: SetId) -> &mut Set {
        let node = &mut self.nodes[set.node()];
        if set.is_rest() {
            &mut node.rest
        } else {
            &mut node.here
        }
    }

    /// The subscribers of a set, as an array.
    fn list(&self, id: SetId) -> &[u32] {
        let node = &self.nodes[id.node()];
        let set = if id.is_rest() { &node.rest } else { &node.here };
        match set.count {
            0 => &[],
            1 => std::slice::from_ref(&set.value),
            _ => &self.lists[set.value as usize],
        }
    }

    fn add_member(&mut self, id: SetId, subscriber: u32) {
        let bucket = self.membership(id, subscriber);
        let Set { count, value } = *self.set(id);
        let new = match count {
            0 => subscriber,
            1 => self.new_list(value, subscriber),
            _ => {
                self.push_to_list(value, subscriber);
                value
            }
        };
        *self.set(id) = Set {
            count: count + 1,
            value: new,
        };
        let at = self.members.insert(Member {
            set: id,
            subscriber,
            at: count,
            next: self.memberships[bucket],
        });
        self.memberships[bucket] = at + 1;
        self.bytes += size_of::<Member>() + HEAD;
    }

    fn take_member(&mut self, set: SetId, subscriber: u32) -> Option<Member> {
        let bucket = self.membership(set, subscriber);
        let mut before = None;
        let mut head = self.memberships[bucket];
        while let Some(at) = head.checked_sub(1) {
            let member = self.members[at];
            if member.set == set && member.subscriber == subscriber {
                match before {
                    None => self.memberships[bucket] = member.next,
                    Some(before) => self.members[before].next = member.next,
                }
                self.bytes -= size_of::<Member>() + HEAD;
                return Some(self.members.remove(at));
            }
            before = Some(at);
            head = member.next;
        }
        None
    }

    fn new_list(&mut self, first: u32, second: u32) -> u32 {
        let at = self.free_lists.pop().unwrap_or_else(|| {
            self.lists.push(Vec::new());
            (self.lists.len() - 1) as u32
        });
        self.bytes += LIST;
        self.push_to_list(at, first);
        self.push_to_list(at, second);
        at
    }

    fn push_to_list(&mut self, list: u32, subscriber: u32) {
        let list = &mut self.lists[list as usize];
        let before = list.capacity();
        list.push(subscriber);
        self.bytes += (list.capacity() - before) * size_of::<u32>();
    }

    /// Takes the subscriber at position `at` out of a set; the last one of its list moves there.
    fn take_from_list(&mut self, id: SetId, at: u32) {
        let Set { count, value } = *self.set(id);
        if count == 1 {
            *self.set(id) = Set::default();
            return;
        }
        let list = &mut self.lists[value as usize];
        list.swap_remove(at as usize);
        if let Some(&moved) = list.get(at as usize) {
            let member = self.member(id, moved);
            if let Some(member) = member {
                self.members[member].at = at;
            }
        }
        let list = &mut self.lists[value as usize];
        let new = if let [only] = list[..] {
            self.bytes -= LIST + list.capacity() * size_of::<u32>();
            *list = Vec::new();
            self.free_lists.push(value);
            only
        } else {
            value
        };
        *self.set(id) = Set {
            count: count - 1,
            value: new,
        };
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.members.len() == 0 && self.bytes == 0
    }
}

/// What a new subscription to `pattern` adds at most: all of its nodes, and a list of two.
pub(crate) fn most_bytes(pattern: &str) -> usize {
    let tokens = pattern.split('.').count();
    tokens * (size_of::<Node>() + HEAD)
        + Token::most_heap_bytes(pattern)
        + size_of::<Member>()
        + HEAD
        + LIST
        + 16
}

/// Spreads the bits of a keyed hash that was combined with a node's number (the finalizer of SplitMix64).
fn mix(mut key: u64) -> u64 {
    key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

const _: () = assert!(size_of::<Node>() == 48 && size_of::<Member>() == 16);
