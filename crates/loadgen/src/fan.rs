//! The topics of an lcore in the fan-out scenario. Each lcore has topics of its own with all of their publishers and subscribers,
//! so that the time of a publication is known where it is delivered.

use crate::job::{Dialect, Job, Scenario};

/// Publications of a topic whose time is stored. A delivery that is further behind is not timed.
pub(crate) const REMEMBERED: usize = 1 << 14;
/// The request of a subscriber, before and after the topic.
const SUBSCRIBE: (&str, &str) = ("{\"sub\":\"", "\",\"id\":1}");
/// The answer to it.
pub(crate) const SUBSCRIBED: &[u8] = b"{\"ok\":1}";
/// The text after the data of a publication and of a delivery.
pub(crate) const TAIL: &[u8] = b"\"}";

/// A topic of this lcore.
#[derive(Debug)]
pub(crate) struct Topic {
    /// The request of a subscriber.
    pub(crate) request: Vec<u8>,
    /// The text before the data of a publication, and of a delivery.
    pub(crate) published: Vec<u8>,
    pub(crate) delivered: Vec<u8>,
    /// The connection that publishes.
    pub(crate) publisher: usize,
    subscribers: u64,
    /// The number of the next publication, and of the first.
    pub(crate) next: u32,
    pub(crate) first: u32,
    pub(crate) deliveries: u64,
    /// Times at which publications were sent or due, by their number.
    pub(crate) at: Box<[u64]>,
    /// Open loop: the time at which the next publication is due.
    pub(crate) due: u64,
}

/// The topics of an lcore.
#[derive(Debug)]
pub(crate) struct Fan {
    pub(crate) publishers: usize,
    pub(crate) topics: Vec<Topic>,
    /// Publishers that are open, and subscribers that are subscribed.
    pub(crate) ready: usize,
    pub(crate) dialect: Dialect,
    pub(crate) scratch: Vec<u8>,
    /// Open loop: topics whose publisher has no space.
    pub(crate) waiting: Vec<usize>,
}

impl Fan {
    pub(crate) fn new(job: &Job, lcore: u16) -> Self {
        let mut fan = Self {
            publishers: 0,
            topics: Vec::new(),
            ready: 0,
            dialect: job.dialect,
            scratch: Vec::new(),
            waiting: Vec::new(),
        };
        if job.scenario != Scenario::Fanout {
            return fan;
        }
        let subscribers = job.share(job.connections, lcore);
        let count = job.share(job.topics.max(1), lcore);
        fan.publishers = job.share(job.publishers.max(1), lcore).min(count);
        // Topics of two concurrent runs differ.
        let run: u32 = rand::random();
        for t in 0..count {
            let name = format!("load.{run:08x}.{lcore}.{t}");
            let topics = job.dialect == Dialect::Topics;
            let head = |verb: &str| match topics {
                true => format!("{{\"{verb}\":\"{name}\",\"data\":\"").into_bytes(),
                false => Vec::new(),
            };
            let first = rand::random();
            fan.topics.push(Topic {
                request: format!("{}{name}{}", SUBSCRIBE.0, SUBSCRIBE.1).into_bytes(),
                published: head("pub"),
                delivered: head("msg"),
                publisher: subscribers + t % fan.publishers.max(1),
                // Subscriber n has topic n modulo their number.
                subscribers: (subscribers + count - 1 - t).div_euclid(count) as u64,
                next: first,
                first,
                deliveries: 0,
                at: vec![0; REMEMBERED].into(),
                due: 0,
            });
        }
        fan
    }

    /// Whether every publication was delivered to all subscribers.
    pub(crate) fn is_complete(&self) -> bool {
        self.topics
            .iter()
            .all(|topic| topic.deliveries == u64::from(topic.sent()) * topic.subscribers)
    }
}

impl Topic {
    fn sent(&self) -> u32 {
        self.next.wrapping_sub(self.first)
    }

    /// Publications that are not yet delivered to all subscribers.
    pub(crate) fn in_flight(&self) -> u64 {
        u64::from(self.sent()).saturating_sub(self.deliveries / self.subscribers.max(1))
    }
}
