//! Values about the port of a network interface or of DPDK.

use std::str::FromStr;
use std::time::Duration;

use hioload_lcore::topology::parse_cpu_list;

use super::amounts::{Size, Span};
use super::process::MAX_LCORES;

/// A network interface, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interface(pub Option<String>);

impl FromStr for Interface {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // IFNAMSIZ, and the names that the kernel's dev_valid_name refuses.
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
        match text {
            "none" => Ok(Self(None)),
            _ if fits && plain => Ok(Self(Some(text.to_owned()))),
            _ => Err("expected the name of a network interface, such as eth1"),
        }
    }
}

/// Arguments of DPDK's EAL, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EalArguments(pub Option<String>);

impl FromStr for EalArguments {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self((text != "none").then(|| text.to_owned())))
    }
}

/// A DPDK port: its number, or its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PortName {
    /// The number, in EAL's order.
    Number(u16),
    /// A PCI address, or the name of a virtual device.
    Name(String),
}

impl FromStr for PortName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        // RTE_ETH_NAME_MAX_LEN, with the terminating zero byte.
        let fits = (1..64).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let named = text.bytes().any(|byte| !byte.is_ascii_digit());
        if fits && plain && named {
            return Ok(Self::Name(text.to_owned()));
        }
        Err("expected a DPDK port: a number, a PCI address, or the name of a virtual device")
    }
}

/// The largest IP packet, or `device`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mtu(pub Option<u16>);

impl FromStr for Mtu {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "device" => Ok(Self(None)),
            // From the size that every IPv4 host accepts (RFC 791) to the largest that fits an mbuf.
            Ok(mtu @ 576..=60_000) => Ok(Self(Some(mtu))),
            _ => Err("expected a number of bytes from 576 to 60000, or device"),
        }
    }
}

/// A number of frames, or `auto`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mbufs(pub Option<u32>);

impl FromStr for Mbufs {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            _ if text == "auto" => Ok(Self(None)),
            Ok(count @ 512..=4_194_304) => Ok(Self(Some(count))),
            _ => Err("expected a number of frames from 512 to 4194304, or auto"),
        }
    }
}

/// Queues of an interface: `all`, or a list or range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Queues(pub Option<Vec<u32>>);

impl FromStr for Queues {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" {
            return Ok(Self(None));
        }
        match parse_cpu_list(text) {
            Ok(list) if (1..=MAX_LCORES).contains(&list.len()) => {
                let queues = list
                    .into_iter()
                    .map(u32::try_from)
                    .collect::<Result<_, _>>();
                queues
                    .map(|queues| Self(Some(queues)))
                    .map_err(|_| "the number of a queue is too large")
            }
            _ => Err("expected queues (0 or 0,1 or 0-3) or all"),
        }
    }
}

/// The time that one call may poll an empty queue, or `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BusyPoll(pub Option<Duration>);

impl FromStr for BusyPoll {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(Span(span)) if !span.is_zero() && span <= Duration::from_millis(10) => {
                Ok(Self(Some(span)))
            }
            _ => Err("expected a time from 1us to 10ms, or off"),
        }
    }
}

/// A buffer whose size is a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingSize(pub usize);

impl FromStr for RingSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(Size(bytes)) if bytes.is_power_of_two() && (4 << 10..=1 << 20).contains(&bytes) => {
                Ok(Self(bytes))
            }
            _ => Err("expected a power of two from 4KiB to 1MiB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_and_queues() {
        assert_eq!("none".parse(), Ok(Interface(None)));
        assert_eq!("eth1.7".parse(), Ok(Interface(Some("eth1.7".into()))));
        for text in ["", "a b", "a/b", "eth0:1", "..", "0123456789abcdef"] {
            assert!(text.parse::<Interface>().is_err(), "{text}");
        }
        assert_eq!("all".parse(), Ok(Queues(None)));
        assert_eq!("0-2,5".parse(), Ok(Queues(Some(vec![0, 1, 2, 5]))));
        for text in ["", "x", "2-1", "0-999"] {
            assert!(text.parse::<Queues>().is_err(), "{text}");
        }
    }

    #[test]
    fn ports_of_dpdk() {
        assert_eq!("3".parse(), Ok(PortName::Number(3)));
        let name = "0000:01:00.0";
        assert_eq!(name.parse(), Ok(PortName::Name(name.into())));
        for text in ["", "70000", "a b", &"x".repeat(64)] {
            assert!(text.parse::<PortName>().is_err(), "{text}");
        }
        assert_eq!("none".parse(), Ok(EalArguments(None)));
        assert_eq!("-m 1".parse(), Ok(EalArguments(Some("-m 1".into()))));
        assert_eq!("device".parse(), Ok(Mtu(None)));
        assert_eq!("9000".parse(), Ok(Mtu(Some(9000))));
        assert_eq!("auto".parse(), Ok(Mbufs(None)));
        for text in ["", "0", "70000", "x"] {
            assert!(text.parse::<Mtu>().is_err(), "{text}");
        }
        for text in ["", "0", "x", "99999999"] {
            assert!(text.parse::<Mbufs>().is_err(), "{text}");
        }
    }

    #[test]
    fn polling_and_rings() {
        assert_eq!("off".parse(), Ok(BusyPoll(None)));
        assert_eq!(
            "50us".parse(),
            Ok(BusyPoll(Some(Duration::from_micros(50))))
        );
        for text in ["", "0", "1s", "50"] {
            assert!(text.parse::<BusyPoll>().is_err(), "{text}");
        }
        assert_eq!("64KiB".parse(), Ok(RingSize(65536)));
        for text in ["", "2KiB", "65000", "2MiB"] {
            assert!(text.parse::<RingSize>().is_err(), "{text}");
        }
    }
}
