//! hioload-ws.
