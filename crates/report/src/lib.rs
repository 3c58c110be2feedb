//! Reports of a load: plain data, and what is made of it.
//!
//! A [`Report`] is the file that `hioload load --json` writes. It reads and writes itself ([`Report::read`], [`file::write`]), shows
//! itself as text ([`Report::summary`]) and as one HTML page ([`Report::html`]). [`metric`] has the figures of a run by name,
//! [`require`] conditions on them, [`compare`] the differences between reports, [`plots`] SVG plots, and [`mod@format`] the way
//! quantities are written. The crate depends on no other crate of the workspace.
//!
//! Fields of a report are added over time and never change their meaning. A reader ignores fields that it does not know. Times are
//! nanoseconds, CPU shares are parts of one core (1.0 is a core that was busy all the time), rates are per second.

#![forbid(unsafe_code)]

mod bars;
mod bottleneck;
pub mod compare;
mod data;
pub mod file;
pub mod format;
mod latency;
mod markup;
pub mod metric;
mod page;
mod plot;
pub mod plots;
pub mod require;
mod sections;
mod spread;
mod summary;
#[cfg(test)]
mod synthetic;
mod table;
mod unit;

pub use data::{FORMAT, Latency, Machine, Plan, Report, Run, Tick, Usage};
pub use latency::{BadHistogram, DIGITS, LONGEST, histogram, merge};
