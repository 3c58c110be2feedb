//! The kinds of attacks.

use std::fmt;

/// The kinds of attacks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttackKind {
    /// SYNs from changing addresses and ports, never completed.
    SynFlood,
    /// Acknowledgements for no connection, and for the load's own connections with wrong numbers (RFC 5961 §5).
    AckStorm,
    /// Resets for no connection, and resets and SYNs for the load's own connections with wrong sequence numbers (RFC 5961 §3 and §4).
    RstStorm,
    /// Frames that are malformed in any layer up to TCP.
    Malformed,
    /// Connections that send handshakes and messages one byte in a segment.
    TinySegments,
    /// Connections that send segments out of order, overlapping, and with conflicting bytes.
    Overlap,
    /// Connections that request much data and keep their window closed.
    ZeroWindow,
    /// Connections that request much data and read a few bytes at a time.
    SlowReader,
    /// Handshakes of TCP and HTTP that never end.
    SlowHandshake,
    /// Requests and WebSocket frames that break RFC 6455.
    BadFrames,
    /// Subscriptions to overlapping wildcard patterns, and publications that match as many of them as possible.
    Topics,
    /// Compressed messages of a few kilobytes that inflate to many megabytes (RFC 7692).
    Deflate,
    /// Subscriptions that are made and ended as fast as possible.
    Churn,
    /// As many long, distinct subscriptions as the server takes.
    Subscriptions,
    /// Messages that are begun and never finished, with a byte now and then.
    Unfinished,
    /// Peers that request large answers and read a few bytes a second.
    Trickle,
}

impl AttackKind {
    /// Attacks with packets, over the devices of the user-space TCP.
    pub const PACKETS: [Self; 10] = [
        Self::SynFlood,
        Self::AckStorm,
        Self::RstStorm,
        Self::Malformed,
        Self::TinySegments,
        Self::Overlap,
        Self::ZeroWindow,
        Self::SlowReader,
        Self::SlowHandshake,
        Self::BadFrames,
    ];

    /// Attacks with messages, over the kernel's sockets.
    pub const MESSAGES: [Self; 6] = [
        Self::Topics,
        Self::Deflate,
        Self::Churn,
        Self::Subscriptions,
        Self::Unfinished,
        Self::Trickle,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::PACKETS.into_iter().chain(Self::MESSAGES)
    }

    /// The name on the command line and in the names of counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SynFlood => "syn-flood",
            Self::AckStorm => "ack-storm",
            Self::RstStorm => "rst-storm",
            Self::Malformed => "malformed",
            Self::TinySegments => "tiny-segments",
            Self::Overlap => "overlap",
            Self::ZeroWindow => "zero-window",
            Self::SlowReader => "slow-reader",
            Self::SlowHandshake => "slow-handshake",
            Self::BadFrames => "bad-frames",
            Self::Topics => "topics",
            Self::Deflate => "deflate",
            Self::Churn => "churn",
            Self::Subscriptions => "subscriptions",
            Self::Unfinished => "unfinished",
            Self::Trickle => "trickle",
        }
    }

    /// A description of one line.
    #[must_use]
    pub const fn about(self) -> &'static str {
        match self {
            Self::SynFlood => "SYNs from changing sources, never completed",
            Self::AckStorm => {
                "acknowledgements for no connection, and for the load's own with wrong numbers"
            }
            Self::RstStorm => {
                "resets for no connection, resets and SYNs for the load's own with wrong numbers"
            }
            Self::Malformed => "frames that are malformed in any layer up to TCP",
            Self::TinySegments => "handshakes and messages sent one byte in a segment",
            Self::Overlap => "segments out of order, overlapping, and with conflicting bytes",
            Self::ZeroWindow => "clients that request much data and keep their window closed",
            Self::SlowReader => "clients that request much data and read a few bytes at a time",
            Self::SlowHandshake => "handshakes of TCP and HTTP that never end",
            Self::BadFrames => "requests and frames that break RFC 6455",
            Self::Topics => "overlapping wildcard subscriptions, and publications that match them",
            Self::Deflate => "compressed messages that inflate a thousandfold",
            Self::Churn => "subscriptions made and ended as fast as possible",
            Self::Subscriptions => "as many long subscriptions as the server takes",
            Self::Unfinished => "messages that are begun and never finished",
            Self::Trickle => "peers that request much and read a few bytes a second",
        }
    }

    /// Whether the attack sends messages over the kernel's sockets, and not packets over a device.
    #[must_use]
    pub const fn is_messages(self) -> bool {
        matches!(
            self,
            Self::Topics
                | Self::Deflate
                | Self::Churn
                | Self::Subscriptions
                | Self::Unfinished
                | Self::Trickle
        )
    }

    /// Whether the attack subscribes and publishes, so that the server has to offer topics.
    #[must_use]
    pub const fn needs_topics(self) -> bool {
        matches!(self, Self::Topics | Self::Churn | Self::Subscriptions)
    }

    /// Whether the attack has connections.
    #[must_use]
    pub const fn connects(self) -> bool {
        !matches!(
            self,
            Self::SynFlood | Self::AckStorm | Self::RstStorm | Self::Malformed
        )
    }

    /// Whether a part of the packets goes to the load's own connections.
    pub(crate) const fn targets_load(self) -> bool {
        matches!(self, Self::AckStorm | Self::RstStorm)
    }

    /// Whether the attack has an interval.
    pub(crate) const fn has_interval(self) -> bool {
        matches!(
            self,
            Self::SlowReader | Self::SlowHandshake | Self::Unfinished
        )
    }

    /// Whether the attack's messages have a size.
    pub(crate) const fn has_size(self) -> bool {
        matches!(self, Self::Deflate | Self::Unfinished | Self::Trickle)
    }

    /// The parameters of the attack, for error texts.
    pub(crate) fn parameters(self) -> String {
        let own = [
            (self.connects(), "connections"),
            (self.targets_load(), "live"),
            (self.has_interval(), "interval"),
            (self.has_size(), "size"),
            (self == Self::Trickle, "read"),
            (self == Self::Topics, "shape"),
        ];
        let own = own.iter().filter(|(has, _)| *has).map(|(_, name)| *name);
        let mut names: Vec<&str> = ["rate", "seed"].into_iter().chain(own).collect();
        let last = names.pop().unwrap_or_default();
        format!("{} and {last}", names.join(", "))
    }
}

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
