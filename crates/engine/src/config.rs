//! What an operator can set, with the documented answer at each bound.

use std::time::Duration;

use hioload_lcore::Idle;
use hioload_ws_proto::deflate::DeflateConfig;

/// What happens to a message for a connection whose send queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendPolicy {
    /// Queued messages not yet begun are dropped, the oldest first, until the new one fits.
    DropOldest,
    /// The new message is dropped.
    DropNew,
    /// The connection is closed with 1013 (Try Again Later).
    #[default]
    Close,
}

/// A text is not a [`SendPolicy`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ParseSendPolicyError;

impl std::fmt::Display for ParseSendPolicyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("expected drop-oldest, drop-new or close")
    }
}
impl std::error::Error for ParseSendPolicyError {}

impl std::str::FromStr for SendPolicy {
    type Err = ParseSendPolicyError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s {
            "drop-oldest" => Ok(Self::DropOldest),
            "drop-new" => Ok(Self::DropNew),
            "close" => Ok(Self::Close),
            _ => Err(ParseSendPolicyError),
        }
    }
}

impl std::fmt::Display for SendPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNew => "drop-new",
            Self::Close => "close",
        })
    }
}

/// Bounds. A zero means "no bound" where that is said. Each has a counter of how often it was met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Open connections of the process. Beyond: 503 and close. Counter `rejected_connections`.
    pub max_connections: usize,
    /// Open connections from one source address (IPv6: one /64). 0: no bound. Beyond: 503 and close. Counter
    /// `rejected_source`.
    pub max_connections_per_source: u32,
    /// Connections accepted per second by the process. 0: no bound. Beyond: they wait in the listener's backlog. Each
    /// lcore has an even share of it, rounded up. Counter `accept_throttled`.
    pub accept_rate: u32,
    /// Bytes of a request head. Beyond: 431. Counter `heads_too_large`.
    pub max_handshake: usize,
    /// Time from accept to the end of the request head. Beyond: 408. Counter `handshake_timeouts`.
    pub handshake_timeout: Duration,
    /// Bytes of a message after reassembly and inflation. Beyond: close 1009. Counter `messages_too_big`.
    pub max_message: usize,
    /// Frames of a message. Beyond: close 1008. Counter `messages_too_fragmented`.
    pub max_fragments: u32,
    /// Bytes of unfinished messages on one lcore. Beyond: the connection that asks for more is closed with 1013; the
    /// last quarter is for messages of which up to 16 KiB are here. Counter
    /// `reassembly_exhausted`.
    pub reassembly_memory: usize,
    /// Bytes of published messages that one lcore shares among send queues, each counted once. Beyond: they are copied into
    /// send buffers, of which there is a fixed number. Counter `published_copied`.
    pub published_memory: usize,
    /// Bytes in a connection's send queue at which it counts as full: a message is taken while less is queued. A full
    /// connection is not read until its queue has drained. Counter `send_queue_full`.
    pub send_queue: usize,
    /// What happens to a message for a full send queue. Counters `dropped_oldest`, `dropped_new`, `closed_slow`.
    pub send_policy: SendPolicy,
    /// Messages and control frames per second from one connection, with a burst of one second's worth. 0: no bound.
    /// Beyond: close 1008. Counter `rate_exceeded`.
    pub message_rate: u32,
    /// Silence after which a Ping is sent. Zero: none. Counter `pings_sent`.
    pub ping_interval: Duration,
    /// Silence after which a connection is closed with 1001. Zero: never. A peer that is slow to take what is sent to it is not
    /// silent. Counter `idle_timeouts`.
    pub idle_timeout: Duration,
    /// Age at which a connection is closed with 1001. Zero: never. Counter `lifetime_reached`.
    pub max_lifetime: Duration,
    /// Time for the peer to answer our Close, and then to close TCP. Beyond: reset. Counter `close_timeouts`.
    pub close_timeout: Duration,
    /// Subscriptions of one connection. Beyond: an error to the caller. Counter `subscriptions_refused`.
    pub max_subscriptions: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_source: 0,
            accept_rate: 0,
            max_handshake: 8 << 10,
            handshake_timeout: Duration::from_secs(10),
            max_message: 16 << 20,
            max_fragments: 1 << 17,
            reassembly_memory: 512 << 20,
            published_memory: 256 << 20,
            send_queue: 1 << 20,
            send_policy: SendPolicy::Close,
            message_rate: 0,
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            max_lifetime: Duration::ZERO,
            close_timeout: Duration::from_secs(5),
            max_subscriptions: 1024,
        }
    }
}

/// The configuration of an engine: the same on every lcore.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bounds.
    pub limits: Limits,
    /// What an lcore does when it has nothing to do.
    pub idle: Idle,
    /// permessage-deflate (RFC 7692), if it is to be negotiated.
    pub deflate: Option<DeflateConfig>,
    /// Window over which a drain spreads its Close frames.
    pub drain_jitter: Duration,
    /// Time after which a drain resets what is left.
    pub drain_deadline: Duration,
    /// Threads of the executor for slow work; 0: [`crate::LcoreContext::spawn_lcore`] is always busy.
    pub executor_threads: usize,
    /// Jobs that may wait for them.
    pub executor_queue: usize,
    /// Messages that may wait in a mailbox between two lcores. A full one drops (counter `mail_dropped`).
    pub mailbox: usize,
    /// Most connections served in one turn of the loop. Turns in which nothing is published are shorter.
    pub turn_events: usize,
    /// Messages taken from one connection in one turn.
    pub turn_messages: usize,
}

impl Config {
    /// Connections that each lcore's transport must have room for: any lcore may get all of them, and some more are there
    /// to be told that they are too many.
    pub fn slots(&self) -> usize {
        self.limits
            .max_connections
            .saturating_add(crate::core::MAX_REFUSALS)
    }

    /// Bytes that a transport must queue for a connection if need be. The bound that counts is the engine's: a message is
    /// taken while less than `send_queue` is queued, so the queue may exceed it by one message, and by control frames.
    pub fn send_bound(&self) -> usize {
        self.limits
            .send_queue
            .saturating_add(self.limits.max_message)
            .saturating_add(64 << 10)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            idle: Idle::Adaptive,
            deflate: None,
            drain_jitter: Duration::from_secs(1),
            drain_deadline: Duration::from_secs(10),
            executor_threads: 1,
            executor_queue: 1024,
            mailbox: 4096,
            turn_events: 256,
            turn_messages: 1024,
        }
    }
}
