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

mod addresses;
mod amend;
mod arp;
mod checksum;
mod drops;
mod ether;
mod extensions;
mod housekeeping;
mod icmp;
mod l2;
mod ndp;
mod neighbours;
mod parse;
mod rate;
mod recovery;
mod routes;
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
mod handoff;
mod info;
mod ingress;
mod isn;
mod port;
#[allow(unsafe_code)]
mod sockets;
mod stack;
mod stats;
mod streams;
mod table;
mod time_wait;

pub use config::{Cidr, ParseCidrError, StackConfig, StackError};
pub use drops::{Drops, Reason};
pub use event::{ConnectError, Event, FlowId, Segment, What};
pub use handoff::Handoff;
pub use info::{FlowDetails, FlowInfo};
pub use stack::Stack;
pub use stats::StackStats;
