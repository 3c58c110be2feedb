//! What the connections of an attack send.

use super::bombs::Bombs;
use super::frames::{BINARY, FIN, TEXT, frame, header};
use super::options::TopicTexts;
use super::patterns::{Patterns, long};
use crate::attack::Attack;
use crate::kind::AttackKind;

/// While subscriptions are missing, one operation in this many is a publication.
const PUBLISH_EVERY: u64 = 8;
/// Operations that subscribe in place of one publication: subscribing is quick.
pub(crate) const SUBSCRIBE_AT_ONCE: usize = 16;
/// Topics of each connection of `churn`.
const FLIPPED: u64 = 8;
/// Bytes written at once of an unfinished message.
const PIECE: u64 = 64 << 10;

/// What one connection has done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    /// Operations so far.
    done: u64,
    /// Patterns subscribed to so far.
    subscribed: usize,
    /// Bytes of the payload of the unfinished message.
    filled: u64,
    /// Time of its next byte, ns.
    due: u64,
    /// Whether compressed messages may refer to earlier ones.
    pub(crate) takes_over: bool,
}

/// The method of an attack.
#[derive(Debug)]
enum Method {
    Topics(Patterns),
    Deflate(Bombs),
    Churn,
    Subscriptions,
    Unfinished { size: u64, interval: u64 },
    Trickle { message: Vec<u8> },
}

/// The method of an attack, and its texts.
#[derive(Debug)]
pub(crate) struct Script {
    method: Method,
    texts: TopicTexts,
    /// A word that no other attack has.
    word: String,
    connections: usize,
    published: usize,
    scratch: String,
}

impl Script {
    pub(crate) fn new(attack: &Attack, texts: &TopicTexts) -> Self {
        let size = attack.size as usize;
        let method = match attack.kind {
            AttackKind::Topics => Method::Topics(Patterns::new(attack.shape, texts)),
            AttackKind::Deflate => Method::Deflate(Bombs::new(size)),
            AttackKind::Churn => Method::Churn,
            AttackKind::Unfinished => Method::Unfinished {
                size: attack.size,
                interval: attack.interval.as_nanos() as u64,
            },
            AttackKind::Trickle => {
                let mut message = Vec::new();
                frame(&mut message, FIN | BINARY, &vec![0; size]);
                Method::Trickle { message }
            }
            // Attacks with packets have no script; `MessageOptions::check` refuses them.
            _ => Method::Subscriptions,
        };
        Self {
            method,
            texts: texts.clone(),
            word: format!("{:08x}", rand::random::<u32>()),
            connections: attack.connections as usize,
            published: 0,
            scratch: String::new(),
        }
    }

    /// Appends the next message of connection `peer`. Returns the number of messages, or of pieces of one; 0 if none is due.
    pub(crate) fn next(
        &mut self,
        peer: usize,
        progress: &mut Progress,
        now: u64,
        out: &mut Vec<u8>,
    ) -> u64 {
        let n = progress.done;
        progress.done += 1;
        match &self.method {
            Method::Topics(_) => self.next_of_topics(peer, progress, out),
            Method::Deflate(bombs) => {
                out.extend_from_slice(bombs.form(peer, n == 0 || !progress.takes_over));
                1
            }
            Method::Churn => {
                let topic = format!("churn.{}.{peer}.{}", self.word, n / 2 % FLIPPED);
                let topic = topic.replace('.', &self.texts.separator);
                let ends = n % 2 == 1;
                self.say(ends, &topic, out);
                1
            }
            Method::Subscriptions => {
                let topic = long(n * self.connections as u64 + peer as u64, &self.texts);
                self.say(false, &topic, out);
                1
            }
            Method::Unfinished { size, interval } => {
                unfinished(peer, progress, *size, *interval, now, out)
            }
            Method::Trickle { message } => {
                out.extend_from_slice(message);
                1
            }
        }
    }

    /// Subscribes to the connection's share of the patterns, then publishes.
    fn next_of_topics(&mut self, peer: usize, progress: &mut Progress, out: &mut Vec<u8>) -> u64 {
        let Method::Topics(patterns) = &self.method else {
            return 0;
        };
        let publishes = progress.done.is_multiple_of(PUBLISH_EVERY);
        let mut wanted = Vec::new();
        while !publishes && wanted.len() < SUBSCRIBE_AT_ONCE {
            let n = progress.subscribed * self.connections + peer;
            if n >= patterns.len() {
                break;
            }
            wanted.push(patterns.pattern(n));
            progress.subscribed += 1;
        }
        if wanted.is_empty() {
            let topic = patterns.topic(self.published);
            self.published += 1;
            self.put(&self.texts.publish.replace("{topic}", &topic), out);
            return 1;
        }
        for pattern in &wanted {
            self.say(false, pattern, out);
        }
        wanted.len() as u64
    }

    fn say(&mut self, ends: bool, topic: &str, out: &mut Vec<u8>) {
        let text = match ends {
            true => &self.texts.unsubscribe,
            false => &self.texts.subscribe,
        };
        self.scratch = text.replace("{topic}", topic);
        self.put(&self.scratch, out);
    }

    fn put(&self, text: &str, out: &mut Vec<u8>) {
        frame(out, FIN | TEXT, text.as_bytes());
    }
}

/// A message that is announced and never finished. Every second connection fills it up to its last byte but one; the others leave it
/// at its header. From then on a byte follows after each interval.
fn unfinished(
    peer: usize,
    progress: &mut Progress,
    size: u64,
    interval: u64,
    now: u64,
    out: &mut Vec<u8>,
) -> u64 {
    if progress.done == 1 {
        header(out, FIN | BINARY, size);
    }
    let fills = peer.is_multiple_of(2);
    // Never the last byte.
    let left = size.saturating_sub(1).saturating_sub(progress.filled);
    let most = if fills && left > PIECE {
        PIECE
    } else if now >= progress.due {
        progress.due = now + interval;
        1
    } else {
        return 0;
    };
    let piece = most.min(left);
    out.resize(out.len() + piece as usize, 0);
    progress.filled += piece;
    u64::from(piece > 0)
}
