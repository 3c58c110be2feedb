//! Types that both directions share: roles, opcodes, kinds of message.

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones (RFC 6455 §5.1).
    Server,
    /// Receives unmasked frames, sends masked ones.
    Client,
}

/// The frame types of RFC 6455 §5.2; 3-7 and 11-15 are reserved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum OpCode {
    /// Continues the message that an earlier frame began.
    Continuation = 0,
    /// Begins a text message.
    Text = 1,
    /// Begins a binary message.
    Binary = 2,
    /// Closes the connection (§5.5.1).
    Close = 8,
    /// Asks for a pong (§5.5.2).
    Ping = 9,
    /// Answers a ping, or is an unsolicited heartbeat (§5.5.3).
    Pong = 10,
}

impl OpCode {
    /// The opcode with these low four bits of a frame's first byte; `None` for a reserved one.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it is a control frame: "identified by opcodes where the most significant bit of the opcode is 1" (§5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// The two kinds of message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// UTF-8, checked.
    Text,
    /// Any bytes.
    Binary,
}

impl From<Kind> for OpCode {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text,
            Kind::Binary => Self::Binary,
        }
    }
}
