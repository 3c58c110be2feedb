//! What a client has received.

use std::fmt;

use hioload_ws_proto::CloseCode;

/// Bytes of a payload that a failure message shows.
const SHOWN: usize = 64;

/// Something that a client has received after the handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Received {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A Ping, with its payload.
    Ping(Vec<u8>),
    /// A Pong, with its payload.
    Pong(Vec<u8>),
    /// A Close frame. A frame without a code has [`CloseCode::NO_STATUS`].
    Close(CloseCode, String),
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(
                    f,
                    "text {:?} and {} bytes more",
                    &text[..end],
                    text.len() - end
                ),
                None => write!(f, "text {text:?}"),
            },
            Self::Binary(bytes) => show(f, "binary", bytes),
            Self::Ping(bytes) => show(f, "ping", bytes),
            Self::Pong(bytes) => show(f, "pong", bytes),
            Self::Close(code, reason) => write!(f, "close {code} {reason:?}"),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, what: &str, bytes: &[u8]) -> fmt::Result {
    let (shown, rest) = bytes.split_at(bytes.len().min(SHOWN));
    write!(f, "{what} \"{}\"", shown.escape_ascii())?;
    if rest.is_empty() {
        return Ok(());
    }
    write!(f, " and {} bytes more", rest.len())
}

/// The state of the TCP connection, as the client sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TcpState {
    /// Both directions are open.
    Open,
    /// The server has ended its direction (FIN).
    Finished,
    /// Both directions have ended, and the server has sent everything.
    Closed,
    /// One of the two ends has reset it.
    Reset,
}
