//! Shared by the benchmarks of hioload-ws: the same bytes for every codec, the decoders, a cycle counter.

#![deny(unsafe_code)]

pub mod cycles;
pub mod decode;
pub mod wire;
