//! Crate ws.
