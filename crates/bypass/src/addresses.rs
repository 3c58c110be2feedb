//! Whether a stack's addresses, its gateways and the listeners agree.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use hioload_tcp::StackConfig;
use hioload_transport::Endpoint;
use hioload_transport::sockets::Listen;

use crate::error::{Error, ListenError};

/// Checks that `stack` has an address, that each gateway is in one of its networks, and that user-space TCP can listen on all of
/// `listen`. Returns the IP addresses and ports to listen on: a port of every address is one for each family that the stack has.
///
/// # Errors
/// The first of these that does not hold.
pub fn check_addresses(stack: &StackConfig, listen: &[Listen]) -> Result<Vec<SocketAddr>, Error> {
    if stack.addresses.is_empty() {
        return Err(Error::NoAddress);
    }
    let mut all = Vec::new();
    for listen in listen {
        let found = addresses_of(stack, listen);
        all.extend(found.map_err(|why| Error::Listen(listen.to_string(), why))?);
    }
    let v4 = stack.gateway_v4.map(IpAddr::V4);
    let v6 = stack.gateway_v6.map(IpAddr::V6);
    let outside = v4
        .into_iter()
        .chain(v6)
        .find(|gateway| !stack.addresses.iter().any(|own| own.contains(*gateway)));
    outside.map_or(Ok(all), |gateway| Err(Error::Gateway(gateway)))
}

fn addresses_of(stack: &StackConfig, listen: &Listen) -> Result<Vec<SocketAddr>, ListenError> {
    let all = match listen {
        Listen::At(Endpoint::Tcp(addr)) => vec![*addr],
        Listen::At(Endpoint::Unix(_)) => return Err(ListenError::UnixSocket),
        Listen::Any(port) => unspecified(stack, *port),
        Listen::Name(name, port) => (name.as_str(), *port)
            .to_socket_addrs()
            .map_err(|why| ListenError::Name(why.to_string()))?
            .collect(),
        _ => return Err(ListenError::KernelSocket),
    };
    all.iter()
        .try_for_each(|addr| check_listener(stack, *addr))?;
    Ok(all)
}

/// The unspecified address of each family that the stack has.
fn unspecified(stack: &StackConfig, port: u16) -> Vec<SocketAddr> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let has = |any: &SocketAddr| {
        let own = stack.addresses.iter();
        own.map(|own| own.addr())
            .any(|own| own.is_ipv4() == any.is_ipv4())
    };
    [v4, v6].into_iter().filter(has).collect()
}

fn check_listener(stack: &StackConfig, listen: SocketAddr) -> Result<(), ListenError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> StackConfig {
        let own = ["10.77.0.2/24", "fd77::2/64"];
        StackConfig::new(own.map(|own| own.parse().expect(own)))
    }

    fn tcp(text: &str) -> Listen {
        text.parse().expect(text)
    }

    #[test]
    fn own_and_unspecified_addresses_can_be_listened_on() {
        for listen in [
            "10.77.0.2:9001",
            "[fd77::2]:80",
            "0.0.0.0:9001",
            "[::]:9001",
            ":9001",
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
    fn a_port_of_every_address_is_one_of_each_family_of_the_stack() {
        let both = check_addresses(&stack(), &[tcp(":80")]).expect("right");
        assert_eq!(
            both,
            ["0.0.0.0:80", "[::]:80"].map(|addr| addr.parse().expect(addr))
        );
        let ipv4 = StackConfig::new(["10.77.0.2/24".parse().expect("an address")]);
        let one = check_addresses(&ipv4, &[tcp("*:80")]).expect("right");
        assert_eq!(one, ["0.0.0.0:80".parse().expect("an address")]);
    }

    #[test]
    fn other_endpoints_are_errors_that_say_why() {
        let ipv4 = StackConfig::new(["10.77.0.2/24".parse().expect("an address")]);
        for (stack, listen, part) in [
            (stack(), tcp("unix:/x"), "no Unix sockets"),
            (stack(), tcp("localhost:9001"), "10.77.0.2, fd77::2"),
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
