//! Initial sequence numbers: RFC 6528, through smoltcp's generator.
//!
//! The number is a clock with ticks of 4 microseconds plus a keyed hash of the flow. It grows for one flow, so that old segments
//! differ from new ones, and it cannot be guessed without the key. smoltcp takes its numbers from a linear congruential
//! generator of the interface, which can be predicted from a few of them. So each flow begins with an interface of its own, whose
//! seed makes the first number ours. The version of smoltcp is pinned, and a test checks the generator.

use hioload_lcore::Time;

use crate::tuple::{Key, Tuple};

/// The generator's multiplier and increment.
const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
const INCREMENT: u64 = 0x7590_ef39;
/// `MULTIPLIER * INVERSE == 1`, modulo 2^64.
const INVERSE: u64 = inverse(MULTIPLIER);

/// The longest time that a flow can be connecting.
const RECENT_SECONDS: u32 = 300;

const fn inverse(of: u64) -> u64 {
    // Newton's iteration doubles the number of correct bits. An odd number is its own inverse modulo 8.
    let mut inverse = of;
    let mut round = 0;
    while round < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(of.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

/// The initial sequence number of a flow that begins at `now`.
pub(crate) fn isn(key: &Key, flow: &Tuple, now: Time) -> u32 {
    let clock = (now.as_nanos() / 4000) as u32;
    clock.wrapping_add(flow.keyed_hash64(key) as u32)
}

/// Whether `seq` can be the initial number of a flow that began in the last minutes. For a guessed number that is unlikely.
pub(crate) fn is_recent(key: &Key, flow: &Tuple, now: Time, seq: u32) -> bool {
    let age = isn(key, flow, now).wrapping_sub(seq);
    // In units of 4 microseconds.
    age < RECENT_SECONDS * 250_000
}

/// The seed with which the first number that an interface draws for a socket is `isn`.
pub(crate) fn seed(isn: u32) -> u64 {
    let before = |state: u64| state.wrapping_sub(INCREMENT).wrapping_mul(INVERSE);
    // A state yields its bits 29 to 60 if its highest three are zero. `Interface::new` draws 16 bits until they are not zero;
    // this seed makes it draw once.
    let mut low = 0;
    loop {
        let second = u64::from(isn) << 29 | low;
        let first = before(second);
        let drawn = (first >> (29 - (first >> 61))) as u32;
        if (drawn ^ drawn >> 16) as u16 != 0 {
            return before(first);
        }
        low += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smoltcp::iface::{Config, Interface};
    use smoltcp::phy::{self, DeviceCapabilities, Medium};
    use smoltcp::socket::tcp::{Socket, SocketBuffer};
    use smoltcp::time::Instant;
    use smoltcp::wire::HardwareAddress;

    use super::*;

    struct Nothing(Vec<u8>);
    struct Token<'a>(&'a mut Vec<u8>);

    impl phy::RxToken for Token<'_> {
        fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
            f(&[])
        }
    }
    impl phy::TxToken for Token<'_> {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
            self.0.resize(len, 0);
            f(self.0)
        }
    }
    impl phy::Device for Nothing {
        type RxToken<'a> = Token<'a>;
        type TxToken<'a> = Token<'a>;
        fn receive(&mut self, _: Instant) -> Option<(Token<'_>, Token<'_>)> {
            None
        }
        fn transmit(&mut self, _: Instant) -> Option<Token<'_>> {
            Some(Token(&mut self.0))
        }
        fn capabilities(&self) -> DeviceCapabilities {
            let mut all = DeviceCapabilities::default();
            all.medium = Medium::Ip;
            all.max_transmission_unit = 1500;
            all
        }
    }

    /// The sequence number of a SYN that smoltcp sends.
    fn drawn(seed: u64) -> u32 {
        let mut device = Nothing(Vec::new());
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.set_any_ip(true);
        let buffer = || SocketBuffer::new(vec![0; 64]);
        let mut set = smoltcp::iface::SocketSet::new(Vec::new());
        let mut socket = Socket::new(buffer(), buffer());
        let (there, here) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let to = smoltcp::wire::IpEndpoint::new(smoltcp::wire::IpAddress::Ipv4(there), 80);
        let from = smoltcp::wire::IpEndpoint::new(smoltcp::wire::IpAddress::Ipv4(here), 81);
        socket
            .connect(interface.context(), to, from)
            .expect("it begins");
        set.add(socket);
        interface.poll_egress(Instant::ZERO, &mut device, &mut set);
        u32::from_be_bytes(*device.0[24..].first_chunk().expect("a SYN"))
    }

    proptest! {
        #[test]
        fn smoltcp_draws_the_given_number(isn in any::<u32>()) {
            prop_assert_eq!(drawn(seed(isn)), isn);
        }
    }

    #[test]
    fn a_number_grows_for_one_flow_and_differs_between_flows_and_keys() {
        let one = Tuple::v4([10, 0, 0, 2], 80, [10, 0, 0, 1], 4000);
        let other = Tuple::v4([10, 0, 0, 2], 80, [10, 0, 0, 1], 4001);
        let at = |key, flow, ms| isn(key, flow, Time::from_millis(ms));
        assert_eq!(
            at(&[1, 2], &one, 8).wrapping_sub(at(&[1, 2], &one, 4)),
            1000
        );
        assert_ne!(at(&[1, 2], &one, 0), at(&[1, 2], &other, 0));
        assert_ne!(at(&[1, 2], &one, 0), at(&[1, 3], &one, 0));
    }
}
