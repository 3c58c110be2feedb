//! `wsload`: a single-threaded WebSocket load client that needs less CPU time than the servers it measures.
//!
//! It prints one JSON object: messages, seconds, latencies and, given the server's process id, the CPU time that all
//! its threads used in the measured window. Every reply is compared with its message, byte for byte.

#![forbid(unsafe_code)]

mod conn;
mod echo;
mod events;
mod fanout;
mod hist;
mod hold;
mod process;
mod window;
mod wire;

use std::error::Error;
use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::echo::EchoOptions;
use crate::fanout::{Dialect, FanoutOptions};

/// A WebSocket load client for one server on this machine.
#[derive(Parser)]
struct Command {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// A closed loop: the client answers every reply with the next message.
    Echo {
        #[command(flatten)]
        common: Common,
        /// The path to connect to
        #[arg(long, default_value = "/echo")]
        path: String,
        /// Open connections
        #[arg(long, default_value_t = 64)]
        connections: usize,
        /// Messages in flight on each connection
        #[arg(long, default_value_t = 1)]
        in_flight: usize,
        /// Keep this many messages in flight on all connections together, at most one on each, in turns
        #[arg(long)]
        rotating: Option<usize>,
        /// Further connections that are open and send nothing
        #[arg(long, default_value_t = 0)]
        silent: usize,
        /// Send text, not binary
        #[arg(long)]
        text: bool,
    },
    /// One publisher whose messages go to every subscriber.
    Fanout {
        #[command(flatten)]
        common: Common,
        /// The dialect of the server
        #[arg(long, value_enum, default_value = "plain")]
        dialect: Dialect,
        /// Subscribed connections
        #[arg(long, default_value_t = 1000)]
        subscribers: usize,
        /// Messages in flight
        #[arg(long, default_value_t = 1)]
        window: usize,
    },
    /// The server's memory for each open connection.
    Hold {
        /// Address of the server
        #[arg(long)]
        server: SocketAddrV4,
        /// Its process id
        #[arg(long)]
        pid: u32,
        /// The path to connect to
        #[arg(long, default_value = "/echo")]
        path: String,
        /// Connections to open
        #[arg(long, default_value_t = 15_000)]
        connections: usize,
    },
}

#[derive(Args)]
struct Common {
    /// Address of the server
    #[arg(long)]
    server: SocketAddrV4,
    /// Its process id, to read its CPU time
    #[arg(long)]
    pid: Option<u32>,
    /// Payload bytes of a message
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Seconds to run before measuring
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Seconds to measure
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
}

impl Common {
    fn times(&self) -> Result<[Duration; 2], Box<dyn Error>> {
        Ok([
            Duration::try_from_secs_f64(self.warmup)?,
            Duration::try_from_secs_f64(self.seconds)?,
        ])
    }
}

fn run(mode: &Mode) -> Result<Value, Box<dyn Error>> {
    match mode {
        Mode::Echo {
            common,
            path,
            connections,
            in_flight,
            rotating,
            silent,
            text,
        } => {
            let options = EchoOptions {
                server: common.server,
                path,
                connections: *connections,
                in_flight: *in_flight,
                rotating: *rotating,
                silent: *silent,
                text: *text,
                size: common.size,
            };
            echo::run(&options, common.pid, common.times()?)
        }
        Mode::Fanout {
            common,
            dialect,
            subscribers,
            window,
        } => {
            let options = FanoutOptions {
                server: common.server,
                dialect: *dialect,
                subscribers: *subscribers,
                window: *window,
                size: common.size,
            };
            fanout::run(&options, common.pid, common.times()?)
        }
        Mode::Hold {
            server,
            pid,
            path,
            connections,
        } => hold::run(*server, path, *connections, *pid),
    }
}

fn main() -> ExitCode {
    match run(&Command::parse().mode) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wsload: {error}");
            ExitCode::FAILURE
        }
    }
}
