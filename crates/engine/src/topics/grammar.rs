//! What a topic and a pattern may look like. The wildcards are those of NATS: `*` stands for exactly one token, `>` for one or
//! more tokens and only at the end.

/// Longest topic or pattern, in bytes.
pub const MAX_TOPIC: usize = 256;
/// Most tokens of a topic or pattern.
pub const MAX_TOKENS: usize = 16;
/// Most `*` tokens of a pattern. Matching a topic visits at most one node for each way to replace that many of its tokens by `*`:
/// 3,213 nodes for a topic of [`MAX_TOKENS`] tokens, whatever the subscribers chose. Without this bound it is 2^16.
pub const MAX_WILDCARDS: usize = 3;

/// Whether `topic` may be published to: tokens separated by dots, none empty, no wildcard, no space, no control character.
#[must_use]
pub fn is_topic(topic: &str) -> bool {
    is_well_formed(topic) && !topic.split('.').any(|token| token == "*" || token == ">")
}

/// Whether `pattern` may be subscribed to: as a topic, with `*` for at most [`MAX_WILDCARDS`] of the tokens and `>` for the last.
#[must_use]
pub fn is_pattern(pattern: &str) -> bool {
    is_well_formed(pattern)
        && !pattern.rsplit('.').skip(1).any(|token| token == ">")
        && pattern.split('.').filter(|token| *token == "*").count() <= MAX_WILDCARDS
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_have_no_wildcards_and_patterns_have_few() {
        for good in ["a", "a.b.c", "ünï.code", "$sys-1_x"] {
            assert!(is_topic(good) && is_pattern(good), "{good}");
        }
        for pattern in ["*", ">", "a.*", "a.>", "*.*.>", "*.*.*.>"] {
            assert!(is_pattern(pattern) && !is_topic(pattern), "{pattern}");
        }
        let long = "x".repeat(MAX_TOPIC + 1);
        let deep = vec!["a"; MAX_TOKENS + 1].join(".");
        for bad in [
            "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a*", "a.b>", "a b", "a\n", &long, &deep,
        ] {
            assert!(!is_topic(bad) && !is_pattern(bad), "{bad}");
        }
        assert!(!is_pattern("*.*.*.*"));
    }
}
