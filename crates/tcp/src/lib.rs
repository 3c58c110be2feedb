//! TCP in user space: flows over the frames of a [`Device`](hioload_device::Device).
//!
//! A [`Stack`] belongs to one lcore. smoltcp's sockets do TCP itself; everything around them is here: the flow table, so that
//! a frame costs the same however many flows there are; the rings; the accept path; TIME_WAIT; timers; and the parsing of
//! frames. One turn is
//!
//! ```text
//! wait -> receive -> next, next, ... (None) -> transmit
//! ```

#![deny(unsafe_code)]

mod config;
mod event;
mod info;
mod stack;
mod stats;
mod strays;

pub use config::{Cidr, ParseCidrError, StackConfig, StackError};
pub use event::{ConnectError, Event, FlowId, Segment, What};
pub use info::FlowInfo;
pub use stack::Stack;
pub use stats::StackStats;
pub use strays::Strays;
