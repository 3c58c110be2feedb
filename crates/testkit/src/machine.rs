//! What a machine may lack, and a test needs.

use std::io::{self, Write};
use std::net::{Ipv6Addr, TcpListener};
use std::path::Path;
use std::sync::OnceLock;

/// Whether this machine has IPv6. A test that needs it returns if it has not: containers often have none. The reason is printed
/// once.
///
/// # Panics
/// If there is no IPv6 and the variable `CI` is set: there the test must not be skipped.
#[must_use]
pub fn has_ipv6() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    has(&HAS, || {
        let bound = TcpListener::bind((Ipv6Addr::LOCALHOST, 0));
        bound
            .err()
            .map(|why| format!("this machine has no ::1: {why}"))
    })
}

/// The same for a test that makes network namespaces, which have IPv6 wherever the kernel has it.
///
/// # Panics
/// As [`has_ipv6`].
#[must_use]
pub fn kernel_has_ipv6() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    has(&HAS, || {
        let there = Path::new("/proc/sys/net/ipv6").exists();
        (!there).then(|| "this kernel has no IPv6".to_owned())
    })
}

fn has(known: &OnceLock<bool>, missing: impl FnOnce() -> Option<String>) -> bool {
    let has = *known.get_or_init(|| {
        let missing = missing();
        if let Some(why) = &missing {
            // Past the capture of the test harness, which shows nothing of a test that passes.
            let line = format!("tests that need IPv6 are skipped: {why}\n");
            let _ = io::stderr().write_all(line.as_bytes());
        }
        missing.is_none()
    });
    assert!(
        has || std::env::var_os("CI").is_none(),
        "there is no IPv6, and CI is set: no test may be skipped"
    );
    has
}
