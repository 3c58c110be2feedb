//! The logic of the fuzz targets. A target is a function of the input's bytes that panics if a check fails.
//!
//! The programs of the fuzzer in `fuzz_targets/` call these functions. The ordinary tests include this file (`tests/corpus.rs`), and
//! call them for every committed input of `corpus/` and for random changes of these, so a stable compiler can replay an input.
//!
//! An input begins with options and the seed of its splits; the module of each target documents them. The rest is the data of a
//! peer. Splitting the data elsewhere must not change the result.

pub mod control;
pub mod deflate;
pub mod events;
pub mod frames;
pub mod handshake;
pub mod input;
// Shared with the simulation, which uses other parts of it.
#[allow(dead_code)]
#[path = "../../../crates/tcp/tests/common/packet.rs"]
pub mod packet;
pub mod packets;
pub mod parse;
pub mod proxy;
// The command has no library; these modules depend on nothing else of it.
#[allow(dead_code)]
#[path = "../../../crates/cli/src/app/control/question.rs"]
mod question;
#[cfg(target_os = "linux")]
pub mod redirect;
#[allow(dead_code)]
#[path = "../../../crates/cli/src/app/control/row.rs"]
mod row;
pub mod seeds;
pub mod session;
pub mod tls_handshake;
pub mod tls_records;
pub mod topics;
pub mod wire;

/// A target: its name and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("handshake", handshake::run),
    ("frames", frames::run),
    ("deflate", deflate::run),
    ("session", session::run),
    ("packets", packets::run),
    ("parse", parse::run),
    ("proxy", proxy::run),
    ("topics", topics::run),
    ("control", control::run),
    ("tls_handshake", tls_handshake::run),
    ("tls_records", tls_records::run),
    #[cfg(target_os = "linux")]
    ("redirect", redirect::run),
];
