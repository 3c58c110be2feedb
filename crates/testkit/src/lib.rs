//! Helpers that the tests and benchmarks of several crates share. It is not published.
//!
//! * [`counting`]: an allocator that counts the calls and the bytes of each thread.
//! * [`has_ipv6`], [`kernel_has_ipv6`]: whether tests that need IPv6 can run here.
//! * [`Echo`]: a handler that sends every message back (feature `engine`).
//! * [`links`]: a transport over a device, with the defaults of a test (feature `engine`).

#![deny(unsafe_code)]

#[allow(unsafe_code)]
pub mod counting;
#[cfg(feature = "engine")]
mod echo;
#[cfg(feature = "engine")]
pub mod links;
mod machine;

#[cfg(feature = "engine")]
pub use echo::Echo;
pub use machine::{has_ipv6, kernel_has_ipv6};
