//! What a generator is to do.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hioload_transport::Endpoint;
use hioload_ws_proto::Kind;

use crate::sizes::Sizes;

/// Makes an enumeration that is written on a command line.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $word:literal => $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $variant,)* }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)* })
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("'{text}' is none of {}", [$($word,)*].join(", "))),
                }
            }
        }
    };
}

words! {
    /// What the load is.
    Scenario {
        /// Closed loop: each answer is followed by the next message.
        "echo" => Echo,
        /// Open loop: messages are sent when they are due, whatever is still under way.
        "rate" => Rate,
        /// Connections are opened and stay.
        "ramp" => Ramp,
        /// Connections are open and say nothing.
        "hold" => Hold,
        /// Connections are opened, used a little and closed, over and over.
        "churn" => Churn,
        /// Messages are published to subscribers.
        "fanout" => Fanout,
        /// Closed loop with large messages.
        "bulk" => Bulk,
    }
}

words! {
    /// When messages of an open loop are due.
    Arrival {
        /// At equal distances on each connection; the connections are spread evenly.
        "even" => Even,
        /// A Poisson process: at distances that are exponentially distributed.
        "poisson" => Poisson,
    }
}

words! {
    /// What is compared of an answer.
    Verify {
        /// Its length and its number, so that nothing is missing, sent twice or out of order.
        "length" => Length,
        /// These and every byte.
        "content" => Content,
    }
}

words! {
    /// How fan-out is asked for.
    Dialect {
        /// The subprotocol `hioload.topics.v1`.
        "topics" => Topics,
        /// Binary messages that the server passes on to everybody.
        "plain" => Plain,
        /// The same, from a server that greets a subscriber with a message as soon as it will get what is published.
        "greeted" => Greeted,
    }
}

/// What a generator is to do; counts are of all lcores together.
#[derive(Debug, Clone)]
pub struct Job {
    /// The load.
    pub scenario: Scenario,
    /// Where the server listens: the first of these that answers.
    pub endpoints: Vec<Endpoint>,
    /// The `Host` field.
    pub host: String,
    /// Request target.
    pub target: String,
    /// Request target of publishers.
    pub publish_target: String,
    /// `Origin`, if one is to be sent.
    pub origin: Option<String>,
    /// Subprotocols to offer.
    pub protocols: Vec<String>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// Whether to offer permessage-deflate.
    pub deflate: bool,
    /// Connections; with `fanout` subscribers.
    pub connections: usize,
    /// Handshakes under way at once, of an lcore.
    pub opening: usize,
    /// Messages under way at once on each connection; with `fanout` publications of each topic.
    pub in_flight: usize,
    /// With `echo`: messages under way at once on all connections together, one at most on each, which take turns; 0: all
    /// have theirs.
    pub active: usize,
    /// With `echo`: connections that are open and say nothing.
    pub silent: usize,
    /// Bytes of messages.
    pub sizes: Sizes,
    /// Text or binary.
    pub kind: Kind,
    /// Messages, opens or publications per second.
    pub rate: Option<f64>,
    /// When they are due.
    pub arrival: Arrival,
    /// What is measured.
    pub duration: Duration,
    /// What comes before and counts for nothing.
    pub warmup: Duration,
    /// Frames that each message is split into.
    pub fragments: usize,
    /// What is compared.
    pub verify: Verify,
    /// For a handshake, and for an answer.
    pub timeout: Duration,
    /// Errors of connections that do not fail the run.
    pub max_errors: u64,
    /// With `churn`: messages on each connection.
    pub echoes: usize,
    /// With `fanout`: publishers.
    pub publishers: usize,
    /// With `fanout`: topics.
    pub topics: usize,
    /// With `fanout`: how it is asked for.
    pub dialect: Dialect,
    /// Generator lcores.
    pub lcores: usize,
}

impl Job {
    /// A small one, to a server at an address: two connections that echo 64 bytes for a second, a message under way on each,
    /// every byte compared.
    #[must_use]
    pub fn new(scenario: Scenario, server: Endpoint) -> Self {
        let host = match &server {
            Endpoint::Tcp(addr) => addr.to_string(),
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        Self {
            scenario,
            endpoints: vec![server],
            host,
            target: "/echo".to_owned(),
            publish_target: "/echo".to_owned(),
            origin: None,
            protocols: Vec::new(),
            headers: Vec::new(),
            deflate: false,
            connections: 2,
            opening: 128,
            in_flight: 1,
            active: 0,
            silent: 0,
            sizes: Sizes::fixed(64),
            kind: Kind::Binary,
            rate: None,
            arrival: Arrival::Even,
            duration: Duration::from_secs(1),
            warmup: Duration::ZERO,
            fragments: 1,
            verify: Verify::Content,
            timeout: Duration::from_secs(5),
            max_errors: 0,
            echoes: 1,
            publishers: 1,
            topics: 1,
            dialect: Dialect::Topics,
            lcores: 1,
        }
    }

    /// The part of `all` that an lcore has.
    pub(crate) fn share(&self, all: usize, lcore: u16) -> usize {
        let (lcore, lcores) = (usize::from(lcore), self.lcores.max(1));
        all * (lcore + 1) / lcores - all * lcore / lcores
    }

    /// The most messages that are under way on one connection.
    pub(crate) fn window(&self) -> usize {
        self.in_flight.max(1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small one.
    pub(crate) fn job(scenario: Scenario) -> Job {
        Job::new(scenario, Endpoint::Tcp(([127, 0, 0, 1], 9001).into()))
    }

    #[test]
    fn the_shares_are_all() {
        for lcores in 1..5 {
            let mut job = job(Scenario::Echo);
            job.lcores = lcores;
            for all in [0, 1, 7, 1000] {
                let shares = (0..lcores as u16).map(|lcore| job.share(all, lcore));
                assert_eq!(shares.sum::<usize>(), all);
            }
        }
    }
}
