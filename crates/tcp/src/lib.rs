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

// Until the stack uses all of these.
#[allow(dead_code)]
mod addresses;
#[allow(dead_code)]
mod arp;
#[allow(dead_code)]
mod checksum;
#[allow(dead_code)]
mod drops;
#[allow(dead_code)]
mod ether;
#[allow(dead_code)]
mod extensions;
#[allow(dead_code)]
mod housekeeping;
#[allow(dead_code)]
mod icmp;
#[allow(dead_code)]
mod l2;
#[allow(dead_code)]
mod ndp;
#[allow(dead_code)]
mod neighbours;
#[allow(dead_code)]
mod parse;
#[allow(dead_code)]
mod rate;
#[allow(dead_code)]
mod routes;
#[allow(dead_code)]
mod tuple;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_cost;

mod accept;
mod client;
mod config;
mod craft;
mod egress;
mod elastic;
mod endings;
mod event;
mod fifo;
mod flows;
mod info;
mod ingress;
mod isn;
mod port;
#[allow(unsafe_code)]
mod prefetch;
#[allow(unsafe_code)]
mod sockets;
mod stack;
mod stats;
mod strays;
mod streams;
mod table;
mod time_wait;

pub use config::{Cidr, ParseCidrError, StackConfig, StackError};
pub use drops::{Drops, Reason};
pub use event::{ConnectError, Event, FlowId, Segment, What};
pub use info::{FlowDetails, FlowInfo};
pub use stack::Stack;
pub use stats::StackStats;
pub use strays::Strays;
