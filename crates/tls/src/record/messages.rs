//! Handshake messages after the handshake (RFC 8446 §4.6).

use super::header::Alert;

/// Bytes of a message header.
const HEADER: usize = 4;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// The longest ticket message that a client accepts. RFC 8446 §4.6.1 permits tickets of 64 KiB; those in use have a few hundred bytes.
const MAX_TICKET: usize = 16 << 10;

/// A message.
pub(super) enum Message<'a> {
    /// The body of a NewSessionTicket.
    Ticket(&'a [u8]),
    /// A KeyUpdate, and whether it requests one.
    KeyUpdate { answer: bool },
}

/// Messages that may span records. Exists only while one is unfinished.
#[derive(Clone, Default)]
pub(super) struct Partial {
    bytes: Vec<u8>,
    at: usize,
}

impl std::fmt::Debug for Partial {
    /// Without the bytes, which may be those of a ticket.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partial({} bytes)", self.bytes.len())
    }
}

impl Partial {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether no message is unfinished.
    pub(super) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next whole message.
    pub(super) fn next(&mut self, is_client: bool) -> Result<Option<Message<'_>>, Alert> {
        let Some((header, rest)) = self.bytes[self.at..].split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let [kind, a, b, c] = *header;
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        match kind {
            KEY_UPDATE if len == 1 => {}
            KEY_UPDATE => return Err(Alert::DecodeError),
            NEW_SESSION_TICKET if is_client && len <= MAX_TICKET => {}
            NEW_SESSION_TICKET if is_client => return Err(Alert::DecodeError),
            // Client certificates are requested in the handshake or not at all.
            _ => return Err(Alert::UnexpectedMessage),
        }
        let Some(body) = rest.get(..len) else {
            return Ok(None);
        };
        self.at += HEADER + len;
        if kind == NEW_SESSION_TICKET {
            return Ok(Some(Message::Ticket(body)));
        }
        match body[0] {
            answer @ (0 | 1) => Ok(Some(Message::KeyUpdate {
                answer: answer == 1,
            })),
            _ => Err(Alert::IllegalParameter),
        }
    }
}
