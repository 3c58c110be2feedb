//! `hioload load` as a library: what to do ([`Job`], [`report::Plan`]), doing it ([`run()`]), and what came of it
//! ([`report::Report`]).
//!
//! ```text
//! control.rs    the thread that steers a run: commands to the lcores, an interval from each five times a second
//! generator.rs  the handler of an lcore, in the client role: opens connections, sends, checks, notes
//! scenarios/    what the scenarios do at an opened connection, an answer, a turn
//! payload.rs    what is sent: made once, with a number patched in, so that any wrong byte is seen
//! pacer.rs      the open loop: when the next message of each connection is due
//! meter.rs      what an lcore counts between two intervals
//! memory.rs     a server and a generator in one process, over a pair of devices in memory
//! ```

#![forbid(unsafe_code)]

mod control;
mod flight;
mod generator;
mod job;
pub mod machine;
pub mod memory;
mod meter;
mod opener;
mod pacer;
mod payload;
pub mod process;
pub mod progress;
mod scenarios;
pub mod settings;
mod sizes;
mod verdict;

pub use control::{Outcome, ServerProbe, Stop, run};
pub use generator::{Command, CommandSender, ControlLink, Generator, Notice, control_link};
pub use job::{Arrival, Dialect, Job, Scenario, Verify};
pub use meter::Interval;
pub use sizes::Sizes;
