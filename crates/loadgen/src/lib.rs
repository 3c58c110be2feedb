//! `hioload load` as a library: what to do ([`report::Plan`]), doing it, and what came of it ([`report::Report`]).

#![forbid(unsafe_code)]

pub mod attack;
pub mod progress;
pub mod report;
