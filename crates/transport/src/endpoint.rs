//! Endpoints from text and from addresses.

use std::error::Error;
use std::fmt;
use std::net::{AddrParseError, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::Endpoint;

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

/// Parses `ADDR:PORT`, `[IPV6]:PORT`, `localhost:PORT` (127.0.0.1) and `unix:PATH`. No name is resolved.
impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |cause| ParseEndpointError {
            text: text.to_owned(),
            cause,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(error(None)),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port: u16 = port.parse().map_err(|_| error(None))?;
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        text.parse()
            .map(Self::Tcp)
            .map_err(|cause| error(Some(cause)))
    }
}

/// A text is not an [`Endpoint`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseEndpointError {
    text: String,
    cause: Option<AddrParseError>,
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'{}' is not an endpoint: expected ADDR:PORT, [IPV6]:PORT or unix:PATH",
            self.text
        )
    }
}

impl Error for ParseEndpointError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_parses_from_what_it_displays() {
        for text in ["127.0.0.1:9001", "[::1]:80", "unix:/run/h.sock"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), text);
        }
        assert_eq!(
            "localhost:7".parse(),
            Ok(Endpoint::Tcp(([127, 0, 0, 1], 7).into()))
        );
    }

    #[test]
    fn an_error_names_the_text_and_holds_the_cause() {
        for text in ["", "unix:", "localhost:x", "example.org:80", "1.2.3.4"] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("'{text}' is not")));
        }
        let error = "1.2.3.4".parse::<Endpoint>().unwrap_err();
        assert!(error.source().is_some());
    }
}
