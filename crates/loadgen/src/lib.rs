//! The driver of `hioload load` as a library. A [`Job`] says what to do, [`run()`] runs one repeat of it, and a [`RepeatResult`] holds
//! the figures as plain data of `hioload-report`.
//!
//! ```text
//! control.rs    the control thread: commands to the lcores, an interval from each five times a second
//! channel.rs    the channels between the control thread and an lcore
//! generator.rs  the handler of an lcore, in the client role: opens connections, sends, checks, counts
//! scenarios/    the actions of each scenario when a connection opens, an answer arrives, a turn begins
//! payload.rs    messages: one template with a number patched in, so that any wrong byte is detected
//! pacer.rs      the open loop: the time at which the next message of each connection is due
//! meter.rs      the counters of an lcore between two intervals
//! figures.rs    from counters to the figures of a report
//! memory.rs     a server and a generator in one process, over pairs of devices in memory
//! ```

#![forbid(unsafe_code)]

mod bottleneck;
mod channel;
mod conn;
mod connect_error;
mod control;
mod error;
mod fan;
mod figures;
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
mod stop;
mod usage;

pub use control::{RepeatResult, run};
pub use error::{RepeatError, UnknownName};
pub use job::{Arrival, Dialect, Job, Scenario, Verify};
pub use sizes::{Sizes, SizesError};
pub use stop::Stop;
pub use usage::ServerProbe;

/// One lcore of the generator, for a caller with a loop of its own: on any transport, in real or virtual time.
///
/// [`run()`] uses the same parts. The caller sends [`Command`](lcore::Command)s through a
/// [`CommandSender`](lcore::CommandSender) and receives [`Notice`](lcore::Notice)s; the
/// [`Generator`](lcore::Generator) is the handler of an engine's lcore.
pub mod lcore {
    pub use crate::channel::{Command, CommandSender, ControlLink, Notice, control_link};
    pub use crate::generator::Generator;
    pub use crate::meter::Interval;
}
