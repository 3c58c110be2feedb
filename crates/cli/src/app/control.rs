//! The control socket of a running server: a Unix socket that only the user of the server may open. The subcommands `hioload flows` and
//! `hioload tap` use it.
//!
//! A question is one line of text: `flows`, followed by `details`, a peer's address, or both; `tap start SNAPLEN MAX-BYTES FILE`; or
//! `tap stop`. The response is JSON objects, one per line; the last one is `{"end":true}` or `{"error":"why"}`.
//!
//! One thread serves one client at a time. A client that neither reads nor writes for one second is disconnected. An lcore describes a
//! few dozen flows at a time, and the next ones only after the client has taken those.

#[cfg(unix)]
mod question;
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
    use crate::Failure;
    use crate::config::values::Control;

    /// This system has no Unix sockets.
    pub(crate) enum Socket {}

    pub(crate) fn bind(wanted: &Control, _: &[Endpoint]) -> Result<Option<Socket>, Failure> {
        match wanted {
            Control::At(_) => Err(Failure::usage("--control needs Unix sockets")),
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
