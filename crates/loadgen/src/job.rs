//! The description of a load.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hioload_transport::Endpoint;
use hioload_ws_proto::Kind;

use crate::error::UnknownName;
use crate::sizes::Sizes;

/// Makes an enumeration whose variants have names on the command line.
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
            type Err = UnknownName;
            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownName { given: text.to_owned(), known: &[$($word,)*] }),
                }
            }
        }
    };
}

words! {
    /// The kind of load.
    Scenario {
        /// Closed loop: each answer is followed by the next message.
        "echo" => Echo,
        /// Open loop: messages are sent when they are due, however many are in flight.
        "rate" => Rate,
        /// Connections are opened and stay open.
        "ramp" => Ramp,
        /// Connections are open and send nothing.
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
    /// The arrival process of an open loop.
    Arrival {
        /// Equal gaps on each connection, with the connections spread evenly.
        "even" => Even,
        /// A Poisson process: exponentially distributed gaps.
        "poisson" => Poisson,
    }
}

words! {
    /// The part of an answer that is compared.
    Verify {
        /// Length and number: detects answers that are missing, sent twice or out of order.
        "length" => Length,
        /// Length, number and every byte.
        "content" => Content,
    }
}

words! {
    /// The protocol by which fan-out is requested.
    Dialect {
        /// The subprotocol `hioload.topics.v1`.
        "topics" => Topics,
        /// Binary messages that the server sends on to all connections.
        "plain" => Plain,
        /// As `plain`, from a server that sends each subscriber a message once it receives publications.
        "greeted" => Greeted,
    }
}

/// The description of a load. Counts are for all lcores together. Made by [`Job::new`] and changed field by field.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Job {
    /// The kind of load.
    pub scenario: Scenario,
    /// Addresses of the server. The first that answers is used.
    pub endpoints: Vec<Endpoint>,
    /// Value of the `Host` field.
    pub host: String,
    /// Request target of connections.
    pub target: String,
    /// Request target of publishers.
    pub publish_target: String,
    /// Value of the `Origin` field, if it is sent.
    pub origin: Option<String>,
    /// Subprotocols to offer.
    pub protocols: Vec<String>,
    /// Further header fields.
    pub headers: Vec<(String, String)>,
    /// Whether permessage-deflate is offered.
    pub deflate: bool,
    /// Connections; with `fanout`, subscribers.
    pub connections: usize,
    /// Handshakes in flight on each lcore, at most.
    pub opening: usize,
    /// Messages in flight on each connection, at most; with `fanout`, publications of each topic.
    pub in_flight: usize,
    /// With `echo`: messages in flight on all connections together. Each connection has at most one, and they take turns. 0: no
    /// turns.
    pub active: usize,
    /// With `echo`: connections that are open and send nothing.
    pub silent: usize,
    /// Sizes of messages.
    pub sizes: Sizes,
    /// Text or binary messages.
    pub kind: Kind,
    /// Messages, opens or publications per second.
    pub rate: Option<f64>,
    /// The arrival process of an open loop.
    pub arrival: Arrival,
    /// Duration of the measurement.
    pub duration: Duration,
    /// Duration of the load before the measurement.
    pub warmup: Duration,
    /// Frames that each message is split into.
    pub fragments: usize,
    /// The part of an answer that is compared.
    pub verify: Verify,
    /// Time limit of a handshake, and of an answer.
    pub timeout: Duration,
    /// Errors of connections that are allowed before the run fails.
    pub max_errors: u64,
    /// Whether a run with more errors continues to its end, so that all of them are counted. It fails all the same.
    pub to_the_end: bool,
    /// With `churn`: messages on each connection.
    pub echoes: usize,
    /// With `fanout`: publishers.
    pub publishers: usize,
    /// With `fanout`: topics.
    pub topics: usize,
    /// With `fanout`: the protocol.
    pub dialect: Dialect,
    /// Generator lcores.
    pub lcores: usize,
}

impl Job {
    /// A small load for one server: two connections that echo 64 bytes for one second, with one message in flight on each and every
    /// byte compared.
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
            to_the_end: false,
            echoes: 1,
            publishers: 1,
            topics: 1,
            dialect: Dialect::Topics,
            lcores: 1,
        }
    }

    /// The part of `all` that belongs to an lcore.
    pub(crate) fn share(&self, all: usize, lcore: u16) -> usize {
        let (lcore, lcores) = (usize::from(lcore), self.lcores.max(1));
        all * (lcore + 1) / lcores - all * lcore / lcores
    }

    /// The most messages in flight on one connection.
    pub(crate) fn window(&self) -> usize {
        self.in_flight.max(1)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A small job.
    pub(crate) fn job(scenario: Scenario) -> Job {
        Job::new(scenario, Endpoint::Tcp(([127, 0, 0, 1], 9001).into()))
    }

    #[test]
    fn the_shares_of_the_lcores_add_up_to_the_whole() {
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
