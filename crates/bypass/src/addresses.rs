//! Whether a stack's addresses, its gateways and the listeners agree.

use std::net::{IpAddr, SocketAddr};

use hioload_tcp::StackConfig;
use hioload_transport::Endpoint;

use crate::error::{Error, ListenError};

/// Checks that `stack` has an address, that each gateway is in one of its networks, and that each endpoint of `listen` is one that
/// user-space TCP can listen on.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_addresses(stack: &StackConfig, listen: &[Endpoint]) -> Result<(), Error> {
    if stack.addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    for endpoint in listen {
        check_listener(stack, endpoint).map_err(|why| Error::Listen(endpoint.clone(), why))?;
    }
    let v4 = stack.gateway_v4.map(IpAddr::V4);
    let v6 = stack.gateway_v6.map(IpAddr::V6);
    let outside = v4
        .into_iter()
        .chain(v6)
        .find(|gateway| !stack.addresses.iter().any(|own| own.contains(*gateway)));
    outside.map_or(Ok(()), |gateway| Err(Error::Gateway(gateway)))
}

fn check_listener(stack: &StackConfig, endpoint: &Endpoint) -> Result<(), ListenError> {
    let Endpoint::Tcp(listen) = endpoint else {
        return Err(ListenError::UnixSocket);
    };
    if listen.port() == 0 {
        return Err(ListenError::NoPort);
    }
    let ip = listen.ip();
    let own: Vec<IpAddr> = stack.addresses.iter().map(|own| own.addr()).collect();
    let same_family = |own: &IpAddr| own.is_ipv4() == ip.is_ipv4();
    if own.contains(&ip) || ip.is_unspecified() && own.iter().any(same_family) {
        return Ok(());
    }
    Err(ListenError::Address { own })
}

/// The IP addresses and ports among `endpoints`.
#[must_use]
pub fn tcp_addresses(endpoints: &[Endpoint]) -> Vec<SocketAddr> {
    let addresses = endpoints.iter().filter_map(|endpoint| match endpoint {
        Endpoint::Tcp(addr) => Some(*addr),
        Endpoint::Unix(_) => None,
    });
    addresses.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> StackConfig {
        let own = ["10.77.0.2/24", "fd77::2/64"];
        StackConfig::new(own.map(|own| own.parse().expect(own)))
    }

    fn tcp(text: &str) -> Endpoint {
        Endpoint::Tcp(text.parse().expect(text))
    }

    #[test]
    fn own_and_unspecified_addresses_can_be_listened_on() {
        for listen in [
            "10.77.0.2:9001",
            "[fd77::2]:80",
            "0.0.0.0:9001",
            "[::]:9001",
        ] {
            assert!(
                check_addresses(&stack(), &[tcp(listen)]).is_ok(),
                "{listen}"
            );
        }
        let mut routed = stack();
        routed.gateway_v4 = Some([10, 77, 0, 1].into());
        routed.gateway_v6 = Some("fd77::1".parse().expect("an address"));
        assert!(check_addresses(&routed, &[]).is_ok());
    }

    #[test]
    fn other_endpoints_are_errors_that_say_why() {
        let ipv4 = StackConfig::new(["10.77.0.2/24".parse().expect("an address")]);
        for (stack, listen, part) in [
            (stack(), Endpoint::Unix("/x".into()), "no Unix sockets"),
            (stack(), tcp("10.77.0.3:9001"), "10.77.0.2, fd77::2"),
            (stack(), tcp("10.77.0.2:0"), "name one from 1"),
            (ipv4, tcp("[::]:9001"), "has 10.77.0.2"),
        ] {
            let why = check_addresses(&stack, std::slice::from_ref(&listen))
                .expect_err("not ours")
                .to_string();
            assert!(
                why.contains(part) && why.contains(&listen.to_string()),
                "{why}"
            );
        }
    }

    #[test]
    fn a_stack_needs_an_address_and_gateways_in_its_networks() {
        assert!(matches!(
            check_addresses(&StackConfig::default(), &[]),
            Err(Error::NoAddress)
        ));
        let mut elsewhere = stack();
        elsewhere.gateway_v4 = Some([10, 78, 0, 1].into());
        assert!(matches!(
            check_addresses(&elsewhere, &[]),
            Err(Error::Gateway(_))
        ));
    }
}
