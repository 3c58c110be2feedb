//! Sockets of the operating system, on mio.
