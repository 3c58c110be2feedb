//! What to listen on, and the listeners of all lcores for it.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;

use super::listener::BoundListener;
use super::options::SocketOptions;
use crate::{Endpoint, ParseEndpointError};

/// What a server listens on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Listen {
    /// One endpoint. `0.0.0.0:PORT` takes IPv4 only and `[::]:PORT` IPv6 only, on every system.
    At(Endpoint),
    /// This port of every address of the machine, IPv4 and IPv6: one socket for both, or IPv4 alone where the system has no IPv6.
    /// The peer of an IPv4 connection is an IPv4 address.
    Any(u16),
    /// This port of every address that the name has. An address that the machine does not have is skipped if another one can be
    /// listened on.
    Name(String, u16),
    /// A socket that listens already, such as one of a service manager.
    Inherited(Arc<BoundListener>),
}

impl From<Endpoint> for Listen {
    fn from(endpoint: Endpoint) -> Self {
        Self::At(endpoint)
    }
}

impl From<SocketAddr> for Listen {
    fn from(addr: SocketAddr) -> Self {
        Self::At(Endpoint::Tcp(addr))
    }
}

impl From<BoundListener> for Listen {
    fn from(listener: BoundListener) -> Self {
        Self::Inherited(Arc::new(listener))
    }
}

/// Two inherited sockets are equal if they are the same one.
impl PartialEq for Listen {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::At(a), Self::At(b)) => a == b,
            (Self::Any(a), Self::Any(b)) => a == b,
            (Self::Name(a, p), Self::Name(b, q)) => (a, p) == (b, q),
            (Self::Inherited(a), Self::Inherited(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl Eq for Listen {}

/// The form that [`Listen::from_str`] parses; an inherited socket shows its endpoint.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(endpoint) => endpoint.fmt(f),
            Self::Any(port) => write!(f, ":{port}"),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
            Self::Inherited(listener) => match listener.local() {
                Ok(endpoint) => endpoint.fmt(f),
                Err(_) => f.write_str("an inherited socket"),
            },
        }
    }
}

/// Parses `:PORT` and `*:PORT` (every address), `ADDR:PORT`, `[IPV6]:PORT`, `NAME:PORT` and `unix:PATH`. A name is resolved when
/// the server binds.
impl FromStr for Listen {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let split = match text.strip_prefix("unix:") {
            None => text.rsplit_once(':'),
            Some(_) => None,
        };
        if let Some((host, port)) = split
            && let Some(port) = decimal(port)
        {
            if host.is_empty() || host == "*" {
                return Ok(Self::Any(port));
            }
            if is_name(host) {
                return Ok(Self::Name(host.to_owned(), port));
            }
        }
        text.parse().map(Self::At)
    }
}

/// A port without a sign.
fn decimal(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Whether a text is a host name. Its last label must not be a number: a text such as `300.1.1.1` is a wrong address.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let labels = text.strip_suffix('.').unwrap_or(text);
    let last = labels.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && labels.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// The listeners for one [`Listen`].
#[derive(Debug)]
pub struct Listeners {
    /// Those of each lcore.
    pub lcores: Vec<Vec<BoundListener>>,
    /// The endpoints, with the port that the system chose if 0 was asked for. A socket for both families has two.
    pub endpoints: Vec<Endpoint>,
    /// Addresses of a name that could not be listened on, while others could.
    pub skipped: Vec<(SocketAddr, io::Error)>,
}

impl Listen {
    /// Binds and listens, for each of `lcores`. The lcores share the port where the system distributes its connections among
    /// several sockets; inherited sockets, Unix sockets and other systems have one socket with a handle for each lcore.
    ///
    /// # Errors
    /// The error of the system, or of the resolution of a name. `AddrInUse` also if another program shares the port: joining it
    /// would take a part of its connections.
    pub fn bind(&self, lcores: usize, options: &SocketOptions) -> io::Result<Listeners> {
        let mut all = Listeners {
            lcores: (0..lcores).map(|_| Vec::new()).collect(),
            endpoints: Vec::new(),
            skipped: Vec::new(),
        };
        match self {
            Self::At(endpoint) => all.add(BoundListener::bind_many(endpoint, lcores, options)?)?,
            Self::Any(port) => all.add_any(*port, lcores, options)?,
            Self::Name(name, port) => all.add_name((name, *port), lcores, options)?,
            Self::Inherited(listener) => all.add(listener.try_clone()?.cloned(lcores)?)?,
        }
        Ok(all)
    }
}

impl Listeners {
    /// Adds one listener for each lcore, all on the same address.
    fn add(&mut self, listeners: Vec<BoundListener>) -> io::Result<()> {
        let first = listeners
            .first()
            .map(BoundListener::endpoints)
            .transpose()?;
        self.endpoints.extend(first.into_iter().flatten());
        for (lcore, listener) in self.lcores.iter_mut().zip(listeners) {
            lcore.push(listener);
        }
        Ok(())
    }

    fn add_any(&mut self, port: u16, lcores: usize, options: &SocketOptions) -> io::Result<()> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        match BoundListener::bind_dual(both, lcores, options) {
            Err(why) if has_no_ipv6(&why) => {
                let v4 = Endpoint::Tcp((Ipv4Addr::UNSPECIFIED, port).into());
                self.add(BoundListener::bind_many(&v4, lcores, options)?)
            }
            bound => self.add(bound?),
        }
    }

    fn add_name(
        &mut self,
        (name, port): (&str, u16),
        lcores: usize,
        options: &SocketOptions,
    ) -> io::Result<()> {
        let found: BTreeSet<SocketAddr> = (name, port).to_socket_addrs()?.collect();
        // Every address has the port that the system chooses for the first.
        let mut port = port;
        for mut addr in found {
            addr.set_port(port);
            match BoundListener::bind_many(&Endpoint::Tcp(addr), lcores, options) {
                Ok(bound) => {
                    self.add(bound)?;
                    if let Some(Endpoint::Tcp(bound)) = self.endpoints.last() {
                        port = bound.port();
                    }
                }
                Err(why) if has_no_ipv6(&why) => self.skipped.push((addr, why)),
                Err(why) => return Err(why),
            }
        }
        if !self.endpoints.is_empty() {
            return Ok(());
        }
        Err(match self.skipped.pop() {
            Some((_, why)) => why,
            None => io::Error::new(ErrorKind::NotFound, "the name has no address"),
        })
    }
}

/// Whether an address cannot be bound because the system does not have it, or not its family.
fn has_no_ipv6(why: &io::Error) -> bool {
    #[cfg(unix)]
    let unsupported = why.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    #[cfg(not(unix))]
    let unsupported = why.kind() == ErrorKind::Unsupported;
    unsupported || why.kind() == ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_listener() {
        for (text, expected) in [
            (":80", Listen::Any(80)),
            ("*:80", Listen::Any(80)),
            (":0", Listen::Any(0)),
            ("localhost:80", Listen::Name("localhost".into(), 80)),
            ("a-b.example.:80", Listen::Name("a-b.example.".into(), 80)),
            (
                "127.0.0.1:80",
                Listen::from(SocketAddr::from(([127, 0, 0, 1], 80))),
            ),
            (
                "[::]:80",
                Listen::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 80))),
            ),
            (
                "unix:/run/h:80",
                Listen::At(Endpoint::Unix("/run/h:80".into())),
            ),
        ] {
            assert_eq!(text.parse::<Listen>().as_ref(), Ok(&expected), "{text}");
        }
        for text in [
            "",
            ":",
            "*",
            "80",
            "::",
            ":::",
            ":+80",
            ":99999",
            "::1:80",
            "300.1.1.1:80",
            "1.2.3:80",
            "a..b:80",
            "a b:80",
            "name",
            "unix:",
            ".:80",
            "[::1]",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_listener_is_shown_as_it_is_written() {
        for text in [
            ":80",
            "localhost:80",
            "127.0.0.1:80",
            "[::1]:80",
            "unix:/run/h.sock",
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }
}
