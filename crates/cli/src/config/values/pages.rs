//! Values of the settings for web pages and proxies: origins, host names and proxy networks.

use std::str::FromStr;

use hioload_ws::{Network, NetworkError};

/// An allowed `Origin`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AllowOrigin {
    /// `same-origin`: none but the server's own.
    Same,
    /// `*`
    Any,
    /// This one, in lower case.
    Only(String),
}

impl FromStr for AllowOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected an origin such as https://example.org (no path), null, same-origin, or *";
        match text {
            "*" => return Ok(Self::Any),
            "same-origin" => return Ok(Self::Same),
            // Pages from files: browsers send the first, programs with an embedded browser the second.
            "null" | "file://" => return Ok(Self::Only(text.to_owned())),
            _ => {}
        }
        let (scheme, host) = text.split_once("://").ok_or(EXPECTED)?;
        if scheme.is_empty()
            || host.is_empty()
            || host.contains(['/', '@', '*'])
            || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(EXPECTED);
        }
        Ok(Self::Only(text.to_ascii_lowercase()))
    }
}

/// An allowed `Host`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AllowHost {
    /// `auto`
    Auto,
    /// `*`
    Any,
    /// This one, in lower case, without a dot at its end.
    Only(String),
}

impl FromStr for AllowHost {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => return Ok(Self::Any),
            "auto" => return Ok(Self::Auto),
            _ => {}
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err("expected a host name such as example.org (no port), auto, or *");
        }
        Ok(Self::Only(name.to_ascii_lowercase()))
    }
}

/// A network of proxies, `unix`, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TrustedProxy {
    /// No proxy.
    None,
    /// The peers of Unix sockets.
    Unix,
    /// The peers in this network.
    In(Network),
}

impl FromStr for TrustedProxy {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text {
            "none" => Ok(Self::None),
            "unix" => Ok(Self::Unix),
            text => text.parse().map(Self::In),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!("*".parse(), Ok(AllowOrigin::Any));
        assert_eq!("same-origin".parse(), Ok(AllowOrigin::Same));
        for (text, origin) in [
            ("https://Example.ORG", "https://example.org"),
            ("http://[::1]:80", "http://[::1]:80"),
            ("null", "null"),
            ("file://", "file://"),
        ] {
            assert_eq!(text.parse(), Ok(AllowOrigin::Only(origin.to_owned())));
        }
        for text in [
            "",
            "example.org",
            "https://example.org/",
            "https://a b",
            "https://*.example.org",
            "https://user@example.org",
            "://x",
        ] {
            assert!(text.parse::<AllowOrigin>().is_err(), "{text}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!("*".parse(), Ok(AllowHost::Any));
        assert_eq!("auto".parse(), Ok(AllowHost::Auto));
        let name = AllowHost::Only("example.org".to_owned());
        assert_eq!("Example.org".parse(), Ok(name.clone()));
        assert_eq!("example.org.".parse(), Ok(name));
        for text in ["", ".", "a:80", "http://a", "*.example.org", "a b", "[::1]"] {
            assert!(text.parse::<AllowHost>().is_err(), "{text}");
        }
    }

    #[test]
    fn proxies() {
        assert_eq!("none".parse(), Ok(TrustedProxy::None));
        assert_eq!("unix".parse(), Ok(TrustedProxy::Unix));
        let network = "10.0.0.0/8".parse().unwrap();
        assert_eq!("10.0.0.0/8".parse(), Ok(TrustedProxy::In(network)));
        assert!("proxy.example.org".parse::<TrustedProxy>().is_err());
    }
}
