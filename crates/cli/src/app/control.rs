//! The control socket of a running server: a Unix socket for our user alone, on which the subcommands of `hioload` ask.
//!
//! One line of text is the question: `flows`, with `details`, a peer's address, or both; `tap start SNAPLEN MAX-BYTES FILE`, or `tap stop`. The answer is JSON objects, one a line; the last one is `{"end":true}` or
//! `{"error":"why"}`. One asker is served at a time, by a thread of its own; who does not read or write for a second is
//! left alone. An lcore is asked for a few hundred flows at a time, and no lcore is asked for more before the asker has
//! taken those.

#[cfg(unix)]
mod row;
#[cfg(unix)]
mod socket;

#[cfg(unix)]
pub(super) use row::{Ends, Recorded, Row, Start};
#[cfg(unix)]
pub(super) use socket::{Controlled, bind, default_dirs};

#[cfg(not(unix))]
mod none {
    use std::io;

    use hioload_ws::{Endpoint, Remote};

    use super::Controlled;
    use crate::config::values::Control;

    /// There are no Unix sockets.
    pub(crate) enum Socket {}

    pub(crate) fn bind(wanted: &Control, _: &[Endpoint]) -> Result<Option<Socket>, String> {
        match wanted {
            Control::At(_) => Err("--control needs Unix sockets".to_owned()),
            Control::Auto | Control::None => Ok(None),
        }
    }

    impl Socket {
        pub(crate) fn serve<E>(self, _: Controlled, _: Remote<E>) -> io::Result<()> {
            match self {}
        }
    }
}
#[cfg(not(unix))]
pub(super) use none::bind;
