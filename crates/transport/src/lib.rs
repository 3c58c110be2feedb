//! Byte streams in bursts.
//!
//! A [`Transport`] owns the connections of one lcore and moves bytes between them and a [`Driver`] (the engine). Received
//! bytes are lent to the driver as `&mut [u8]` *in the memory they arrived in*; replies are written into send space that the
//! transport lends. One turn of the loop is `wait`, `dispatch`, `flush`:
//!
//! ```text
//! io.wait(timeout)?            // the only call that may sleep
//! now = clock.tick()           // one clock read per turn
//! io.dispatch(driver, budget, now)  // accepts, received bytes, ends: calls the driver
//! io.flush(driver)             // one write per connection that has something to send
//! ```
//!
//! A call on a transport never calls back into the driver: its effects (a close, an error) are reported by the next
//! `dispatch` or `flush`. So a driver may call anything from anywhere without re-entrancy.
//!
//! | transport | connections |
//! |---|---|
//! | [`sockets::Sockets`] | the kernel's TCP and Unix sockets |
//! | [`fake::Fake`] | scripted by a test, byte by byte |
//! | `bypass::Bypass` (feature `bypass`) | flows of our own TCP, on the frames of a device |
//!
//! The first two are [`streams::Streams`] over a [`streams::Network`] each, so what a test proves of order and of held bytes on
//! the fake holds for sockets too. All of them keep their connections in one table, whose documentation (`src/table/mod.rs`)
//! says how a completion-based transport (io_uring) uses it. A [`layer`] stands between a transport and its driver; a
//! TLS implementation would be one.
#![forbid(unsafe_code)]

#[cfg(feature = "bypass")]
pub mod bypass;
pub mod fake;
mod setters;
#[cfg(any(unix, windows))]
pub mod sockets;
pub mod streams;
#[cfg_attr(not(feature = "bypass"), allow(dead_code))]
mod table;

pub mod layer;

mod contract;
mod endpoint;
mod flows;
pub use contract::*;
pub use endpoint::ParseEndpointError;
pub use flows::{FlowDetails, FlowInfo, Wanted};
