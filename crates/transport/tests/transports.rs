//! The common suite on the fake, under both rules about short reads, on the sockets of this machine, and on flows of our
//! own TCP over frames in memory; on each of them also with a layer between the transport and the driver.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use suite::layers::ThroughLayer;
use suite::over_frames::{self, BypassHarness};
use suite::over_script::FakeHarness;
use suite::over_sockets::{self, SocketHarness};

suite!(fake, FakeHarness<true>);
suite!(fake_until_would_block, FakeHarness<false>);
suite!(fake_through_a_layer, FakeHarness<true, ThroughLayer>);

suite!(ipv4, SocketHarness<{ over_sockets::IPV4 }>);
suite!(ipv6, SocketHarness<{ over_sockets::IPV6 }>);
suite!(
    ipv4_through_a_layer,
    SocketHarness<{ over_sockets::IPV4 }, ThroughLayer>
);
#[cfg(unix)]
suite!(unix, SocketHarness<{ over_sockets::UNIX }>);
#[cfg(unix)]
suite!(
    unix_through_a_layer,
    SocketHarness<{ over_sockets::UNIX }, ThroughLayer>
);

suite!(bypass_ipv4, BypassHarness<{ over_frames::IPV4 }>);
suite!(bypass_ipv6, BypassHarness<{ over_frames::IPV6 }>);
suite!(
    bypass_through_a_layer,
    BypassHarness<{ over_frames::IPV4 }, ThroughLayer>
);
