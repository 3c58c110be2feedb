//! Who is subscribed to what: a trie over the dot-separated tokens of topics.
//!
//! The wildcards are those of NATS: `*` stands for exactly one token, `>` for one or more and only at the end. A subscriber
//! is a small number: a connection of this lcore, or another lcore that has subscribers of its own, so that one lookup says
//! both whom to send to here and whom to pass the message on to. Matching visits at most `2^depth` nodes, and the depth of a
//! topic is bounded by [`MAX_TOKENS`].

use std::collections::HashMap;

use indexmap::IndexSet;

/// Longest topic or pattern, in bytes.
pub const MAX_TOPIC: usize = 256;
/// Most tokens of a topic or pattern.
pub const MAX_TOKENS: usize = 16;

/// A set of subscribers with O(1) insert and removal, iterated as an array.
type Subscribers<S> = IndexSet<S>;

#[derive(Debug)]
struct Node<S> {
    // Boxed: a table has at least four places, and most nodes have one child.
    children: HashMap<Box<str>, Box<Node<S>>>,
    any: Option<Box<Node<S>>>,
    here: Subscribers<S>,
    rest: Subscribers<S>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self {
            children: HashMap::new(),
            any: None,
            here: IndexSet::new(),
            rest: IndexSet::new(),
        }
    }
}

impl<S> Node<S> {
    fn is_empty(&self) -> bool {
        self.children.is_empty()
            && self.any.is_none()
            && self.here.is_empty()
            && self.rest.is_empty()
    }
}

/// A set of subscriptions.
#[derive(Debug)]
pub(crate) struct Topics<S> {
    root: Node<S>,
}

/// Whether `topic` may be published to: tokens separated by dots, none empty, no wildcard, no control character.
pub fn is_topic(topic: &str) -> bool {
    is_well_formed(topic) && !topic.split('.').any(|token| token == "*" || token == ">")
}

/// Whether `pattern` may be subscribed to: as a topic, with `*` for a token or `>` for the last one.
pub fn is_pattern(pattern: &str) -> bool {
    is_well_formed(pattern) && !pattern.rsplit('.').skip(1).any(|token| token == ">")
}

fn is_well_formed(topic: &str) -> bool {
    topic.len() <= MAX_TOPIC
        && topic.split('.').count() <= MAX_TOKENS
        && topic.split('.').all(|token| {
            !token.is_empty()
                && (token == "*"
                    || token == ">"
                    || !token
                        .chars()
                        .any(|c| c == '*' || c == '>' || c.is_control() || c == ' '))
        })
}

impl<S: Copy + Eq + std::hash::Hash> Topics<S> {
    pub(crate) fn new() -> Self {
        Self {
            root: Node::default(),
        }
    }

    /// Adds a subscription; `false` if it was there. `pattern` must satisfy [`is_pattern`].
    pub(crate) fn subscribe(&mut self, pattern: &str, subscriber: S) -> bool {
        let mut node = &mut self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => return node.rest.insert(subscriber),
                "*" => node.any.get_or_insert_default(),
                _ if node.children.contains_key(token) => node
                    .children
                    .get_mut(token)
                    .expect("looked up the line before"),
                _ => node.children.entry(token.into()).or_default(),
            };
        }
        node.here.insert(subscriber)
    }

    /// Removes a subscription and the nodes that held only it; `false` if there was none.
    pub(crate) fn unsubscribe(&mut self, pattern: &str, subscriber: S) -> bool {
        fn walk<S: Eq + std::hash::Hash>(
            node: &mut Node<S>,
            pattern: Option<&str>,
            subscriber: &S,
        ) -> bool {
            let set = match pattern {
                None => &mut node.here,
                Some(">") => &mut node.rest,
                Some(pattern) => {
                    let (token, rest) = match pattern.split_once('.') {
                        Some((token, rest)) => (token, Some(rest)),
                        None => (pattern, None),
                    };
                    let child = match token {
                        "*" => node.any.as_deref_mut(),
                        _ => node.children.get_mut(token).map(Box::as_mut),
                    };
                    let Some(child) = child else { return false };
                    let removed = walk(child, rest, subscriber);
                    if child.is_empty() {
                        match token {
                            "*" => node.any = None,
                            _ => drop(node.children.remove(token)),
                        }
                    }
                    return removed;
                }
            };
            set.swap_remove(subscriber)
        }
        walk(&mut self.root, Some(pattern), &subscriber)
    }

    /// Those subscribed with exactly this pattern.
    pub(crate) fn subscribers(&self, pattern: &str) -> impl Iterator<Item = S> {
        self.set(pattern).into_iter().flatten().copied()
    }

    /// Whether this subscription is there.
    pub(crate) fn contains(&self, pattern: &str, subscriber: S) -> bool {
        self.set(pattern)
            .is_some_and(|set| set.contains(&subscriber))
    }

    fn set(&self, pattern: &str) -> Option<&Subscribers<S>> {
        let mut node = &self.root;
        for token in pattern.split('.') {
            node = match token {
                ">" => return Some(&node.rest),
                "*" => node.any.as_deref()?,
                _ => node.children.get(token)?,
            };
        }
        Some(&node.here)
    }

    /// Calls `f` for each subscription that `topic` matches. A subscriber with several comes several times.
    pub(crate) fn matches(&self, topic: &str, mut f: impl FnMut(S)) {
        fn walk<S: Copy>(node: &Node<S>, topic: Option<&str>, f: &mut impl FnMut(S)) {
            let Some(topic) = topic else {
                node.here.iter().copied().for_each(f);
                return;
            };
            node.rest.iter().copied().for_each(&mut *f);
            let (token, rest) = match topic.split_once('.') {
                Some((token, rest)) => (token, Some(rest)),
                None => (topic, None),
            };
            if let Some(child) = node.children.get(token) {
                walk(child, rest, f);
            }
            if let Some(child) = &node.any {
                walk(child, rest, f);
            }
        }
        walk(&self.root, Some(topic), &mut f);
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn matched(topics: &Topics<u32>, topic: &str) -> Vec<u32> {
        let mut out = Vec::new();
        topics.matches(topic, |s| out.push(s));
        out.sort_unstable();
        out
    }

    #[test]
    fn wildcards_are_those_of_nats() {
        let mut topics = Topics::new();
        for (n, pattern) in ["a.b", "a.*", "*.b", "a.>", ">", "a", "a.*.c", "*"]
            .iter()
            .enumerate()
        {
            assert!(is_pattern(pattern));
            assert!(topics.subscribe(pattern, n as u32));
        }
        assert_eq!(matched(&topics, "a.b"), [0, 1, 2, 3, 4]);
        // `>` needs at least one token, so `a.>` does not match `a`.
        assert_eq!(matched(&topics, "a"), [4, 5, 7]);
        assert_eq!(matched(&topics, "a.x.c"), [3, 4, 6]);
        assert_eq!(matched(&topics, "x.y.z"), [4]);
    }

    #[test]
    fn what_may_be_published_and_subscribed() {
        for good in ["a", "a.b.c", "ünï.code", "$sys-1_x"] {
            assert!(is_topic(good) && is_pattern(good), "{good}");
        }
        for pattern in ["*", ">", "a.*", "a.>", "*.*.>"] {
            assert!(is_pattern(pattern) && !is_topic(pattern), "{pattern}");
        }
        let long = "x".repeat(MAX_TOPIC + 1);
        let deep = vec!["a"; MAX_TOKENS + 1].join(".");
        for bad in [
            "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a*", "a.b>", "a b", "a\n", &long, &deep,
        ] {
            assert!(!is_topic(bad) && !is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn the_subscribers_of_one_pattern_and_the_end_of_its_nodes() {
        let mut topics = Topics::new();
        for pattern in ["a.*", "a.>", "a.b"] {
            assert!(topics.subscribe(pattern, 1));
            assert!(!topics.subscribe(pattern, 1));
            assert!(topics.contains(pattern, 1) && !topics.contains(pattern, 2));
            assert!(topics.subscribe(pattern, 2));
            assert_eq!(topics.subscribers(pattern).collect::<Vec<_>>(), [1, 2]);
        }
        assert_eq!(topics.subscribers("a").count(), 0);
        assert_eq!(topics.subscribers("x.y").count(), 0);
        assert!(!topics.unsubscribe("a.*", 3) && !topics.unsubscribe("b", 1));
        for pattern in ["a.*", "a.>", "a.b"] {
            assert!(topics.unsubscribe(pattern, 1));
            assert_eq!(topics.subscribers(pattern).collect::<Vec<_>>(), [2]);
            assert!(topics.unsubscribe(pattern, 2));
            assert_eq!(topics.subscribers(pattern).count(), 0);
        }
        assert!(topics.is_empty());
    }

    fn matches_slowly(pattern: &str, topic: &str) -> bool {
        let (mut p, mut t) = (pattern.split('.'), topic.split('.'));
        loop {
            match (p.next(), t.next()) {
                (None, None) => return true,
                (Some(">"), Some(_)) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_list_of_patterns(
            ops in prop::collection::vec((any::<bool>(), "([ab*]\\.){0,3}[ab*>]", 0u32..4), 0..60),
            topic in "([ab]\\.){0,3}[ab]",
        ) {
            let mut topics = Topics::new();
            let mut model = BTreeSet::new();
            for (add, pattern, who) in ops {
                if add {
                    prop_assert_eq!(topics.subscribe(&pattern, who), model.insert((pattern, who)));
                } else {
                    let had = topics.unsubscribe(&pattern, who);
                    prop_assert_eq!(had, model.remove(&(pattern, who)));
                }
            }
            let expected: Vec<u32> = {
                let mut v: Vec<_> =
                    model.iter().filter(|(p, _)| matches_slowly(p, &topic)).map(|(_, w)| *w).collect();
                v.sort_unstable();
                v
            };
            prop_assert_eq!(matched(&topics, &topic), expected);
            for (pattern, who) in model {
                topics.unsubscribe(&pattern, who);
            }
            prop_assert!(topics.is_empty(), "nodes were left behind");
        }
    }
}
