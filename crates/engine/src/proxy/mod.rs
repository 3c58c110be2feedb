//! Clients behind proxies: which peers are proxies, and what they say about the client.
//!
//! A proxy names its client in one of two ways: by a PROXY header before the first byte of the connection ([`header`]), or by a field
//! of the request ([`forwarded`]). Both are read from [trusted](Proxies::trusted) peers alone: anybody can send them.
//!
//! The parsers are sans-IO and public for fuzzing.

pub mod forwarded;
pub mod header;

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hioload_transport::Peer;

use crate::sources::Networks;

/// What a proxy says about a client cannot be read. The proxy is at fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proxy's statement about its client is malformed")
    }
}
impl Error for Malformed {}

/// What a proxy says about a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// Its address. The port is 0 if the proxy does not say it.
    Client(SocketAddr),
    /// Nothing: the connection is the proxy's own, as a health check is, or the proxy does not know the client.
    Nothing,
}

impl Said {
    fn client(ip: IpAddr, port: u16) -> Result<Self, Malformed> {
        let ip = ip.to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(Malformed);
        }
        Ok(Self::Client(SocketAddr::new(ip, port)))
    }
}

/// Declares an enum with a text for each variant.
macro_rules! choices {
    (
        $(#[doc = $doc:literal])* $name:ident, $error:ident, $expected:literal {
            $($(#[$attribute:meta])* $variant:ident = $text:literal;)*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub enum $name {
            $($(#[$attribute])* $variant,)*
        }

        #[doc = concat!("A text is not a [`", stringify!($name), "`].")]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub struct $error;

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("expected ", $expected))
            }
        }
        impl Error for $error {}

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    _ => Err($error),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$variant => $text,)*
                })
            }
        }
    };
}

choices! {
    /// Which connections begin with a PROXY header.
    ProxyProtocol, ParseProxyProtocolError, "off, trusted or require" {
        /// None.
        #[default]
        Off = "off";
        /// Those of trusted proxies. The others are of clients without a proxy.
        Trusted = "trusted";
        /// All. Connections of peers that are not trusted proxies are reset.
        Require = "require";
    }
}

choices! {
    /// The field of a trusted proxy's request that names the client.
    RealIpHeader, ParseRealIpHeaderError, "none, x-forwarded-for or forwarded" {
        /// No field.
        #[default]
        None = "none";
        /// `X-Forwarded-For`: a list of addresses, to which each proxy adds the one that it sees.
        XForwardedFor = "x-forwarded-for";
        /// `Forwarded` (RFC 7239): the parameter `for` of its elements.
        Forwarded = "forwarded";
    }
}

/// Which peers are proxies, and how they name their clients.
///
/// The client that a proxy names is the peer in every respect: limits of sources, `allow` and `deny`, logs and handlers. The proxy
/// itself counts for no source and is always allowed; without a client's name, a connection is its own.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Proxies {
    /// The networks of the proxies.
    pub trusted: Networks,
    /// Whether the peers of Unix sockets are proxies.
    pub trust_unix: bool,
    /// Which connections begin with a PROXY header. A malformed one is answered by a reset. Counter `proxy_malformed`. A header is
    /// bounded by `max_handshake` bytes, and has to arrive within `handshake_timeout`.
    pub protocol: ProxyProtocol,
    /// The field of a request that names the client. A malformed one is answered 400. Counter `proxy_malformed`.
    pub header: RealIpHeader,
}

impl Proxies {
    /// No proxies.
    pub fn new() -> Self {
        Self::default()
    }
    /// Sets the networks of the proxies.
    pub fn trusted(mut self, networks: Networks) -> Self {
        self.trusted = networks;
        self
    }
    /// Sets whether the peers of Unix sockets are proxies.
    pub fn trust_unix(mut self, trust: bool) -> Self {
        self.trust_unix = trust;
        self
    }
    /// Sets which connections begin with a PROXY header.
    pub fn protocol(mut self, protocol: ProxyProtocol) -> Self {
        self.protocol = protocol;
        self
    }
    /// Sets the field that names the client.
    pub fn header(mut self, header: RealIpHeader) -> Self {
        self.header = header;
        self
    }

    /// Whether `peer` is a proxy.
    pub(crate) fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Unix => self.trust_unix,
            Peer::Ip(addr) => self.trusts_ip(addr.ip()),
        }
    }

    pub(crate) fn trusts_ip(&self, ip: IpAddr) -> bool {
        !self.trusted.is_empty() && self.trusted.contains(ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_parse_from_what_they_display() {
        for text in ["off", "trusted", "require"] {
            let parsed: ProxyProtocol = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        for text in ["none", "x-forwarded-for", "forwarded"] {
            let parsed: RealIpHeader = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(
            "on".parse::<ProxyProtocol>().unwrap_err().to_string(),
            "expected off, trusted or require"
        );
    }

    #[test]
    fn only_listed_peers_are_proxies() {
        let network = "10.0.0.0/8".parse().unwrap();
        let proxies = Proxies::new().trusted([network].into_iter().collect());
        let ip = |text: &str| Peer::Ip(text.parse().unwrap());
        assert!(proxies.trusts(ip("10.1.2.3:4")));
        assert!(proxies.trusts(ip("[::ffff:10.1.2.3]:4")));
        assert!(!proxies.trusts(ip("11.1.2.3:4")) && !proxies.trusts(Peer::Unix));
        assert!(!Proxies::new().trusts(ip("10.1.2.3:4")));
        assert!(Proxies::new().trust_unix(true).trusts(Peer::Unix));
    }
}
