//! `ebpf/redirect.bpf.c` compiled for this machine: the decisions of the XDP program, without a kernel and without privileges.
//!
//! Each packet is run twice, once so that it ends where a page without access begins, and once so that it begins where such a page
//! ends. A read outside of the packet ends the process, and so does undefined behaviour. The kernel's verifier proves the same for
//! the compiled program; here it holds for the source, whatever compiler translates it.

#[cfg(target_os = "linux")]
mod guarded;
#[cfg(target_os = "linux")]
mod run;
mod types;

#[cfg(target_os = "linux")]
pub use run::run;
pub use types::{Action, Host, LONGEST, Verdict};
