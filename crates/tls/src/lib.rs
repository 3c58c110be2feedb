//! TLS as a layer between a transport and its driver.
#![forbid(unsafe_code)]
