//! Crate mem.
