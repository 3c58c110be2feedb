//! Bindings to `dpdk-shim/shim.h`, the functions of DPDK that `hioload-dpdk` uses, with one call for each burst. `shim.h` documents
//! them.
//!
//! Needs DPDK 22.11 or later with its headers (Debian: `libdpdk-dev`) and libclang (Debian: `libclang-dev`). DPDK is linked
//! dynamically: EAL finds the drivers itself, in the folder DPDK was built for.
#![allow(
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    clippy::all,
    clippy::undocumented_unsafe_blocks
)]

include!(concat!(env!("OUT_DIR"), "/shim.rs"));
