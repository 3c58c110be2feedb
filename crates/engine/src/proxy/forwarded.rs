//! `X-Forwarded-For`, and `Forwarded` (RFC 7239): the addresses that a request came from, as each proxy on the way added them.
//!
//! Only what trusted proxies have added is believed. Each adds at the right the peer that it sees, so the client is the rightmost
//! address that is no proxy's; what stands left of it is the client's own text. If all addresses are of proxies, the client is the
//! leftmost. The list is read once, from the left, without an allocation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hioload_ws_proto::handshake::grammar::{is_token, is_token_octet, trim_ows};

use super::{Malformed, Said};

/// One element of the list.
type Element = Result<Said, Malformed>;

/// The client in the values of the fields `X-Forwarded-For`, in their order. `is_proxy` tells the addresses of trusted proxies.
///
/// # Errors
/// The element that is the client's, or one that a proxy has added after it, is not an address.
pub fn x_forwarded_for<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Result<Said, Malformed> {
    let elements = values.flat_map(|value| value.split(|b| *b == b','));
    let elements = elements.map(trim_ows).filter(|element| !element.is_empty());
    choose(elements.map(read_address), is_proxy)
}

/// The client in the values of the fields `Forwarded`, in their order; see [`x_forwarded_for`].
///
/// An element without `for`, or with an obfuscated identifier (RFC 7239 §6.3) or `unknown`, says nothing about its peer.
///
/// # Errors
/// As [`x_forwarded_for`]; also for a value that does not follow the grammar.
pub fn forwarded<'a>(
    values: impl Iterator<Item = &'a [u8]>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Result<Said, Malformed> {
    choose(values.flat_map(|rest| Elements { rest }), is_proxy)
}

fn choose(
    elements: impl Iterator<Item = Element>,
    is_proxy: impl Fn(IpAddr) -> bool,
) -> Result<Said, Malformed> {
    let mut leftmost = None;
    let mut client = None;
    for element in elements {
        leftmost.get_or_insert(element);
        match element {
            Ok(Said::Client(addr)) if is_proxy(addr.ip()) => {}
            other => client = Some(other),
        }
    }
    client.or(leftmost).unwrap_or(Ok(Said::Nothing))
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80` or `unknown`.
fn read_address(text: &[u8]) -> Element {
    if text.eq_ignore_ascii_case(b"unknown") {
        return Ok(Said::Nothing);
    }
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => Said::client(ip.into(), 0),
        Err(_) => read_node(text),
    }
}

/// RFC 7239 §6: an IPv4 address, or an IPv6 address in brackets, each perhaps with a port.
fn read_node(text: &str) -> Element {
    let (ip, port): (IpAddr, &str) = if let Some(rest) = text.strip_prefix('[') {
        let (ip, port) = rest.split_once(']').ok_or(Malformed)?;
        (ip.parse::<Ipv6Addr>().map_err(|_| Malformed)?.into(), port)
    } else {
        let (ip, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (ip.parse::<Ipv4Addr>().map_err(|_| Malformed)?.into(), port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => 0,
        None => return Err(Malformed),
        Some(port) if is_obfuscated(port) => 0,
        Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
            port.parse().map_err(|_| Malformed)?
        }
        Some(_) => return Err(Malformed),
    };
    Said::client(ip, port)
}

/// RFC 7239 §6.3: `"_" 1*( ALPHA / DIGIT / "." / "_" / "-")`
fn is_obfuscated(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('_')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The elements of one `Forwarded` value (RFC 7239 §4). After a malformed one there is no other: where the next begins is not known.
struct Elements<'a> {
    rest: &'a [u8],
}

impl Iterator for Elements<'_> {
    type Item = Element;

    fn next(&mut self) -> Option<Element> {
        loop {
            self.skip_ows();
            match self.rest {
                [] => return None,
                [b',', rest @ ..] => self.rest = rest,
                _ => break,
            }
        }
        let element = self.element();
        if element.is_none() {
            self.rest = &[];
        }
        Some(element.unwrap_or(Err(Malformed)))
    }
}

impl<'a> Elements<'a> {
    fn skip_ows(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    /// `[ pair ] *( ";" [ pair ] )`, up to a comma or the end; `None` if it is malformed.
    fn element(&mut self) -> Option<Element> {
        let mut said = None;
        loop {
            self.skip_ows();
            match self.rest {
                [] => break,
                [b',', rest @ ..] => {
                    self.rest = rest;
                    break;
                }
                [b';', rest @ ..] => self.rest = rest,
                _ => {
                    let (name, value) = self.pair()?;
                    // "Each parameter MUST NOT occur more than once per field-value", that is, in an element.
                    if name.eq_ignore_ascii_case(b"for") && said.replace(node(value)).is_some() {
                        return None;
                    }
                    self.skip_ows();
                    if !matches!(self.rest, [] | [b',' | b';', ..]) {
                        return None;
                    }
                }
            }
        }
        Some(said.unwrap_or(Ok(Said::Nothing)))
    }

    /// `token "=" ( token / quoted-string )`: the name, and the value without quotes, with escapes.
    fn pair(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let name = self.token()?;
        self.rest = self.rest.strip_prefix(b"=")?;
        let Some(quoted) = self.rest.strip_prefix(b"\"") else {
            return Some((name, self.token()?));
        };
        let mut at = 0;
        loop {
            match *quoted.get(at)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.rest = &quoted[at + 1..];
        Some((name, &quoted[..at]))
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|b| !is_token_octet(*b));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        is_token(token).then_some(token)
    }
}

/// The value of `for`. An address needs no escapes, so one with them is malformed.
fn node(value: &[u8]) -> Element {
    let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
    let name = text.split(':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case("unknown") || is_obfuscated(name) {
        return Ok(Said::Nothing);
    }
    read_node(text)
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
