//! TCP in user space: flows over the frames of a [`Device`](hioload_device::Device).
//!
//! A [`Stack`] belongs to one lcore. smoltcp's sockets are its TCP state machine. This crate has everything around them: the
//! parsing of frames; the flow table, which makes the cost of a frame independent of the number of flows; the rings; the
//! accept path; TIME_WAIT; timers; ARP, neighbour discovery and ICMP. One turn of the lcore is
//!
//! ```text
//! wait -> receive -> next, next, ... (None) -> transmit
//! ```

#![deny(unsafe_code)]

mod accept;
mod addresses;
mod checksum;
mod cidr;
mod client;
mod config;
mod drops;
mod egress;
mod endings;
mod ether;
mod event;
mod extensions;
mod fifo;
mod flow_flags;
mod flows;
#[doc(hidden)]
pub mod fuzzing;
mod handoff;
mod info;
mod ingress;
mod ip_options;
mod isn;
mod neighbours;
mod next_hop;
mod parse;
mod port;
mod rate;
mod raw_segment;
mod recovery;
mod responder;
mod ring_memory;
mod ring_reclaim;
mod routes;
#[allow(unsafe_code)]
mod sockets;
mod source_limit;
mod source_ports;
mod stack;
mod stats;
mod streams;
mod table;
mod time_wait;
mod tuple;
mod workarounds;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod wire_cost;

pub use cidr::{Cidr, ParseCidrError};
pub use config::{ConfigError, StackConfig, StackError};
pub use drops::{Drops, Reason};
pub use event::{ConnectError, Event, EventFlags, FlowId, FramePayload};
pub use handoff::Handoff;
pub use info::{FlowDetails, FlowInfo};
pub use stack::Stack;
pub use stats::StackStats;
