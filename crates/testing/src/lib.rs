//! Runs handlers with virtual time and without a network, for tests.
//!
//! A [`Network`] holds the lcores of a server, each with its own instance of the handler, on the thread of the test. A
//! [`Client`] is a peer of one of them. The engine is the one that a server runs; only the transport below it is scripted
//! ([`hioload_transport::fake`]), and the clock moves when the test says so.
//!
//! ```
//! use std::time::Duration;
//! use hioload_engine::{Config, Context, Handler};
//! use hioload_testing::Network;
//! use hioload_ws_proto::{Kind, Message};
//!
//! /// Sends each message back after a second.
//! struct Later;
//!
//! impl Handler for Later {
//!     type Conn = String;
//!     type Event = ();
//!
//!     fn new_conn(&mut self) -> String {
//!         String::new()
//!     }
//!
//!     fn on_message(&mut self, kept: &mut String, cx: &mut impl Context<Event = ()>, message: Message<'_>) {
//!         message.as_text().unwrap_or_default().clone_into(kept);
//!         cx.set_timer(Duration::from_secs(1), 0);
//!     }
//!
//!     fn on_timer(&mut self, kept: &mut String, cx: &mut impl Context<Event = ()>, _: u64) {
//!         let _ = cx.send(Kind::Text, kept.as_bytes());
//!     }
//! }
//!
//! let mut net = Network::new(Config::default(), 1, |_lcore| Later);
//! let mut alice = net.connect("/").expect_open();
//! alice.send_text("hello");
//! net.advance(Duration::from_millis(999));
//! alice.expect_nothing();
//! net.advance(Duration::from_millis(1));
//! assert_eq!(alice.next_text(), "hello");
//! ```
//!
//! Applications use this crate as `hioload_ws::testing`, whose documentation is a tutorial.
#![forbid(unsafe_code)]

mod client;
mod network;
mod protocol;
mod received;
mod upgrade;
mod upstream;
mod world;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use network::Network;
pub use received::{Received, TcpState};
pub use upgrade::{HttpResponse, Upgrade};
pub use upstream::Upstream;
