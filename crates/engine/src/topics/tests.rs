//! The index against a list of patterns, and its bounds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const BUDGET: usize = 1 << 20;

fn matched(index: &mut Index, topic: &str) -> Vec<u32> {
    let mut out = Vec::new();
    index.matches(topic, &mut out);
    out.sort_unstable();
    out
}

fn subscribe(index: &mut Index, pattern: &str, subscriber: u32) -> bool {
    index
        .subscribe(pattern, subscriber)
        .expect("there is room")
        .is_some()
}

pub(super) fn matches_slowly(pattern: &str, topic: &str) -> bool {
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

#[test]
fn wildcards_are_those_of_nats() {
    let mut index = Index::new(BUDGET);
    for (n, pattern) in ["a.b", "a.*", "*.b", "a.>", ">", "a", "a.*.c", "*"]
        .iter()
        .enumerate()
    {
        assert!(is_pattern(pattern));
        assert!(subscribe(&mut index, pattern, n as u32));
    }
    assert_eq!(matched(&mut index, "a.b"), [0, 1, 2, 3, 4]);
    // `>` needs at least one token, so `a.>` does not match `a`.
    assert_eq!(matched(&mut index, "a"), [4, 5, 7]);
    assert_eq!(matched(&mut index, "a.x.c"), [3, 4, 6]);
    assert_eq!(matched(&mut index, "x.y.z"), [4]);
}

#[test]
fn a_pattern_has_its_subscribers_and_a_set_its_pattern() {
    let mut index = Index::new(BUDGET);
    for pattern in [
        "a.*",
        "a.>",
        "a.b",
        "a-token-longer-than-fourteen-bytes.*.x",
    ] {
        let set = index.subscribe(pattern, 1).unwrap().unwrap();
        assert_eq!(index.pattern(set), pattern);
        assert!(!subscribe(&mut index, pattern, 1));
        assert!(index.contains(pattern, 1) && !index.contains(pattern, 2));
        assert!(subscribe(&mut index, pattern, 2));
        assert!(subscribe(&mut index, pattern, 3));
        assert_eq!(index.subscribers(pattern), [1, 2, 3]);
        assert!(index.remove(set, 1) && !index.remove(set, 1));
        assert_eq!(index.subscribers(pattern), [3, 2]);
        assert!(index.unsubscribe(pattern, 3).is_some());
        assert_eq!(index.subscribers(pattern), [2]);
        assert!(index.unsubscribe(pattern, 2).is_some());
        assert!(index.unsubscribe(pattern, 2).is_none());
    }
    assert!(index.is_empty());
}

#[test]
fn a_full_index_refuses_and_stays_within_its_budget() {
    let mut index = Index::new(100_000);
    let mut taken = 0;
    while index.subscribe(&format!("room.{taken}"), taken).is_ok() {
        taken += 1;
        assert!(index.bytes() <= 100_000);
    }
    assert!(taken > 1000, "{taken} subscriptions");
    assert_eq!(index.subscribe("room.x", 1), Err(index::NoRoom));
    assert_eq!(
        index.subscribe("room.0", 0),
        Ok(None),
        "it is there already"
    );
    for n in 0..taken {
        assert!(index.unsubscribe(&format!("room.{n}"), n).is_some());
    }
    assert!(index.is_empty());
    assert!(subscribe(&mut index, "room.x", 1));
}

#[test]
fn a_subscription_costs_less_than_200_bytes() {
    let mut index = Index::new(16 << 20);
    for n in 0..10_000 {
        subscribe(&mut index, &format!("user.{n}.inbox"), n);
    }
    let each = index.bytes() / 10_000;
    assert!(each < 200, "{each} bytes");
}

/// All patterns of sixteen tokens from {a, *} that are allowed: matching visits no more nodes than the documentation says.
#[test]
fn hostile_patterns_bound_the_nodes_that_a_topic_visits() {
    let mut index = Index::new(16 << 20);
    let mut patterns = 0;
    for mask in 0u32..1 << MAX_TOKENS {
        let tokens = (0..MAX_TOKENS).map(|n| if mask >> n & 1 == 1 { "*" } else { "a" });
        let pattern = tokens.collect::<Vec<_>>().join(".");
        if is_pattern(&pattern) {
            subscribe(&mut index, &pattern, patterns % 64);
            patterns += 1;
        }
    }
    assert_eq!(patterns, 697);
    let mut found = Vec::new();
    let visited = index.matches(&["a"; MAX_TOKENS].join("."), &mut found);
    assert_eq!((visited, found.len()), (3213, 697));
}

proptest! {
    #[test]
    fn agrees_with_a_list_of_patterns(
        ops in prop::collection::vec((any::<bool>(), "([ab*]\\.){0,3}[ab*>]", 0u32..4), 0..80),
        topic in "([ab]\\.){0,3}[ab]",
    ) {
        let mut index = Index::new(BUDGET);
        let mut model = BTreeSet::new();
        for (add, pattern, who) in ops {
            if add {
                prop_assert_eq!(subscribe(&mut index, &pattern, who), model.insert((pattern, who)));
            } else {
                let had = index.unsubscribe(&pattern, who).is_some();
                prop_assert_eq!(had, model.remove(&(pattern, who)));
            }
        }
        let mut expected: Vec<_> =
            model.iter().filter(|(p, _)| matches_slowly(p, &topic)).map(|(_, w)| *w).collect();
        expected.sort_unstable();
        prop_assert_eq!(matched(&mut index, &topic), expected);
        for (pattern, who) in model {
            prop_assert!(index.unsubscribe(&pattern, who).is_some());
        }
        prop_assert!(index.is_empty(), "nodes were left behind");
    }
}
