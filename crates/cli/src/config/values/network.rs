//! Values about the network: addresses, listeners.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hioload_tcp::Cidr;
use hioload_ws::{Listen, Network, NetworkError};

/// What to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ListenOn {
    /// `:PORT`, `ADDR:PORT`, `[IPV6]:PORT`, `NAME:PORT` or `unix:/path`.
    Socket(Listen),
    /// `systemd` or `systemd:NAME`: the sockets that systemd passes, all or those of a name.
    Systemd(Option<String>),
}

impl FromStr for ListenOn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected :PORT, ADDR:PORT, [IPV6]:PORT, NAME:PORT, unix:/path, systemd or systemd:NAME";
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        match text.strip_prefix("systemd:") {
            Some("") => Err(EXPECTED),
            Some(name) => Ok(Self::Systemd(Some(name.to_owned()))),
            None => text.parse().map(Self::Socket).map_err(|_| EXPECTED),
        }
    }
}

/// A network, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NetworkValue(pub Option<Network>);

impl FromStr for NetworkValue {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|network| Self(Some(network)))
    }
}

/// An address with its network's prefix, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OwnAddress(pub Option<Cidr>);

impl FromStr for OwnAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|cidr| Self(Some(cidr)))
            .map_err(|why: hioload_tcp::ParseCidrError| why.to_string())
    }
}

/// A router's address, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gateway(pub Option<IpAddr>);

impl FromStr for Gateway {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse()
            .map(|addr| Self(Some(addr)))
            .map_err(|_| "expected an IP address or none")
    }
}

/// A MAC address, or `device` for that of the port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mac(pub Option<[u8; 6]>);

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a MAC address such as 02:00:00:00:00:01, or device";
        if text == "device" {
            return Ok(Self(None));
        }
        let mut mac = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut mac {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or(EXPECTED)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| EXPECTED)?;
        }
        // The lowest bit of the first byte marks a group address.
        let unicast = mac[0] & 1 == 0 && mac != [0; 6] && !text.contains('+');
        match parts.next() {
            None if unicast => Ok(Self(Some(mac))),
            _ => Err(EXPECTED),
        }
    }
}

/// A VLAN, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vlan(pub Option<u16>);

impl FromStr for Vlan {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "none" => Ok(Self(None)),
            Ok(id @ 1..=4094) => Ok(Self(Some(id))),
            _ => Err("expected a VLAN from 1 to 4094, or none"),
        }
    }
}

/// A filter for peers: an address, and optionally a port.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PeerFilter(pub IpAddr, pub Option<u16>);

impl FromStr for PeerFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self(addr.ip(), Some(addr.port())));
        }
        let ip = text.parse().map_err(|_| "expected ADDR or ADDR:PORT")?;
        Ok(Self(ip, None))
    }
}

impl fmt::Display for PeerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(port) => SocketAddr::new(self.0, port).fmt(f),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners() {
        for text in [
            "127.0.0.1:9001",
            "localhost:80",
            "[::1]:9001",
            ":9001",
            "unix:/run/x.sock",
        ] {
            match text.parse() {
                Ok(ListenOn::Socket(listen)) => assert_eq!(listen.to_string(), text),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!("systemd".parse(), Ok(ListenOn::Systemd(None)));
        assert_eq!(
            "systemd:web".parse(),
            Ok(ListenOn::Systemd(Some("web".to_owned())))
        );
        for text in [
            "",
            "9001",
            "127.0.0.1",
            "::1:9001",
            "systemd:",
            "unix:",
            "1.2.3.4:99999",
        ] {
            assert!(text.parse::<ListenOn>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_link() {
        let mac = [2, 0, 0, 0, 0xab, 1];
        assert_eq!("02:00:00:00:aB:01".parse(), Ok(Mac(Some(mac))));
        assert_eq!("device".parse(), Ok(Mac(None)));
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "01:00:00:00:00:01",
            "00:00:00:00:00:00",
            "02:00:00:00:00:+1",
            "2:0:0:0:0:1",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
        assert_eq!("none".parse(), Ok(Vlan(None)));
        assert_eq!("4094".parse(), Ok(Vlan(Some(4094))));
        for text in ["", "0", "4095", "-1", "x"] {
            assert!(text.parse::<Vlan>().is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_of_the_network() {
        let shown = |text: &str| {
            text.parse::<OwnAddress>()
                .map(|ip| ip.0.map(|ip| ip.to_string()))
        };
        assert_eq!(shown("10.77.0.2/24"), Ok(Some("10.77.0.2/24".into())));
        assert_eq!(shown("fd77::2/64"), Ok(Some("fd77::2/64".into())));
        assert_eq!(shown("none"), Ok(None));
        for text in ["", "10.77.0.2", "10.77.0.2/33", "224.0.0.1/8", "0.0.0.0/0"] {
            assert!(shown(text).is_err(), "{text}");
        }
        assert_eq!(
            "fd77::1".parse(),
            Ok(Gateway(Some("fd77::1".parse().unwrap())))
        );
        assert!("fd77::1/64".parse::<Gateway>().is_err());
    }

    #[test]
    fn peer_filters() {
        for text in ["10.0.0.1", "10.0.0.1:80", "fd77::1", "[fd77::1]:80"] {
            let filter: PeerFilter = text.parse().expect(text);
            assert_eq!(filter.to_string(), text);
            assert_eq!(filter.1.is_some(), text.ends_with("80"));
        }
        assert!("10.0.0.1/24".parse::<PeerFilter>().is_err());
    }
}
