//! The record layer (RFC 8446 §5, RFC 5246 §6), without input or output: bytes go in, events come out.
//!
//! A [`Session`] is what a connection keeps after its handshake. It opens a record in the memory that it arrived in, and seals
//! content from one memory into another. Expanded keys are not a part of it: they live in a [`KeyCache`].

mod cache;
mod half;
mod header;
mod messages;
mod session;
mod suite;

pub use cache::{Direction, KeyCache, KeyOwner};
pub use half::Half;
pub use header::{Alert, HEADER, MAX_CONTENT, content, record_len};
pub use session::{EXPORTED, Opened, Role, SealError, Session};
pub use suite::{Suite, TAG, Version};
