//! The kinds of values that flags and the configuration file share. Each is parsed from text by one `FromStr`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hioload_ws::lcore::topology::parse_cpu_list;
use hioload_ws::tcp::Cidr;
use hioload_ws::{Endpoint, Lcores};
use tracing::level_filters::LevelFilter;

/// A number of bytes: `65536`, `64KiB`, `1MB`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Size(pub usize);

const SIZE_UNITS: [(&str, usize); 8] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a size such as 65536, 64KiB or 16MiB";
        let (number, unit) = split_unit(text);
        let number: usize = number.parse().map_err(|_| EXPECTED)?;
        let unit = unit.to_ascii_lowercase();
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(EXPECTED)?;
        number
            .checked_mul(*factor)
            .map(Self)
            .ok_or("the size is too large")
    }
}

/// A time: `500ms`, `2s`, `5m`, `1h`, or `0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span(pub Duration);

/// The longest time that can be set. It keeps every deadline far from overflow.
const LONGEST: Duration = Duration::from_secs(3600 * 24 * 366);

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a time such as 500ms, 2s, 5m, 1h or 0";
        let (number, unit) = split_unit(text);
        let number: u64 = number.parse().map_err(|_| EXPECTED)?;
        let span = match unit {
            "" if number == 0 => Some(Duration::ZERO),
            "" => return Err("a time needs a unit: ms, s, m or h"),
            "us" => Some(Duration::from_micros(number)),
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            _ => return Err(EXPECTED),
        };
        span.filter(|span| *span <= LONGEST)
            .map(Self)
            .ok_or("the longest time is 366 days (8784h)")
    }
}

/// `12ms` is `("12", "ms")`.
fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number, unit.trim_start())
}

/// A value within bounds, so that what is to be set up at the start can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Within<T, const LEAST: u64, const MOST: u64>(pub(crate) T);

/// A value for which zero would make no sense.
pub(crate) type AtLeastOne<T> = Within<T, 1, { u64::MAX }>;
/// The same with an upper bound.
pub(crate) type UpTo<T, const MOST: u64> = Within<T, 1, MOST>;

/// A value that can be compared with a bound.
pub(crate) trait Measure {
    /// Its amount, in the unit it is counted in.
    fn measure(&self) -> u64;
}

impl Measure for Size {
    fn measure(&self) -> u64 {
        self.0 as u64
    }
}
impl Measure for Span {
    fn measure(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}
impl Measure for usize {
    fn measure(&self) -> u64 {
        *self as u64
    }
}
impl Measure for u16 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}
impl Measure for u32 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}
impl Measure for i32 {
    fn measure(&self) -> u64 {
        u64::try_from(*self).unwrap_or(0)
    }
}
impl Measure for u8 {
    fn measure(&self) -> u64 {
        u64::from(*self)
    }
}

impl<T, const LEAST: u64, const MOST: u64> FromStr for Within<T, LEAST, MOST>
where
    T: FromStr<Err: fmt::Display> + Measure,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value: T = text.parse().map_err(|why: T::Err| why.to_string())?;
        match value.measure() {
            n if n < LEAST => Err(format!("must be at least {LEAST}")),
            n if n > MOST => Err(format!("must be at most {MOST}")),
            _ => Ok(Self(value)),
        }
    }
}

/// Which CPUs the lcores run on: `all`, a count, a list or range of CPUs, or `cpu:N` for a single one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum LcoreSet {
    /// One lcore for each CPU that this process may use.
    All,
    /// As said.
    Some(Lcores),
}

const MAX_LCORES: usize = hioload_ws::engine::MAX_LCORES;
const _: () = assert!(MAX_LCORES == 256, "as the error below says");

impl FromStr for LcoreSet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a count (2), CPUs (0,1 or 0-3,8), one CPU (cpu:3) or all";
        if text == "all" {
            return Ok(Self::All);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(count @ 1..=MAX_LCORES) => Ok(Self::Some(Lcores::Count(count))),
                _ => Err("a count is from 1 to 256"),
            };
        }
        let list = text.strip_prefix("cpu:").unwrap_or(text);
        match parse_cpu_list(list) {
            Ok(cpus) if !cpus.is_empty() => Ok(Self::Some(Lcores::Cpus(cpus))),
            _ => Err(EXPECTED),
        }
    }
}

/// Where to listen: `ADDR:PORT`, `[IPV6]:PORT`, `localhost:PORT` or `unix:/path`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Listen(pub Endpoint);

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected ADDR:PORT, [IPV6]:PORT or unix:/path";
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(EXPECTED),
                path => Ok(Self(Endpoint::Unix(PathBuf::from(path)))),
            };
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| EXPECTED)?;
            return Ok(Self(Endpoint::Tcp(SocketAddr::from((
                Ipv4Addr::LOCALHOST,
                port,
            )))));
        }
        text.parse()
            .map(|addr| Self(Endpoint::Tcp(addr)))
            .map_err(|_| EXPECTED)
    }
}

/// An `Origin` to allow, or any.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AllowOrigin {
    /// `*`
    Any,
    /// Exactly this one, in lower case.
    Only(String),
}

impl FromStr for AllowOrigin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected * or an origin such as https://example.org (no path)";
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, host) = text.split_once("://").ok_or(EXPECTED)?;
        if scheme.is_empty()
            || host.is_empty()
            || host.contains('/')
            || !text.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(EXPECTED);
        }
        Ok(Self::Only(text.to_ascii_lowercase()))
    }
}

/// A value that is one of a few words.
macro_rules! words {
    (
        $(#[$doc:meta])* $name:ident {
            $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+
        }
        expected $expected:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($expected),
                }
            }
        }
    };
}

words! {
    /// What moves the bytes.
    TransportKind {
        /// Sockets of the operating system.
        Sockets = "sockets",
        /// TCP of our own, over frames from the queues of a network interface.
        AfXdp = "af-xdp",
        /// The same over a port that DPDK drives.
        Dpdk = "dpdk",
    } expected "expected sockets, af-xdp or dpdk"
}

words! {
    /// Something that is done where it can be.
    AutoOff {
        /// It is.
        Auto = "auto",
        /// It is not.
        Off = "off",
    } expected "expected auto or off"
}

words! {
    /// Where the XDP program runs.
    XdpMode {
        /// In the driver if it can, else in the stack.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// In the stack: any driver, slower.
        Skb = "skb",
    } expected "expected auto, native or skb"
}

words! {
    /// Whether the NIC writes packets into our memory, or the kernel copies them.
    ZeroCopy {
        /// The NIC does if its driver can.
        Auto = "auto",
        /// It must.
        On = "on",
        /// The kernel copies.
        Off = "off",
    } expected "expected auto, on or off"
}

words! {
    /// Whether checksums of received packets are verified.
    RxChecksum {
        /// Not on interfaces that only carry packets within this machine.
        Auto = "auto",
        /// They are.
        Verify = "verify",
        /// They are taken to be good.
        Trust = "trust",
    } expected "expected auto, verify or trust"
}

/// A network interface, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Interface(pub Option<String>);

impl FromStr for Interface {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // IFNAMSIZ, and what the kernel's dev_valid_name refuses.
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

/// A port of DPDK: its number, or its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum PortName {
    /// As EAL counts them.
    Number(u16),
    /// A PCI address, the name of a virtual device.
    Name(String),
}

impl FromStr for PortName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        // RTE_ETH_NAME_MAX_LEN, with the byte that ends it.
        let fits = (1..64).contains(&text.len());
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        let named = text.bytes().any(|byte| !byte.is_ascii_digit());
        if fits && plain && named {
            return Ok(Self::Name(text.to_owned()));
        }
        Err("expected a port of DPDK: a number, a PCI address, or a virtual device's name")
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
            // What any IPv4 host takes, RFC 791; what fits an mbuf.
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
                    .map_err(|_| "no such queue")
            }
            _ => Err("expected queues (0 or 0,1 or 0-3) or all"),
        }
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
            .map_err(|why: hioload_ws::tcp::ParseCidrError| why.to_string())
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

/// A station's address, or `device` for the interface's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mac(pub Option<[u8; 6]>);

impl FromStr for Mac {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a station's address such as 02:00:00:00:00:01, or device";
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
        // The lowest bit of the first byte marks a group.
        let station = mac[0] & 1 == 0 && mac != [0; 6] && !text.contains('+');
        match parts.next() {
            None if station => Ok(Self(Some(mac))),
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

/// How long one call may poll an empty queue, or `off`.
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

/// A peer to look for: an address, and a port if that matters.
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

/// The path of the control socket: `auto`, `none`, or a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    /// Where `hioload flows` looks for it.
    Auto,
    /// There is none.
    None,
    /// There.
    At(PathBuf),
}

impl FromStr for Control {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected a path, auto or none"),
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            path => Ok(Self::At(PathBuf::from(path))),
        }
    }
}

words! {
    /// Whether permessage-deflate is negotiated, and whose compressors are used.
    Deflate {
        /// Not negotiated.
        Off = "off",
        /// Compressors of the lcore; no context is kept between messages.
        Shared = "shared",
        /// Each connection has its own.
        Own = "own",
    } expected "expected off, shared or own"
}

words! {
    /// How log records look.
    LogFormat {
        /// Lines for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    } expected "expected text or json"
}

/// A log level, or a filter such as `info,hioload_engine=debug`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogFilter(pub String);

impl FromStr for LogFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected off, error, warn, info, debug, trace or a filter such as \
             warn,hioload_engine=debug";
        // A filter takes any word for the name of a module. A word alone is meant as a level, though.
        let words = text.split(',').filter(|part| !part.contains(['=', '[']));
        for word in words {
            LevelFilter::from_str(word.trim()).map_err(|_| EXPECTED)?;
        }
        if text.split(',').any(|part| part.trim().is_empty()) {
            return Err(EXPECTED);
        }
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("65536", 65536),
            ("64KiB", 65536),
            ("64kib", 65536),
            ("16 MiB", 16 << 20),
            ("1kB", 1000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "KiB",
            "-1",
            "1.5MiB",
            "1 fish",
            "99999999999GiB",
            "1TiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn spans() {
        let ms = Duration::from_millis;
        for (text, span) in [
            ("0", ms(0)),
            ("0s", ms(0)),
            ("500ms", ms(500)),
            ("2s", ms(2000)),
            ("5m", ms(300_000)),
            ("8784h", LONGEST),
        ] {
            assert_eq!(text.parse(), Ok(Span(span)), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "1.5s",
            "-1s",
            "1d",
            "8785h",
            "18446744073709551615h",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert!("0".parse::<AtLeastOne<Span>>().is_err());
        assert_eq!("1ms".parse(), Ok(Within::<_, 1, { u64::MAX }>(Span(ms(1)))));
        assert!("0".parse::<AtLeastOne<u32>>().is_err());
    }

    #[test]
    fn ranges() {
        for (text, good) in [
            ("8", true),
            ("15", true),
            ("7", false),
            ("16", false),
            ("", false),
            ("300", false),
        ] {
            assert_eq!(text.parse::<Within<u8, 8, 15>>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn lcore_sets() {
        let some = |lcores| Ok(LcoreSet::Some(lcores));
        assert_eq!("all".parse(), Ok(LcoreSet::All));
        assert_eq!("2".parse(), some(Lcores::Count(2)));
        assert_eq!("cpu:3".parse(), some(Lcores::Cpus(vec![3])));
        assert_eq!("0,1".parse(), some(Lcores::Cpus(vec![0, 1])));
        assert_eq!("0-3,8".parse(), some(Lcores::Cpus(vec![0, 1, 2, 3, 8])));
        for text in ["", "0", "257", "x", "cpu:", "3-1", "-1", "99999999"] {
            assert!(text.parse::<LcoreSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn listeners() {
        for (text, shown) in [
            ("127.0.0.1:9001", "127.0.0.1:9001"),
            ("localhost:80", "127.0.0.1:80"),
            ("[::1]:9001", "[::1]:9001"),
            ("unix:/run/x.sock", "unix:/run/x.sock"),
        ] {
            assert_eq!(
                text.parse::<Listen>().map(|listen| listen.0.to_string()),
                Ok(shown.to_owned())
            );
        }
        for text in [
            "",
            "9001",
            "127.0.0.1",
            "::1:9001",
            "example.org:80",
            "unix:",
            "1.2.3.4:99999",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }

    #[test]
    fn origins() {
        assert_eq!("*".parse(), Ok(AllowOrigin::Any));
        assert_eq!(
            "https://Example.ORG".parse(),
            Ok(AllowOrigin::Only("https://example.org".to_owned()))
        );
        for text in [
            "",
            "example.org",
            "https://example.org/",
            "https://a b",
            "://x",
        ] {
            assert!(text.parse::<AllowOrigin>().is_err(), "{text}");
        }
    }

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
    fn peers_to_look_for() {
        for text in ["10.0.0.1", "10.0.0.1:80", "fd77::1", "[fd77::1]:80"] {
            let filter: PeerFilter = text.parse().expect(text);
            assert_eq!(filter.to_string(), text);
            assert_eq!(filter.1.is_some(), text.ends_with("80"));
        }
        assert!("10.0.0.1/24".parse::<PeerFilter>().is_err());
    }

    #[test]
    fn polling_rings_and_control_sockets() {
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
        assert_eq!("auto".parse(), Ok(Control::Auto));
        assert_eq!("/x".parse(), Ok(Control::At("/x".into())));
        assert!("".parse::<Control>().is_err());
    }

    #[test]
    fn a_misspelt_log_level_is_an_error() {
        for text in [
            "info",
            "WARN",
            "off",
            "warn,hioload_engine=debug",
            "hioload_engine=trace",
        ] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
        for text in ["inof", "", "warn,debgu", "hioload=loud"] {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
    }
}
