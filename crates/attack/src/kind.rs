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
}

impl AttackKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
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
        }
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
        matches!(self, Self::SlowReader | Self::SlowHandshake)
    }

    /// The parameters of the attack, for error texts.
    pub(crate) fn parameters(self) -> &'static str {
        match (self.connects(), self.targets_load(), self.has_interval()) {
            (true, _, true) => "rate, seed, connections and interval",
            (true, ..) => "rate, seed and connections",
            (_, true, _) => "rate, seed and live",
            _ => "rate and seed",
        }
    }
}

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
