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
//! Calls on a transport never call back into the driver: what they cause (a close, an error) is reported out of the next
//! `dispatch` or `flush`. So a driver may call anything from anywhere without re-entrancy.

//!
//! [`sockets::Sockets`] is the transport over the kernel's TCP and Unix sockets. [`fake::Fake`] is one that tests script
//! byte by byte. Both are [`streams::Streams`] over their own [`streams::Network`], so what a test proves of slots, held
//! bytes, lists and order on the fake holds for sockets too. [`bypass::Bypass`] is the transport over flows of our own TCP,
//! on the frames of a device.
#![forbid(unsafe_code)]

pub mod bypass;
pub mod fake;
mod send_queue;
mod slots;
#[cfg(any(unix, windows))]
pub mod sockets;
pub mod streams;

pub mod layer;

mod contract;
mod endpoint;
pub use contract::*;
pub use endpoint::ParseEndpointError;
pub use hioload_tcp::{FlowDetails, FlowInfo};
