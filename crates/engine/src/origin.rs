//! Which web pages may use the server: the checks of `Origin` (RFC 6455 §10.2) and `Host`.
//!
//! A browser lets any page open a WebSocket to any server, also to one on the user's own machine, and tells the server the page's
//! origin. The default is the same origin: the page came from this server. A page of an attacker whose name resolves to an address of
//! the server (DNS rebinding) has the same origin too; its name in `Host` gives it away. A client that is no browser sends no
//! `Origin`, and is not concerned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hioload_transport::Peer;
use hioload_ws_proto::handshake::server::Request;

/// The origins whose pages may use the server. By default it is the server's own: scheme `http` or `https`, and the host and port of the
/// request. On a connection with TLS the scheme must be `https`, because anybody on the path can write a page that comes over http. On
/// another one the scheme may be either, because TLS may end in front of the server.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Origins {
    any: bool,
    others: Vec<Box<str>>,
}

impl Origins {
    /// The server's own origin.
    pub fn same() -> Self {
        Self::default()
    }

    /// Every origin: any page that a user visits may use the server with that user's network access.
    pub fn any() -> Self {
        Self {
            any: true,
            others: Vec::new(),
        }
    }

    /// Adds an origin: scheme, host, and port unless it is the scheme's default; or `null`, which pages from files and sandboxed frames
    /// send. Origins are compared without regard to case.
    pub fn and(mut self, origin: impl Into<Box<str>>) -> Self {
        self.others.push(origin.into());
        self
    }

    /// Whether a page of `origin` may send a request to `host`, over TLS or not.
    fn allow(&self, origin: &str, host: &str, tls: bool) -> bool {
        let mut others = self.others.iter();
        self.any || is_same(origin, host, tls) || others.any(|other| is_equal(other, origin))
    }

    /// Whether it has an origin with this name.
    fn have(&self, name: &str) -> bool {
        let mut hosts = self.others.iter().filter_map(|origin| origin_host(origin));
        hosts.any(|(host, _)| host == Host::Name(name))
    }
}

/// The host names under which the server is served to browsers. An IP address as `Host` is always served, and so are `localhost` and the names
/// of allowed [`Origins`]: nobody else can make these names resolve to the server.
///
/// By default other names are served too, except to clients on a loopback address: a browser on the machine of the server, which a
/// page with a name of its own may be using.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Hosts {
    any: bool,
    names: Vec<Box<str>>,
}

impl Hosts {
    /// Every name, for every client.
    pub fn any() -> Self {
        Self {
            any: true,
            names: Vec::new(),
        }
    }

    /// Adds a name, without a port. If the list has a name, requests for names that are not in it are refused. Names are compared without regard to case.
    pub fn and(mut self, name: impl Into<Box<str>>) -> Self {
        self.names.push(name.into());
        self
    }

    fn serve(&self, host: &str, client: Peer, origins: &Origins) -> bool {
        // Only a request of HTTP/1.0 may have no host, and no browser sends one.
        if self.any || host.is_empty() {
            return true;
        }
        let name = match split_port(host, 0) {
            Some((Host::Name(name), _)) => name.strip_suffix('.').unwrap_or(name),
            Some((Host::Ip(_), _)) => return true,
            None => return false,
        };
        let top = name.rsplit('.').next().unwrap_or(name);
        let listed = self.names.iter().any(|own| own.eq_ignore_ascii_case(name));
        if top.eq_ignore_ascii_case("localhost") || listed || origins.have(name) {
            return true;
        }
        let local = matches!(client, Peer::Ip(addr) if addr.ip().to_canonical().is_loopback());
        self.names.is_empty() && !local
    }
}

/// Why a request of a page is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Foreign {
    Origin,
    Host,
}

impl Foreign {
    /// The text of the answer.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Origin => {
                "pages of this origin may not use the server; the setting allow_origin lets them\n"
            }
            Self::Host => {
                "the server is not served under this host name; the setting allow_host adds it\n"
            }
        }
    }
}

/// Whether `client` may send `request`, as far as web pages are concerned.
pub(crate) fn check(
    origins: &Origins,
    hosts: &Hosts,
    client: Peer,
    tls: bool,
    request: &Request<'_>,
) -> Result<(), Foreign> {
    if let Some(origin) = request.origin
        && !origins.allow(origin, request.host, tls)
    {
        return Err(Foreign::Origin);
    }
    // Browsers send `Origin` with every upgrade, but not with a GET of a page of the same origin.
    let may_be_a_page = request.origin.is_some() || request.upgrade.is_none();
    if may_be_a_page && !hosts.serve(request.host, client, origins) {
        return Err(Foreign::Host);
    }
    Ok(())
}

/// The host of an authority.
#[derive(Clone, Copy, Debug)]
enum Host<'a> {
    Ip(IpAddr),
    Name(&'a str),
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            _ => false,
        }
    }
}

/// The host and port of an authority, with `default` for a port that is missing.
fn split_port(authority: &str, default: u16) -> Option<(Host<'_>, u16)> {
    let (host, port) = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => {
            (&authority[..colon], &authority[colon + 1..])
        }
        _ => (authority, ""),
    };
    let port = match port {
        "" => default,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        _ => return None,
    };
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = match (inside, host.parse::<Ipv4Addr>()) {
        (Some(inside), _) => Host::Ip(inside.parse::<Ipv6Addr>().ok()?.into()),
        (None, Ok(ip)) => Host::Ip(ip.into()),
        (None, Err(_)) if host.is_empty() || host.contains(['[', ']', ':']) => return None,
        (None, Err(_)) => Host::Name(host),
    };
    Some((host, port))
}

/// The host and port of an origin with the scheme `http` or `https`.
fn origin_host(origin: &str) -> Option<(Host<'_>, u16)> {
    let (scheme, authority) = origin.split_once("://")?;
    split_port(authority, default_port(scheme)?)
}

fn default_port(scheme: &str) -> Option<u16> {
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    is("http").then_some(80).or(is("https").then_some(443))
}

/// Whether two origins are the same, with or without a default port.
fn is_equal(a: &str, b: &str) -> bool {
    let same_scheme = match (a.split_once("://"), b.split_once("://")) {
        (Some((a, _)), Some((b, _))) => a.eq_ignore_ascii_case(b),
        _ => false,
    };
    let (host, other) = (origin_host(a), origin_host(b));
    a.eq_ignore_ascii_case(b) || (same_scheme && host.is_some() && host == other)
}

/// Whether a page of `origin` came from `host`. A `Host` without a port means the default port of the scheme that the browser used, and
/// for a page of the same origin that is the origin's.
fn is_same(origin: &str, host: &str, tls: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let Some(default) = default_port(scheme) else {
        return false;
    };
    if tls && !scheme.eq_ignore_ascii_case("https") {
        return false;
    }
    let (page, server) = (split_port(authority, default), split_port(host, default));
    page.is_some() && page == server
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_server_has_the_same_origin() {
        for (origin, host) in [
            ("http://localhost:9001", "localhost:9001"),
            ("http://LOCALHOST:9001", "localhost:9001"),
            ("http://example.org", "example.org"),
            ("https://example.org", "Example.org"),
            ("https://example.org", "example.org:443"),
            ("https://example.org:443", "example.org"),
            ("http://example.org", "example.org:80"),
            ("http://example.org", "example.org:"),
            ("HTTP://example.org", "example.org"),
            ("https://example.org:8443", "example.org:8443"),
            ("http://127.0.0.1:9001", "127.0.0.1:9001"),
            ("http://[::1]:9001", "[::1]:9001"),
            ("http://[0:0::1]:9001", "[::1]:9001"),
            ("http://[::1]", "[::1]"),
        ] {
            assert!(
                Origins::same().allow(origin, host, false),
                "{origin} {host}"
            );
            let secure = origin.starts_with("https:");
            assert_eq!(
                Origins::same().allow(origin, host, true),
                secure,
                "{origin} {host}, over TLS"
            );
        }
    }

    #[test]
    fn a_page_that_came_without_tls_uses_a_server_with_tls_only_if_it_is_allowed() {
        let origin = "http://example.org";
        for host in ["example.org", "example.org:80", "example.org:443"] {
            assert!(!Origins::same().allow(origin, host, true), "{host}");
            assert!(Origins::same().and(origin).allow(origin, host, true));
            assert!(Origins::any().allow(origin, host, true));
        }
    }

    #[test]
    fn any_other_page_has_another_origin() {
        for (origin, host) in [
            ("http://evil.example", "localhost:9001"),
            ("http://localhost:5173", "localhost:9001"),
            ("http://localhost", "localhost:9001"),
            ("http://127.0.0.1:9001", "localhost:9001"),
            ("http://localhost:9001.evil.example", "localhost:9001"),
            ("http://evil.example/localhost:9001", "localhost:9001"),
            ("http://localhost:9001@evil.example", "localhost:9001"),
            ("http://evil.example#localhost:9001", "localhost:9001"),
            (
                "http://localhost:9001 http://evil.example",
                "localhost:9001",
            ),
            ("http://example.org", "example.org:443"),
            ("https://example.org", "example.org:80"),
            ("http://sub.example.org", "example.org"),
            ("http://example.org.", "example.org"),
            ("ftp://example.org", "example.org"),
            ("chrome-extension://example.org", "example.org"),
            ("example.org", "example.org"),
            ("//example.org", "example.org"),
            ("null", "null"),
            ("null", ""),
            ("", ""),
            ("http://", ""),
            ("http://:80", ":80"),
            ("http://[::1", "[::1"),
            ("http://::1", "::1"),
            ("http://[::2]:1", "[::1]:1"),
            ("http://a:99999", "a:99999"),
            ("http://a:+80", "a:80"),
            ("http://xn--80ak6aa92e.example", "apple.example"),
        ] {
            for tls in [false, true] {
                assert!(!Origins::same().allow(origin, host, tls), "{origin} {host}");
                assert!(Origins::any().allow(origin, host, tls));
            }
        }
        let origins = Origins::same()
            .and("https://App.example:443")
            .and("null")
            .and("file://");
        for (origin, allowed) in [
            ("https://app.example", true),
            ("HTTPS://app.example:443", true),
            ("null", true),
            ("file://", true),
            ("file://app.example", false),
            ("http://server:1", true),
            ("http://app.example", false),
            ("https://app.example:8443", false),
            ("https://app.example.evil.example", false),
        ] {
            assert_eq!(
                origins.allow(origin, "server:1", false),
                allowed,
                "{origin}"
            );
        }
    }

    fn serve(hosts: &Hosts, host: &str, client: &str) -> bool {
        let origins = Origins::same().and("https://app.example:8443");
        let client = match client {
            "unix" => Peer::Unix,
            client => Peer::Ip(client.parse().unwrap()),
        };
        hosts.serve(host, client, &origins)
    }

    #[test]
    fn a_name_of_somebody_else_is_not_served_to_a_browser_on_this_machine() {
        let local = [
            "127.0.0.1:5",
            "127.8.0.1:5",
            "[::1]:5",
            "[::ffff:127.0.0.1]:5",
        ];
        for client in local {
            for host in [
                "evil.example",
                "evil.example:9001",
                "evil.example.:9001",
                "localhost.evil.example:9001",
                "127.0.0.1.evil.example",
                "notlocalhost",
                "127.1",
                "0x7f000001",
                "a:99999",
                "[evil.example]",
            ] {
                assert!(!serve(&Hosts::default(), host, client), "{host} {client}");
                assert!(serve(&Hosts::any(), host, client));
            }
            for host in [
                "localhost",
                "LocalHost:9001",
                "localhost.:9001",
                "app.localhost:9001",
                "127.0.0.1:9001",
                "192.0.2.1",
                "[::1]:9001",
                "app.example",
                "APP.example:9001",
                // HTTP/1.0: no browser.
                "",
            ] {
                assert!(serve(&Hosts::default(), host, client), "{host} {client}");
            }
        }
        for client in ["192.0.2.1:5", "unix"] {
            assert!(serve(&Hosts::default(), "evil.example", client));
        }
    }

    #[test]
    fn once_names_are_listed_others_are_refused_to_all() {
        let hosts = Hosts::default().and("Example.org").and("other.example");
        for client in ["192.0.2.1:5", "127.0.0.1:5", "unix"] {
            for host in [
                "example.org",
                "EXAMPLE.org:1",
                "example.org.",
                "other.example",
                "10.0.0.1",
                "app.example",
            ] {
                assert!(serve(&hosts, host, client), "{host} {client}");
            }
            for host in ["evil.example", "www.example.org", "example.orgx"] {
                assert!(!serve(&hosts, host, client), "{host} {client}");
            }
        }
    }
}
