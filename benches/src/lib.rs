//! What the benchmarks of hioload-ws share: the same bytes for every codec, a cycle counter.

#![deny(unsafe_code)]

pub mod cycles;
pub mod decode;
pub mod wire;
