//! The steps of a handshake, which any thread can make.

use std::sync::Arc;

use rustls::ServerConfig;

use super::alerts::{
    ACCESS_DENIED, HANDSHAKE_FAILURE, PROTOCOL_VERSION, UNRECOGNIZED_NAME, is_old_hello,
    replace_alert,
};
use crate::configs::take_unresolved;
use crate::handshake::{Established, Handshake, Step, alert_in_clear};
use crate::record::{Alert, HEADER, MAX_CONTENT};

/// The longest encrypted record that a handshake accepts: that of TLS 1.2 (RFC 5246 §6.2.3).
const MAX_RECORD: usize = MAX_CONTENT + 2048;
/// Received bytes that may wait for a step: a record of full size. The others wait with the transport below.
pub(super) const MAX_INPUT: usize = HEADER + MAX_RECORD;

/// The configuration of a handshake that has not begun.
pub(super) enum Setup {
    Server(Arc<ServerConfig>),
    /// The handshake has begun.
    Begun,
}

/// A handshake and the received bytes that it has not processed.
pub(super) struct Work {
    pub(super) setup: Setup,
    pub(super) handshake: Option<Handshake>,
    pub(super) input: Vec<u8>,
}

/// Why a step failed.
pub(super) struct StepError {
    pub(super) error: rustls::Error,
    /// Whether there is no certificate for the name that the client asks for.
    pub(super) unknown_name: bool,
}

impl From<rustls::Error> for StepError {
    fn from(error: rustls::Error) -> Self {
        Self {
            error,
            unknown_name: false,
        }
    }
}

impl Work {
    /// A handshake that has no bytes.
    pub(super) const fn new(setup: Setup, handshake: Option<Handshake>) -> Self {
        Self {
            setup,
            handshake,
            input: Vec::new(),
        }
    }

    /// Whether no record has been encrypted yet.
    pub(super) fn is_clear(&self) -> bool {
        let handshake = self.handshake.as_ref();
        handshake.is_none_or(Handshake::is_clear)
    }

    /// Bytes of received data that it holds.
    pub(super) fn held(&self) -> usize {
        let handshake = self.handshake.as_ref();
        self.input.capacity() + handshake.map_or(0, Handshake::held)
    }

    /// Whether there is a whole record, or one that is too long.
    pub(super) fn is_ready(&self) -> bool {
        !matches!(whole_record(&self.input, self.is_clear()), Ok(None))
    }

    /// Processes the whole records at the front of the input, until the handshake is complete. Appends the answer.
    ///
    /// # Errors
    /// The handshake failed. The answer ends with the alert.
    pub(super) fn step(
        &mut self,
        out: &mut Vec<u8>,
    ) -> Result<Option<Box<Established>>, StepError> {
        let is_old = is_old_hello(&self.input);
        take_unresolved();
        self.process(out).map_err(|error| {
            let unknown_name = take_unresolved();
            if unknown_name {
                replace_alert(out, ACCESS_DENIED, UNRECOGNIZED_NAME);
            } else if is_old {
                replace_alert(out, HANDSHAKE_FAILURE, PROTOCOL_VERSION);
            }
            StepError {
                error,
                unknown_name,
            }
        })
    }

    fn process(&mut self, out: &mut Vec<u8>) -> Result<Option<Box<Established>>, rustls::Error> {
        if let Setup::Server(config) = std::mem::replace(&mut self.setup, Setup::Begun) {
            self.handshake = Some(Handshake::server(config)?);
        }
        let mut at = 0;
        while let Some(handshake) = &mut self.handshake {
            let clear = handshake.is_clear();
            let record = match whole_record(&self.input[at..], clear) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    if clear {
                        out.extend_from_slice(&alert_in_clear(Alert::RecordOverflow));
                    }
                    return Err(error);
                }
            };
            at += record.len();
            if let Step::Done = handshake.receive(record, out)? {
                self.input.drain(..at);
                let handshake = self.handshake.take();
                let done = handshake.map(Handshake::finish).transpose()?;
                return Ok(done.map(Box::new));
            }
        }
        self.input.drain(..at);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        Ok(None)
    }
}

/// The whole record at the front of `bytes`; `None` if it is not complete. `clear`: records are not encrypted yet, and RFC 8446 §5.1
/// allows them 2^14 bytes.
fn whole_record(bytes: &[u8], clear: bool) -> Result<Option<&[u8]>, rustls::Error> {
    let Some(&[_, _, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > if clear { MAX_CONTENT } else { MAX_RECORD } {
        return Err(rustls::Error::PeerSentOversizedRecord);
    }
    Ok(bytes.get(..HEADER + len))
}
