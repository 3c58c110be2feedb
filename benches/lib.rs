//! Benchmarks of hioload-ws.
