//! What the fuzz targets check, apart from the fuzzer: each target is a function of the input's bytes that panics if
//! something is wrong.
//!
//! The fuzzer's programs call it from `fuzz_targets/`. The ordinary tests include this file (`tests/corpus.rs`) and call
//! it for every committed input of `corpus/` and for random ones, so no nightly compiler is needed to replay a find.
//!
//! An input begins with a few bytes of options and the seed of its splits; the module of each target says which. The rest is
//! what a peer sends. Whatever it is, cutting it elsewhere must not change what comes of it.

pub mod deflate;
pub mod events;
pub mod frames;
pub mod handshake;
pub mod input;
// Shared with the simulation, which needs more of it.
#[allow(dead_code)]
#[path = "../../../crates/tcp/tests/common/packet.rs"]
pub mod packet;
pub mod packets;
pub mod parse;
pub mod seeds;
pub mod session;
pub mod wire;

/// A target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("handshake", handshake::run),
    ("frames", frames::run),
    ("deflate", deflate::run),
    ("session", session::run),
    ("packets", packets::run),
    ("parse", parse::run),
];
