//! The configuration: values chosen at start ([`Config`]), and values that may change while the engine runs ([`Tunables`]).

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use hioload_lcore::Idle;
use hioload_transport::Peer;
use hioload_ws_proto::Limits as MessageLimits;
use hioload_ws_proto::deflate::DeflateConfig;

use crate::origin::{Hosts, Origins};
use crate::proxy::Proxies;
use crate::sources::Networks;

/// The most lcores of a group. The mesh between them has a ring for each pair.
pub const MAX_LCORES: usize = 256;

/// Slots of each lcore for connections that were refused, while their 503 is being sent. Further ones are reset.
pub(crate) const REFUSAL_SLOTS: usize = 256;

/// What happens to a message for a connection whose send queue is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SendPolicy {
    /// Queued messages of which no byte was sent are dropped, the oldest first, until the new one fits.
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

impl fmt::Display for ParseSendPolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected drop-oldest, drop-new or close")
    }
}
impl Error for ParseSendPolicyError {}

impl FromStr for SendPolicy {
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

impl fmt::Display for SendPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNew => "drop-new",
            Self::Close => "close",
        })
    }
}

/// Bounds. Zero means "no bound" only where the field says so. Each bound has a counter.
///
/// All of them may change while the engine runs. *Now* means from the lcore's next turn on. *Sweep* means now for new
/// connections, and for open ones when the lcore visits them. It visits 1,024 in each turn after the change, so that no turn
/// is long.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Open connections of the process. Beyond: 503 and close. Counter `rejected_connections`.
    ///
    /// Changes: now. Connections over a lowered bound stay; none is admitted until enough have ended. The value at start is
    /// the size of the tables, which no later value may exceed.
    pub max_connections: usize,
    /// Open connections from one source address (IPv6: one /64). 0: no bound. Beyond: 503 and close. Counter
    /// `rejected_source`.
    ///
    /// Changes: now, as `max_connections`.
    pub max_connections_per_source: u32,
    /// Connections per second from one source address (IPv6: one /64), with a burst of one second's worth. 0: no bound. Beyond: 503
    /// and close. Counter `rejected_rate`.
    ///
    /// Changes: now.
    pub connection_rate_per_source: u32,
    /// The bounds of an IPv6 /56, as a multiple of `max_connections_per_source` and `connection_rate_per_source`: a subscriber that
    /// holds a /56 has 256 networks of the size /64. 0: a /56 has no bound of its own. Counters as theirs.
    ///
    /// Changes: now.
    pub source_factor_56: u32,
    /// As [`source_factor_56`](Self::source_factor_56), for an IPv6 /48.
    ///
    /// Changes: now.
    pub source_factor_48: u32,
    /// Connections accepted per second by the process. 0: no bound. Beyond: they wait in the listener's backlog. Each
    /// lcore has an even share of it, rounded up. Counter `accept_throttled`.
    ///
    /// Changes: now.
    pub accept_rate: u32,
    /// Bytes of a request head. Beyond: 431. Counter `heads_too_large`.
    ///
    /// Changes: now, for heads that are not complete.
    pub max_handshake: usize,
    /// Time from accept to the end of the request head. Beyond: 408. Counter `handshake_timeouts`.
    ///
    /// Changes: sweep.
    pub handshake_timeout: Duration,
    /// Bytes of a message after reassembly and inflation. Beyond: close 1009. Counter `messages_too_big`.
    ///
    /// Changes: now, for frames whose header has not arrived.
    pub max_message: usize,
    /// Frames of a message. Beyond: close 1008. Counter `messages_too_fragmented`.
    ///
    /// Changes: now, as `max_message`.
    pub max_fragments: u32,
    /// Time for a message to arrive, from its first byte. Zero: no bound. A message that is not complete then goes on if
    /// [`message_min_rate`](Self::message_min_rate) bytes of it per second have arrived in that time, and the time begins again.
    /// Beyond: close 1008. While the application or a full send queue keeps the connection from being read, the time does not
    /// pass. Counter `message_timeouts`.
    ///
    /// Changes: sweep.
    pub message_timeout: Duration,
    /// Bytes per second of a message that takes longer than [`message_timeout`](Self::message_timeout). 0: it may take no longer.
    ///
    /// Changes: now.
    pub message_min_rate: usize,
    /// Bytes of unfinished messages on one lcore. Beyond: the connection that asks for more is closed with 1013. Messages
    /// of more than 16 KiB may use three quarters of it, and one connection a quarter. Counter `reassembly_exhausted`.
    ///
    /// Changes: now. Messages that a lowered bound would not admit are kept until they need more.
    pub reassembly_memory: usize,
    /// Bytes of published messages that one lcore shares among send queues, each counted once. Beyond: they are copied into
    /// send buffers, of which there is a fixed number. Counter `published_copied`.
    ///
    /// Changes: now.
    pub published_memory: usize,
    /// Bytes in a connection's send queue at which it counts as full: a message is taken while less is queued. A full
    /// connection is not read until its queue has drained. Counter `send_queue_full`.
    ///
    /// Changes: now. The transports have room for [`Config::send_bound`] of the start, which no later value may exceed. A
    /// connection that is not read because its queue was full is read again when its queue is empty.
    pub send_queue: usize,
    /// What happens to a message for a full send queue. Counters `dropped_oldest`, `dropped_new`, `closed_slow`.
    ///
    /// Changes: now. Under `drop-oldest` a compressor must not span messages, so a connection with a compressor of its own
    /// then gets the lcore's, and keeps it.
    pub send_policy: SendPolicy,
    /// What happens to a published message for a full send queue. Each subscriber has its own queue, so that one that is behind
    /// affects no other. A message that is larger than [`send_queue`](Self::send_queue) is refused to its publisher
    /// ([`TopicError::TooLarge`](crate::TopicError::TooLarge), counter `publishes_refused`). Counters `dropped_oldest`,
    /// `dropped_new`, `closed_slow`.
    ///
    /// Under [`SendPolicy::DropOldest`], published messages also give way to messages that are sent to the connection itself.
    ///
    /// Changes: now.
    pub publish_policy: SendPolicy,
    /// Time for queued bytes to leave. Zero: no bound. It begins when the network takes no more, and again each time when
    /// everything that was queued then has left, or [`send_queue`](Self::send_queue) bytes of it. What the network has taken has
    /// left: the kernel's buffer, or the send ring of user-space TCP. Beyond: reset. Counter `send_timeouts`.
    ///
    /// Changes: sweep.
    pub send_timeout: Duration,
    /// Messages and control frames per second from one connection, with a burst of one second's worth. 0: no bound.
    /// Beyond: close 1008. Counter `rate_exceeded`.
    ///
    /// Changes: now for the rate, sweep for a burst that was saved up before.
    pub message_rate: u32,
    /// Silence after which a Ping is sent. Zero: none. Counter `pings_sent`.
    ///
    /// Changes: sweep.
    pub ping_interval: Duration,
    /// Silence after which a connection is closed with 1001. Zero: never. A peer that reads
    /// slowly is not silent: [`send_timeout`](Self::send_timeout) is its bound. Counter `idle_timeouts`.
    ///
    /// Changes: sweep.
    pub idle_timeout: Duration,
    /// Age at which a connection is closed with 1001. Zero: never. Counter `lifetime_reached`.
    ///
    /// Changes: sweep.
    pub max_lifetime: Duration,
    /// Time for the peer to answer our Close, and then to close TCP. Beyond: reset. Counter `close_timeouts`.
    ///
    /// Changes: sweep.
    pub close_timeout: Duration,
    /// Subscriptions of one connection. Beyond: an error to the caller. Counter `subscriptions_refused`.
    ///
    /// Changes: now. Subscriptions over a lowered bound stay.
    pub max_subscriptions: u32,
    /// Bytes of the subscriptions of one connection, each counted as if it shared no node of the index with others: about 50 for
    /// each token. Beyond: an error to the caller. Counter `subscriptions_refused`.
    pub subscription_bytes: usize,
    /// Bytes that the commands in one lcore's mailbox hold: payloads of messages from other lcores, events, results of jobs. A
    /// command is taken while fewer wait, so one command may exceed it. A payload that is sent to several lcores counts in the
    /// mailbox of each. Beyond: as a full mailbox. Counter `commands_dropped`.
    ///
    /// Changes: now.
    pub mailbox_bytes: usize,
}

impl Limits {
    /// The limits that the decoders apply.
    pub(crate) fn of_messages(&self) -> MessageLimits {
        MessageLimits::new(self.max_message, self.max_message, self.max_fragments)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_source: 0,
            connection_rate_per_source: 0,
            source_factor_56: 4,
            source_factor_48: 16,
            accept_rate: 0,
            max_handshake: 8 << 10,
            handshake_timeout: Duration::from_secs(10),
            max_message: 1 << 20,
            max_fragments: 1 << 17,
            message_timeout: Duration::from_secs(60),
            message_min_rate: 1 << 10,
            reassembly_memory: 512 << 20,
            published_memory: 256 << 20,
            send_queue: 1 << 20,
            send_policy: SendPolicy::Close,
            publish_policy: SendPolicy::DropOldest,
            send_timeout: Duration::from_secs(30),
            message_rate: 0,
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            max_lifetime: Duration::ZERO,
            close_timeout: Duration::from_secs(5),
            max_subscriptions: 1024,
            subscription_bytes: 256 << 10,
            mailbox_bytes: 64 << 20,
        }
    }
}

/// The part of the configuration that may change while the engine runs, the same on every lcore. [`Remote::reconfigure`]
/// gives the lcores a new value, which each applies between two turns.
///
/// [`Remote::reconfigure`]: crate::Remote::reconfigure
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tunables {
    /// The bounds.
    pub limits: Limits,
    /// Networks whose connections are accepted; empty: all. Others are reset, counter `rejected_network`. Changes: now, for
    /// connections that are accepted later.
    pub allow: Networks,
    /// Networks whose connections are reset, also if [`allow`](Self::allow) has them. Counter `rejected_network`. Changes: as `allow`.
    pub deny: Networks,
    /// Which peers are proxies, and how they name their clients. Changes: now, for connections that are accepted later.
    pub proxies: Proxies,
    /// The origins whose web pages may use the server. Others are answered 403. Counter `rejected_origin`. Changes: now.
    pub origins: Origins,
    /// The host names under which it is served to browsers. Others are answered 403. Counter `rejected_host`. Changes: now.
    pub hosts: Hosts,
    /// What an lcore does when it has nothing to do. Changes: now.
    pub idle: Idle,
    /// permessage-deflate (RFC 7692), if it is to be negotiated. Changes: for handshakes that begin later. Open connections
    /// keep the agreed parameters. Level and threshold of the lcore's compressor change now; those of a compressor that a
    /// connection has of its own do not.
    pub deflate: Option<DeflateConfig>,
    /// Window over which a drain spreads its Close frames. Changes: for a drain that begins later.
    pub drain_jitter: Duration,
    /// Time after which a drain resets the remaining connections. Changes: for a drain that begins later.
    pub drain_deadline: Duration,
    /// Most connections served in one turn of the loop. Turns in which nothing is published are shorter. Changes: now.
    pub turn_events: usize,
    /// Messages taken from one connection in one turn. Changes: now.
    pub turn_messages: usize,
    /// Time of one turn; zero: no bound. Beyond: the turn ends after the message, command or timer that exceeds it, and what is
    /// left waits for the next one, in which other connections are served first. A turn takes up to a third more to send.
    /// Counter `turns_cut`. Changes: now.
    pub turn_time: Duration,
    /// Time of one connection in one turn; zero: no bound. Beyond: the rest of its messages waits for the next turn. Changes:
    /// now.
    pub visit_time: Duration,
    /// Time after which an lcore that has not finished a turn counts as stalled: it is logged, and
    /// [`CountersHandle::stalled`](crate::CountersHandle::stalled) counts it until it turns again. Zero: never. Counter `stalls`.
    /// Changes: now.
    pub watchdog: Duration,
}

impl Tunables {
    /// Whether connections of `peer` are accepted. A Unix socket has no network.
    pub(crate) fn allows(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => true,
            Peer::Ip(addr) => {
                let ip = addr.ip();
                (self.allow.is_empty() || self.allow.contains(ip)) && !self.deny.contains(ip)
            }
        }
    }
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            allow: Networks::default(),
            deny: Networks::default(),
            proxies: Proxies::default(),
            origins: Origins::default(),
            hosts: Hosts::default(),
            idle: Idle::Adaptive,
            deflate: None,
            drain_jitter: Duration::from_secs(1),
            drain_deadline: Duration::from_secs(10),
            turn_events: 256,
            turn_messages: 1024,
            turn_time: Duration::from_micros(500),
            visit_time: Duration::from_micros(100),
            watchdog: Duration::from_secs(1),
        }
    }
}

/// The configuration of an engine: the same on every lcore. All but [`tunables`](Self::tunables) is fixed at start.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The part that may change later. Its `max_connections` and `send_queue` at start also size the tables and queues of the
    /// transports: see [`slots`](Self::slots) and [`send_bound`](Self::send_bound).
    pub tunables: Tunables,
    /// Threads of the executor for slow work; 0: [`crate::LcoreContext::spawn_lcore`] is always busy.
    pub executor_threads: usize,
    /// Jobs that may wait for these threads.
    pub executor_queue: usize,
    /// Commands that may wait in a mailbox between two lcores. A full mailbox drops commands (counter `commands_dropped`).
    pub mailbox: usize,
    /// Bytes of the subscriptions of one lcore: its table of topics. Address space is reserved for all of it, and memory is used as it
    /// fills. Beyond: an error to the caller. Counter `subscriptions_refused`.
    pub subscription_memory: usize,
}

impl Config {
    /// The defaults with these tunables.
    pub fn new(tunables: Tunables) -> Self {
        Self {
            tunables,
            executor_threads: 1,
            executor_queue: 1024,
            mailbox: 4096,
            subscription_memory: 64 << 20,
        }
    }

    /// Connections that each lcore's transport must have room for: any lcore may get all of them, and refused ones that
    /// receive a 503.
    pub fn slots(&self) -> usize {
        self.tunables
            .limits
            .max_connections
            .saturating_add(REFUSAL_SLOTS)
    }

    /// Bytes that a transport must be able to queue for a connection. The engine takes a message while less than
    /// `send_queue` is queued, so the queue may exceed that by one message, and by control frames.
    pub fn send_bound(&self) -> usize {
        self.tunables
            .limits
            .send_queue
            .saturating_add(self.tunables.limits.max_message)
            .saturating_add(64 << 10)
    }

    /// Whether an engine that was started with this configuration can be given `new`.
    ///
    /// # Errors
    /// A value exceeds a size that was chosen at start.
    pub fn check(&self, new: &Tunables) -> Result<(), ReconfigureError> {
        let (asked, most) = (
            new.limits.max_connections,
            self.tunables.limits.max_connections,
        );
        if asked > most {
            return Err(ReconfigureError::MaxConnections { asked, most });
        }
        let (asked, most) = (new.limits.send_queue, self.send_bound());
        if asked > most {
            return Err(ReconfigureError::SendQueue { asked, most });
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Tunables::default())
    }
}

/// Why running lcores cannot be given new tunables. None of them has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReconfigureError {
    /// `max_connections` exceeds the size of the connection tables.
    MaxConnections {
        /// The value asked for.
        asked: usize,
        /// The value at start.
        most: usize,
    },
    /// `send_queue` exceeds the room that the transports have for a connection.
    SendQueue {
        /// The value asked for, in bytes.
        asked: usize,
        /// [`Config::send_bound`] at start, in bytes.
        most: usize,
    },
}

impl fmt::Display for ReconfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MaxConnections { asked, most } => write!(
                f,
                "cannot raise max_connections to {asked} while running: the tables were made for {most}"
            ),
            Self::SendQueue { asked, most } => write!(
                f,
                "cannot raise send_queue to {asked} bytes while running: the transports have room for {most}"
            ),
        }
    }
}
impl Error for ReconfigureError {}
