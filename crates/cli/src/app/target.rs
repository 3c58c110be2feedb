//! The URL of a server.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use hioload_ws::Endpoint;

/// A parsed WebSocket URL (RFC 6455 §3).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    location: Location,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The host, without a port: the name that TLS verifies.
    pub name: String,
    /// The `Host` field.
    pub host: String,
    /// The resource name: path and query.
    pub resource: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Location {
    Tcp(String, u16),
    Unix(PathBuf),
}

const EXPECTED: &str =
    "expected ws://HOST[:PORT][/PATH], ws+unix:/SOCKET[:/PATH], or the same with wss";

impl Target {
    /// Parses a URL.
    ///
    /// # Errors
    /// The error in one line.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("bad URL {url:?}: {why}");
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("it must contain only visible ASCII"));
        }
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used
        // on these URIs."
        if url.contains('#') {
            return Err(wrong("a WebSocket URL must not have a fragment"));
        }
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(wrong(EXPECTED));
        };
        match scheme.to_ascii_lowercase().as_str() {
            secure @ ("ws" | "wss") => {
                let rest = rest.strip_prefix("//").ok_or_else(|| wrong(EXPECTED))?;
                Self::tcp(rest, secure == "wss").map_err(wrong)
            }
            secure @ ("ws+unix" | "wss+unix") => {
                Self::unix(rest, secure == "wss+unix").map_err(wrong)
            }
            _ => Err(wrong(EXPECTED)),
        }
    }

    fn tcp(rest: &str, tls: bool) -> Result<Self, &'static str> {
        // RFC 6455 §3: the default port is 80, and 443 with TLS.
        let default = if tls { 443 } else { 80 };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at(end);
        if authority.contains('@') {
            return Err("the URL must not contain user information");
        }
        let (name, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address do not separate a port.
            Some((name, port)) if !port.ends_with(']') => (
                name,
                port.parse()
                    .map_err(|_| "the port is not a number from 0 to 65535")?,
            ),
            _ => (authority, default),
        };
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'));
        if bare.is_none() && name.contains([':', '[', ']']) {
            return Err("an IPv6 address must be in brackets");
        }
        if name.is_empty() {
            return Err("the host is missing");
        }
        let host = if port == default {
            name.to_owned()
        } else {
            format!("{name}:{port}")
        };
        let location = Location::Tcp(bare.unwrap_or(name).to_owned(), port);
        Ok(Self {
            location,
            tls,
            name: bare.unwrap_or(name).to_owned(),
            host,
            resource: with_slash(resource),
        })
    }

    fn unix(rest: &str, tls: bool) -> Result<Self, &'static str> {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, resource) = rest.split_once(':').unwrap_or((rest, ""));
        if path.is_empty() {
            return Err("the path of the socket is missing");
        }
        let location = Location::Unix(PathBuf::from(path));
        Ok(Self {
            location,
            tls,
            name: "localhost".to_owned(),
            host: "localhost".to_owned(),
            resource: with_slash(resource),
        })
    }

    /// The endpoints to try, in order.
    ///
    /// # Errors
    /// The name cannot be resolved.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, String> {
        match &self.location {
            Location::Unix(path) => Ok(vec![Endpoint::Unix(path.clone())]),
            Location::Tcp(name, port) => {
                let found = (name.as_str(), *port).to_socket_addrs();
                let found: Vec<SocketAddr> = found
                    .map_err(|why| format!("cannot resolve {name}: {why}"))?
                    .collect();
                if found.is_empty() {
                    return Err(format!("{name} has no address"));
                }
                Ok(found.into_iter().map(Endpoint::Tcp).collect())
            }
        }
    }
}

/// RFC 6455 §3: the resource name begins with "/" if the path component is empty.
fn with_slash(resource: &str) -> String {
    if resource.starts_with('/') {
        resource.to_owned()
    } else {
        format!("/{resource}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, location, host, resource) in [
            (
                "ws://a.example",
                Location::Tcp("a.example".into(), 80),
                "a.example",
                "/",
            ),
            (
                "ws://a.example:80/x",
                Location::Tcp("a.example".into(), 80),
                "a.example",
                "/x",
            ),
            (
                "WS://127.0.0.1:9001/echo?a=b:c",
                Location::Tcp("127.0.0.1".into(), 9001),
                "127.0.0.1:9001",
                "/echo?a=b:c",
            ),
            ("ws://a:1?q", Location::Tcp("a".into(), 1), "a:1", "/?q"),
            (
                "ws://[::1]:9001/",
                Location::Tcp("::1".into(), 9001),
                "[::1]:9001",
                "/",
            ),
            ("ws://[::1]", Location::Tcp("::1".into(), 80), "[::1]", "/"),
            (
                "wss://a.example",
                Location::Tcp("a.example".into(), 443),
                "a.example",
                "/",
            ),
            (
                "wss://a.example:80/",
                Location::Tcp("a.example".into(), 80),
                "a.example:80",
                "/",
            ),
            (
                "wss+unix:/run/h.sock:/x",
                Location::Unix("/run/h.sock".into()),
                "localhost",
                "/x",
            ),
            (
                "ws+unix:/run/h.sock",
                Location::Unix("/run/h.sock".into()),
                "localhost",
                "/",
            ),
            (
                "ws+unix:///run/h.sock:/echo?x",
                Location::Unix("/run/h.sock".into()),
                "localhost",
                "/echo?x",
            ),
        ] {
            let name = match &location {
                Location::Tcp(name, _) => name.clone(),
                Location::Unix(_) => "localhost".to_owned(),
            };
            let expected = Target {
                location,
                tls: url.starts_with("wss"),
                name,
                host: host.into(),
                resource: resource.into(),
            };
            assert_eq!(Target::parse(url), Ok(expected), "{url}");
        }
    }

    #[test]
    fn bad_urls() {
        for (url, why) in [
            ("", "expected"),
            ("a.example", "expected"),
            ("http://a.example", "expected"),
            ("ws:a.example", "expected"),
            ("wss:a.example", "expected"),
            ("wss://a:/", "port is not a number"),
            ("ws://", "host is missing"),
            ("ws://:80/", "host is missing"),
            ("ws://a:b/", "port is not a number"),
            ("ws://a:65536/", "port is not a number"),
            ("ws://::1:80/", "brackets"),
            ("ws://me@a/", "user information"),
            ("ws://a/#x", "fragment"),
            ("ws://a/\r\nX: y", "visible ASCII"),
            ("ws+unix:", "path of the socket"),
        ] {
            let said = Target::parse(url).expect_err(url);
            assert!(said.contains(why) && !said.contains('\n'), "{url}: {said}");
        }
    }

    #[test]
    fn addresses_need_no_name_service() {
        let target = Target::parse("ws://[::1]:9001/").expect("right");
        assert_eq!(
            target.endpoints(),
            Ok(vec![Endpoint::Tcp(
                "[::1]:9001".parse().expect("an address")
            )])
        );
    }
}
