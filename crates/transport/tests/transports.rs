//! The common suite on the fake, under both rules about short reads, on the sockets of this machine, and on flows of our
//! own TCP over frames in memory.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

suite!(fake, crate::suite::world::FakeHarness<true>);
suite!(
    fake_until_would_block,
    crate::suite::world::FakeHarness<false>
);
suite!(
    ipv4,
    crate::suite::world::SocketHarness<{ crate::suite::world::IPV4 }>
);
suite!(
    ipv6,
    crate::suite::world::SocketHarness<{ crate::suite::world::IPV6 }>
);
#[cfg(unix)]
suite!(
    unix,
    crate::suite::world::SocketHarness<{ crate::suite::world::UNIX }>
);
suite!(
    bypass_ipv4,
    crate::suite::over_frames::BypassHarness<{ crate::suite::over_frames::IPV4 }>
);
suite!(
    bypass_ipv6,
    crate::suite::over_frames::BypassHarness<{ crate::suite::over_frames::IPV6 }>
);
