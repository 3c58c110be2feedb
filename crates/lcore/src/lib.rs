//! Crate lcore.
