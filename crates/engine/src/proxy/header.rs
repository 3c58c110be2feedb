//! The PROXY protocol, versions 1 and 2: a header before the first byte of the client ("The PROXY protocol", W. Tarreau, HAProxy).
//!
//! The parser is strict and refuses at the first byte that cannot be right, so that a peer that sends something else is not waited
//! for. Of several possible splits of the same bytes each gives the same result.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Malformed, Said};

/// The most bytes of a header of version 1, with its CRLF (section 2.1 of the specification).
pub const LONGEST_V1: usize = 107;

/// The bytes of version 2 before the addresses.
pub const FIXED_V2: usize = 16;

const START_V1: &[u8] = b"PROXY ";
const START_V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header at the start of `buf`. Returns what it says and its length, after which the client's bytes follow, or `None` if it
/// is incomplete. A header of version 2 may have `longest` bytes.
///
/// # Errors
/// The bytes are no header, or it is longer than allowed.
pub fn parse(buf: &[u8], longest: usize) -> Result<Option<(Said, usize)>, Malformed> {
    let starts = |with: &[u8]| {
        let known = buf.len().min(with.len());
        buf[..known] == with[..known]
    };
    if starts(START_V1) {
        parse_v1(buf)
    } else if starts(START_V2) {
        parse_v2(buf, longest)
    } else {
        Err(Malformed)
    }
}

fn parse_v1(buf: &[u8]) -> Result<Option<(Said, usize)>, Malformed> {
    let line = &buf[..buf.len().min(LONGEST_V1)];
    let Some(end) = line.iter().position(|b| !(b' '..=b'~').contains(b)) else {
        return incomplete_v1(buf);
    };
    match line[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] => return incomplete_v1(buf),
        _ => return Err(Malformed),
    }
    let text = std::str::from_utf8(&line[..end]).map_err(|_| Malformed)?;
    let said = read_line(text).ok_or(Malformed)??;
    Ok(Some((said, end + 2)))
}

fn incomplete_v1(buf: &[u8]) -> Result<Option<(Said, usize)>, Malformed> {
    if buf.len() < LONGEST_V1 {
        Ok(None)
    } else {
        Err(Malformed)
    }
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`
fn read_line(text: &str) -> Option<Result<Said, Malformed>> {
    let mut words = text.split(' ');
    words.next().filter(|word| *word == "PROXY")?;
    let family = words.next()?;
    // Section 2.1: "the receiver must ignore anything presented before the CRLF is found".
    if family == "UNKNOWN" {
        return Some(Ok(Said::Nothing));
    }
    let mut ip = || {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().map(IpAddr::V4).ok(),
            "TCP6" => word.parse().map(IpAddr::V6).ok(),
            _ => None,
        }
    };
    let (source, _destination) = (ip()?, ip()?);
    let (port, _) = (decimal(words.next()?)?, decimal(words.next()?)?);
    words.next().is_none().then(|| Said::client(source, port))
}

/// A port in digits alone, without leading zeroes.
fn decimal(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = word.len() > 1 && word.starts_with('0');
    (digits && !leading_zero).then(|| word.parse().ok())?
}

fn parse_v2(buf: &[u8], longest: usize) -> Result<Option<(Said, usize)>, Malformed> {
    // The two bytes after the signature are checked as they arrive.
    let command = match buf.get(12) {
        None => return Ok(None),
        Some(0x20) => Command::Local,
        Some(0x21) => Command::Proxy,
        Some(_) => return Err(Malformed),
    };
    let Some(&kind) = buf.get(13) else {
        return Ok(None);
    };
    // Section 2.2: other families and protocols "must be rejected as invalid by receivers". That of a local connection is ignored.
    if command == Command::Proxy && (kind >> 4 > 3 || kind & 0x0f > 2) {
        return Err(Malformed);
    }
    let Some(&[high, low]) = buf.get(14..FIXED_V2) else {
        return Ok(None);
    };
    let end = FIXED_V2 + usize::from(u16::from_be_bytes([high, low]));
    let least = if command == Command::Proxy {
        FIXED_V2 + addresses(kind)
    } else {
        FIXED_V2
    };
    if end > longest || end < least {
        return Err(Malformed);
    }
    // What follows the addresses are TLVs, which are skipped.
    let Some(body) = buf.get(FIXED_V2..end) else {
        return Ok(None);
    };
    let said = match command {
        Command::Local => Said::Nothing,
        Command::Proxy => read_addresses(kind, body)?,
    };
    Ok(Some((said, end)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The connection is the proxy's own.
    Local,
    Proxy,
}

/// TCP over IPv4 and over IPv6.
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// Bytes of the addresses of a kind.
fn addresses(kind: u8) -> usize {
    match kind >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    }
}

/// The address of a client over TCP. Of a client over anything else nothing is known that limits could apply to.
fn read_addresses(kind: u8, body: &[u8]) -> Result<Said, Malformed> {
    match (kind, body) {
        (TCP4, &[a, b, c, d, _, _, _, _, high, low, ..]) => {
            let ip = Ipv4Addr::new(a, b, c, d);
            Said::client(ip.into(), u16::from_be_bytes([high, low]))
        }
        (TCP6, body) => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(Malformed)?;
            let port = rest.get(16..18).and_then(|port| port.try_into().ok());
            let port = u16::from_be_bytes(port.ok_or(Malformed)?);
            Said::client(Ipv6Addr::from(*source).into(), port)
        }
        _ => Ok(Said::Nothing),
    }
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
