//! The guide: how a handler works with the engine, one page for each subject. Every example compiles.
//!
//! - [`connection`]: the life of a connection, and the operations of each call.
//! - [`backpressure`]: the effects of a peer that does not read.
//! - [`topics`]: publishing to many connections.
//! - [`errors`]: refusals, close codes, panics, and errors of the server.
//! - [`threads`]: lcores, jobs, timers, and the handle for other threads.
//! - [`performance`]: the costs on the message path.

#[doc = include_str!("guide/connection.md")]
pub mod connection {}

#[doc = include_str!("guide/backpressure.md")]
pub mod backpressure {}

#[doc = include_str!("guide/topics.md")]
pub mod topics {}

#[doc = include_str!("guide/errors.md")]
pub mod errors {}

#[doc = include_str!("guide/threads.md")]
pub mod threads {}

#[doc = include_str!("guide/performance.md")]
pub mod performance {}
