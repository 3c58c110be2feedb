//! Shared by the whole-system tests: the server as a process, a raw client, and the bystander.
//!
//! Nothing here uses the project's codec or its TLS, so that an error in them cannot hide itself.

#![allow(dead_code, unused_imports, unreachable_pub)] // each test program uses a part of it

mod bystander;
mod client;
mod link;
mod secured;
mod server;
pub mod wire;

use std::thread;
use std::time::{Duration, Instant};

pub use bystander::Bystander;
pub use client::{Client, Got, Response};
pub use server::{Server, over_sockets, run, source};

/// How long anything may take that must happen. Far more than it needs; a test that runs into it has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `condition` holds; panics with `what` if it never does.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
