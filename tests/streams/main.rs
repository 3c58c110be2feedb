//! Every subcommand with standard streams that are closed, full, not read, or read by a program that ends early: it does its work,
//! ends with its usual code, and writes its files.
#![cfg(target_os = "linux")]
#![allow(missing_docs, unreachable_pub)]

mod commands;
#[path = "../common/mod.rs"]
mod common;
mod serve;
mod stand;
