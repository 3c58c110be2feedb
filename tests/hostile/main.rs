//! Hostile clients: each gets the documented response, and other connections are not affected.
//!
//! A bystander echoes before, during and after each scenario. Memory and descriptors are read from /proc.
#![cfg(target_os = "linux")]
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod command_line;
#[cfg(unix)]
mod control;
mod drain;
mod endings;
mod floods;
mod frames;
mod handshake;
mod limits;
mod memory;
mod pages;
mod proxies;
mod topics;
mod work;

use common::{Bystander, Server};

/// Runs a scenario against a server with these flags beside a bystander, which has to be served before, during and after it.
/// In the end the server has to stop in order.
fn beside_a_bystander(flags: &[&str], scenario: impl FnOnce(&Server, &Bystander)) {
    let mut server = Server::start(flags);
    let bystander = Bystander::start(&server);
    scenario(&server, &bystander);
    bystander.finish();
    server.terminate();
    assert_eq!(server.wait().code(), Some(0), "the server ends in order");
}
