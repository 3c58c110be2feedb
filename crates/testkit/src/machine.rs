//! What a machine may lack, and a test needs.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::OnceLock;

/// Whether this machine has IPv6. A test that needs it returns if it has not: containers often have none. The reason is printed
/// once.
///
/// # Panics
/// If there is no IPv6 and the variable `CI` is set: there the test must not be skipped.
#[must_use]
pub fn has_ipv6() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    let has = *HAS.get_or_init(|| {
        let why = match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
            Ok(_) => return true,
            Err(why) => why,
        };
        eprintln!("tests that need IPv6 are skipped: this machine has no ::1 ({why})");
        false
    });
    assert!(
        has || std::env::var_os("CI").is_none(),
        "this machine has no IPv6, and CI is set: no test may be skipped"
    );
    has
}
