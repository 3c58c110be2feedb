//! The common suite on the fake, under both rules about short reads, and on the sockets of this machine.
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
