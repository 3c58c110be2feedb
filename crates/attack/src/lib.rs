//! Attacks beside a regular load: with packets on the load's own device, or with messages over sockets of their own.
//!
//! # Packets
//!
//! An [`Attacker`] wraps the device below the load's TCP stack, as a tap does. It adds frames of its own to the frames sent, at a
//! packet rate, and removes the answers to them from the frames received. The load above it is unchanged, so that the cost of an
//! attack shows in the load's own latency. An [`AttackPlan`] lists attacks, each of an [`AttackKind`]. An [`AttackControl`] starts
//! and stops them and reads their counters.
//!
//! The link needs no configuration: the first packet of the load to the target shows the MAC addresses, the VLAN tag and the load's
//! address. An attack therefore sends nothing before the load begins to connect.
//!
//! The load has priority. Its frames go to the device before those of an attack. An attack does not wait for a buffer or for space in
//! the ring: the frame is counted ([`Count::NoRoom`]) and not sent later.
//!
//! ```
//! use hioload_device::memory::{PairOptions, pair};
//! use hioload_attack::{AttackControl, AttackOptions, AttackPlan, Attacker};
//!
//! let plan: AttackPlan = "syn-flood,rate=100k+slow-reader,connections=16".parse()?;
//! let target = "10.77.0.2:9001".parse()?;
//! plan.check_target(target, false)?;
//! let control = AttackControl::new(&plan);
//! let (a, _b) = pair(&PairOptions::default())?;
//! let options = AttackOptions::new(plan, target, ["10.77.0.1".parse()?]);
//! let device = Attacker::new(a.open(), &options, &control)?;
//! // ... a stack over `device`, a load over the stack; then, from any thread:
//! control.start();
//! control.stop();
//! for (name, value) in control.counters().iter() {
//!     println!("{name} {value}");
//! }
//! # drop(device);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Messages
//!
//! [`MessageAttacks`] is a thread with connections of its own, over the kernel's sockets, to any WebSocket server. Each attack uses
//! correct WebSocket messages that cost the server more than they cost the client. The thread also has a [`Witness`]: subscribers
//! that count the publications which the attack makes the server lose.

#![forbid(unsafe_code)]

mod attack;
mod attacker;
mod conns;
mod control;
mod error;
mod flood;
mod kind;
mod link;
mod malformed;
mod messages;
mod neighbour;
mod options;
mod pace;
mod plan;
mod reader;
#[cfg(test)]
mod reading;
mod rng;
mod script;
mod segment;
mod shape;
mod sources;
mod target;
mod template;
mod tx;

pub use attack::Attack;
pub use attacker::Attacker;
pub use control::{AttackControl, AttackCounters, Count};
pub use error::PlanError;
pub use kind::AttackKind;
pub use messages::{MessageAttacks, MessageOptions, TopicTexts, Witness};
pub use options::AttackOptions;
pub use plan::AttackPlan;
pub use shape::Shape;
pub use target::MAX_ADDRESSES;
