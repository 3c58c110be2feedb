//! Status codes of Close frames (RFC 6455 §7.4).

use std::fmt;

/// A status code of a Close frame (§7.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down, or the browser leaves the page.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The kind of data is not accepted.
    pub const UNSUPPORTED: Self = Self(1003);
    /// Never on the wire: the Close had no code.
    pub const NO_STATUS: Self = Self(1005);
    /// Never on the wire: the connection ended without a Close.
    pub const ABNORMAL: Self = Self(1006);
    /// Data that does not match the message's kind, such as text that is not UTF-8.
    pub const INVALID_DATA: Self = Self(1007);
    /// The peer broke our policy.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// The message is too big to process.
    pub const TOO_BIG: Self = Self(1009);
    /// The client requires an extension that the server did not negotiate.
    pub const MANDATORY_EXTENSION: Self = Self(1010);
    /// An unexpected condition on our side.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The service restarts; come back later.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// Overload; come back later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// A gateway received an invalid response.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// Never on the wire: TLS failed.
    pub const TLS_HANDSHAKE: Self = Self(1015);

    /// Whether a Close frame may carry it.
    #[must_use]
    pub const fn is_valid_on_wire(self) -> bool {
        // RFC 6455 §7.4.1: "1005 is a reserved value and MUST NOT be set as a status code in a Close control frame by
        // an endpoint." "1006 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
        // endpoint." "1015 is a reserved value and MUST NOT be set as a status code in a Close control frame by an
        // endpoint." §7.4.2: "Status codes in the range 0-999 are not used."; 1016-2999 are for revisions and
        // extensions that do not exist. 1012-1014 are in the IANA registry.
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
