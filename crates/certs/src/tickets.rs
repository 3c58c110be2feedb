//! Session tickets (RFC 8446 §4.6.1, RFC 5077): a server gives a client its state, encrypted, so that the next handshake is short.
//!
//! [`TicketFile`] is the file of keys that several servers share, and [`Tickets`] chooses between such a file and keys of the process.

mod file;
mod keys;
mod ticketer;

pub use file::TicketFile;
pub(crate) use file::read;
pub(crate) use keys::KeySet;
pub use keys::{DEFAULT_PERIOD, LONGEST_PERIOD};
pub(crate) use ticketer::{BoundTicketer, TicketKeys};

use std::path::PathBuf;
use std::time::Duration;

/// Where the keys of session tickets come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tickets {
    /// There are no tickets: every handshake is a full one.
    Off,
    /// Random keys of this process. Each encrypts for one period, and decrypts for two.
    Own {
        /// The period: from one second to [`LONGEST_PERIOD`].
        period: Duration,
    },
    /// The keys in a file, which several servers share.
    Shared {
        /// The file; [`TicketFile`] describes its form.
        file: PathBuf,
    },
}

impl Default for Tickets {
    fn default() -> Self {
        Self::Own {
            period: DEFAULT_PERIOD,
        }
    }
}
