//! The subscriptions of each connection, and the connections that each publication must reach and may reach.

use std::collections::{BTreeMap, BTreeSet};

/// A publication since the lcores were last at rest.
#[derive(Debug, Default)]
struct Publication {
    topic: String,
    publisher: usize,
    /// Connections that it has to reach, and those that it may reach.
    must: BTreeSet<usize>,
    may: BTreeSet<usize>,
    reached: BTreeSet<usize>,
}

/// The naive model.
#[derive(Debug)]
pub(super) struct Model {
    patterns: Vec<BTreeSet<String>>,
    next: u64,
    publications: BTreeMap<u64, Publication>,
    /// The last number that each connection received from each publisher.
    last: Vec<BTreeMap<usize, u64>>,
}

/// Whether a pattern matches a topic, token by token.
fn matches(pattern: &str, topic: &str) -> bool {
    let mut tokens = topic.split('.');
    for word in pattern.split('.') {
        match (word, tokens.next()) {
            (_, None) => return false,
            (">", Some(_)) => return true,
            (word, Some(token)) if word != "*" && word != token => return false,
            _ => {}
        }
    }
    tokens.next().is_none()
}

impl Model {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            patterns: vec![BTreeSet::new(); connections],
            next: 0,
            publications: BTreeMap::new(),
            last: vec![BTreeMap::new(); connections],
        }
    }

    fn is_subscribed(&self, who: usize, topic: &str) -> bool {
        self.patterns[who]
            .iter()
            .any(|pattern| matches(pattern, topic))
    }

    /// One of the patterns of a connection.
    pub(super) fn nth_pattern(&self, who: usize, n: usize) -> Option<String> {
        let patterns = &self.patterns[who];
        patterns.iter().nth(n % patterns.len().max(1)).cloned()
    }

    pub(super) fn subscribed(&mut self, who: usize, pattern: String, answer: &str) {
        let known = self.patterns[who].contains(&pattern);
        match answer {
            "s1" => assert!(!known, "{pattern} twice"),
            "s0" => return assert!(known, "{pattern} was not there"),
            "sx" => return,
            other => panic!("{other} answers a subscription"),
        }
        for publication in self.publications.values_mut() {
            if matches(&pattern, &publication.topic) {
                publication.may.insert(who);
            }
        }
        self.patterns[who].insert(pattern);
    }

    pub(super) fn unsubscribed(&mut self, who: usize, pattern: &str, answer: &str) {
        let known = self.patterns[who].remove(pattern);
        match answer {
            "u1" => assert!(known, "{pattern} was not there"),
            _ => assert!(!known, "{pattern} was there: {answer}"),
        }
        self.lapse(who);
    }

    /// The connection has gone; its number gets a new one.
    pub(super) fn left(&mut self, who: usize) {
        self.patterns[who].clear();
        self.lapse(who);
        for publication in self.publications.values_mut() {
            publication.may.remove(&who);
            publication.reached.remove(&who);
            // The new connection with this number is another publisher.
            if publication.publisher == who {
                publication.publisher = usize::MAX;
            }
        }
        self.last[who].clear();
        for last in &mut self.last {
            last.remove(&who);
        }
    }

    /// Publications need not reach a connection any more whose last matching subscription has ended.
    fn lapse(&mut self, who: usize) {
        let lapsed: Vec<u64> = self
            .publications
            .iter()
            .filter(|(_, publication)| !self.is_subscribed(who, &publication.topic))
            .map(|(number, _)| *number)
            .collect();
        for number in lapsed {
            if let Some(publication) = self.publications.get_mut(&number) {
                publication.must.remove(&who);
            }
        }
    }

    /// A connection is about to publish. Returns the number of the publication.
    pub(super) fn publishing(&mut self, who: usize, topic: &str) -> u64 {
        let reached = (0..self.patterns.len()).filter(|who| self.is_subscribed(*who, topic));
        let must: BTreeSet<usize> = reached.collect();
        let publication = Publication {
            topic: topic.to_owned(),
            publisher: who,
            may: must.clone(),
            must,
            reached: BTreeSet::new(),
        };
        self.next += 1;
        self.publications.insert(self.next, publication);
        self.next
    }

    /// The publication was accepted, or refused.
    pub(super) fn published(&mut self, number: u64, answer: &str) {
        if answer == "px" {
            let refused = self.publications.remove(&number);
            let refused = refused.expect("it was published");
            let words = refused.topic.split('.');
            let is_topic = words.clone().all(|word| !["*", ">", ""].contains(&word));
            assert!(!is_topic || words.count() > 16, "{} refused", refused.topic);
            assert!(refused.reached.is_empty(), "refused and delivered");
        } else {
            assert_eq!(answer, "p1");
        }
    }

    pub(super) fn delivered(&mut self, who: usize, number: u64) {
        let publication = self.publications.get_mut(&number);
        let publication =
            publication.unwrap_or_else(|| panic!("{who} received {number}, which is over"));
        assert!(
            publication.may.contains(&who),
            "{who} received {number} to {}, which it is not subscribed to",
            publication.topic
        );
        assert!(publication.reached.insert(who), "{who} got {number} twice");
        let before = self.last[who].insert(publication.publisher, number);
        assert!(
            publication.publisher == usize::MAX || before.is_none_or(|before| before < number),
            "{who} received {number} after {before:?}"
        );
    }

    /// All lcores are at rest: every publication has arrived.
    pub(super) fn rest(&mut self) {
        for (number, publication) in std::mem::take(&mut self.publications) {
            let missed: Vec<_> = publication.must.difference(&publication.reached).collect();
            assert!(
                missed.is_empty(),
                "{number} to {} did not reach {missed:?}",
                publication.topic
            );
        }
    }
}
