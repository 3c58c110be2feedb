//! A simulation of several stacks, a faulty network, and virtual time. One seed determines a run.
//!
//! ```text
//! cargo test -p hioload-tcp --test simulation                               # seeds for some seconds
//! SIM_SEEDS=10000 cargo test --release -p hioload-tcp --test simulation     # more
//! SIM_SEED=123 cargo test -p hioload-tcp --test simulation -- --nocapture   # one seed, twice, with its history
//! ```
//!
//! `SIM_FROM` is the first seed, `SIM_TRACE` the number of history lines to keep.
//!
//! A seed determines a world ([`plan`]): a server of one or two lcores, one or two clients, their limits and scripts, links with
//! faults, and disturbances at certain times. [`world`] lets time pass. [`host`] is an application that checks every event of
//! its stack. [`ledger`] knows both ends of each connection and checks why it ends. [`net`] is the switch, the router and the
//! attacker. After a time everything is repaired: from then on no connection may stall, and new connections have to succeed. In
//! the end nothing may be left.
#![allow(missing_docs, unreachable_pub)]

use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

// Shared with the fuzz targets, which use other parts of it.
#[allow(dead_code)]
#[path = "../common/packet.rs"]
mod packet;

mod host;
mod ledger;
mod net;
mod plan;
mod random;
mod trace;
mod world;

use plan::Plan;

/// The number of seeds by default.
const SEEDS: u64 = if cfg!(debug_assertions) { 200 } else { 1000 };

/// One of this number of seeds is run twice.
const TWICE: u64 = 16;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
    )
}

/// Runs a seed. Returns the hash of its history, or why it failed.
fn run(seed: u64, keep: usize) -> Result<u64, String> {
    let trace = trace::Shared::new(keep);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| world::run(Plan::new(seed), &trace)));
    outcome.map_err(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
        let text = text.unwrap_or("a panic");
        format!(
            "{trace}seed {seed} failed: {text}\nreplay: SIM_SEED={seed} cargo test -p hioload-tcp --test simulation -- --nocapture"
        )
    })
}

/// Runs the same seed twice: the histories must be equal.
fn run_twice(seed: u64, keep: usize) -> Result<u64, String> {
    let (first, second) = (run(seed, keep)?, run(seed, keep)?);
    match first == second {
        true => Ok(first),
        false => Err(format!(
            "seed {seed} is not repeatable: {first:016x}, then {second:016x}"
        )),
    }
}

#[test]
fn worlds() {
    let keep = number("SIM_TRACE").unwrap_or(60) as usize;
    if let Some(seed) = number("SIM_SEED") {
        println!("{:#?}", Plan::new(seed));
        match run_twice(seed, keep) {
            Ok(hash) => println!("seed {seed} passed; its hash is {hash:016x}"),
            Err(text) => panic!("{text}"),
        }
        return;
    }
    let first = number("SIM_FROM").unwrap_or(0);
    let last = first + number("SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(first);
    let threads = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(4);
    let failed: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= last {
                    return failed;
                }
                let outcome = match seed % TWICE {
                    0 => run_twice(seed, keep),
                    _ => run(seed, keep),
                };
                failed.extend(outcome.err());
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    for text in &failed {
        eprintln!("{text}\n");
    }
    assert!(
        failed.is_empty(),
        "{} of {} seeds failed",
        failed.len(),
        last - first
    );
}
