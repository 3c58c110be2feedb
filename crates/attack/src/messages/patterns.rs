//! Topics and patterns of the attacks.

use super::options::TopicTexts;
use crate::shape::Shape;

/// Tokens of a deep pattern.
const DEPTH: usize = 16;
/// Wildcards of a pattern of [`Shape::Deep`].
const FEW: u32 = 3;
/// Patterns of [`Shape::Wide`].
const WIDE: usize = 65_536;
/// Length of the patterns of the attack `subscriptions`, in bytes, without separators.
const LONG: usize = 225;

/// The patterns of the attack `topics`.
#[derive(Debug)]
pub(crate) struct Patterns {
    shape: Shape,
    /// Bit sets of the positions of wildcards.
    sets: Vec<u32>,
    wildcard: String,
    separator: String,
}

impl Patterns {
    pub(crate) fn new(shape: Shape, texts: &TopicTexts) -> Self {
        let all = 0..1_u32 << DEPTH;
        let sets = match shape {
            // The sets with few wildcards come first, so that a server that refuses some takes the most of the others.
            Shape::All => {
                let mut sets: Vec<u32> = all.collect();
                sets.sort_by_key(|set| set.count_ones());
                sets
            }
            Shape::Deep => all.filter(|set| set.count_ones() <= FEW).collect(),
            Shape::Wide => Vec::new(),
        };
        Self {
            shape,
            sets,
            wildcard: texts.wildcard.clone(),
            separator: texts.separator.clone(),
        }
    }

    /// The number of patterns.
    pub(crate) fn len(&self) -> usize {
        match self.shape {
            Shape::Wide => WIDE,
            _ => self.sets.len(),
        }
    }

    /// The pattern with this number, below [`len`](Self::len).
    pub(crate) fn pattern(&self, n: usize) -> String {
        if self.shape == Shape::Wide {
            let head = if n.is_multiple_of(2) {
                "w"
            } else {
                &self.wildcard
            };
            return format!("{head}{}{}", self.separator, n / 2);
        }
        let token = |at: usize| match self.sets[n] >> at & 1 {
            0 => "a",
            _ => self.wildcard.as_str(),
        };
        let tokens: Vec<&str> = (0..DEPTH).map(token).collect();
        tokens.join(&self.separator)
    }

    /// The topic of publication `n`, which matches as many patterns as possible.
    pub(crate) fn topic(&self, n: usize) -> String {
        match self.shape {
            Shape::Wide => format!("w{}{}", self.separator, n % (WIDE / 2)),
            _ => ["a"; DEPTH].join(&self.separator),
        }
    }
}

/// A long topic that no other number has.
pub(crate) fn long(n: u64, texts: &TopicTexts) -> String {
    let each = LONG / DEPTH;
    let tokens: Vec<String> = (0..DEPTH as u64)
        // Every token differs, so that a server that stores tokens once stores these too.
        .map(|at| {
            format!(
                "{:0each$x}",
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16 ^ at << 50 ^ n
            )
        })
        .map(|token| token.chars().rev().take(each).collect())
        .collect();
    tokens.join(&texts.separator)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_pattern_is_another_one_and_matches() {
        let texts = TopicTexts::default();
        for (shape, count) in [
            (Shape::All, 65_536),
            (Shape::Deep, 697),
            (Shape::Wide, 65_536),
        ] {
            let patterns = Patterns::new(shape, &texts);
            let all: HashSet<_> = (0..patterns.len()).map(|n| patterns.pattern(n)).collect();
            assert_eq!((patterns.len(), all.len()), (count, count));
            let topic = patterns.topic(5);
            let matches = |pattern: &str| {
                let pairs = pattern.split('.').zip(topic.split('.'));
                pattern.split('.').count() == topic.split('.').count() && { pairs }
                    .all(|(one, other)| one == "*" || one == other)
            };
            let matching = all.iter().filter(|pattern| matches(pattern)).count();
            assert_eq!(matching, if shape == Shape::Wide { 2 } else { count });
        }
    }

    #[test]
    fn long_topics_differ_and_are_within_the_limits_of_the_subprotocol() {
        let texts = TopicTexts::default();
        let all: HashSet<_> = (0..10_000).map(|n| long(n, &texts)).collect();
        assert_eq!(all.len(), 10_000);
        for topic in all {
            assert!(topic.len() > 200 && topic.len() <= 256, "{topic}");
            assert_eq!(topic.split('.').count(), 16);
        }
    }
}
