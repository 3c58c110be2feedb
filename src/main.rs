//! The `hioload` command.
fn main() {}
