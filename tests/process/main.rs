//! The command as a process: standard streams that are closed, full, not read, or read by a program that ends early; signals; what it
//! listens on; the service manager that starts it.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub)]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod listening;
mod manager;
mod serve;
mod stand;
