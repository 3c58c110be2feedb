//! Attacks of a packet generator, beside a well-behaved load on the same device.
//!
//! An [`Attacker`] wraps the device that the load's TCP stack stands on, as a tap does. To what is sent it adds frames of its own, at
//! a packet rate; of what is received it takes out the frames that answer them. The load above it goes on unchanged, and what
//! an attack costs is seen in the load's own latency. The attacks are those of [`AttackKind`]; an [`AttackPlan`] says which, an
//! [`AttackControl`] begins and ends them and reads what they have counted.
//!
//! Nothing has to be configured about the link: the first packet that the load sends to the target says which station, which VLAN
//! tag and which address of its own lead there. So nothing is sent before the load has begun to connect.
//!
//! The load goes first. Its frames are handed to the device before those of an attack; a buffer or a place in the ring that is
//! not there is counted ([`Count::NoRoom`]) and not waited for; and what could not be sent in time is not caught up with.
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

#![forbid(unsafe_code)]

mod attacker;
mod conn;
mod control;
mod flood;
mod malformed;
mod neighbour;
mod pace;
mod plan;
mod reader;
mod rng;
mod script;
mod sources;
mod tx;
mod wire;

pub use attacker::{AttackOptions, Attacker};
pub use control::{AttackControl, AttackCounters, Count};
pub use plan::{Attack, AttackKind, AttackPlan, MAX_ADDRESSES, PlanError};
