//! The server's side: reading a request (RFC 6455 §4.2.1), writing the answer (§4.2.2).

mod request;
mod respond;

pub use request::{Request, Upgrade, parse, scan};
pub use respond::{write_accept, write_error, write_response};

pub use super::accept_key;
