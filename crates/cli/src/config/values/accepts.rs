//! The texts that each type of value accepts, in words, for the reference documents and the help.

use hioload_ws::{HugePages, Idle, ProxyProtocol, RealIpHeader, SendPolicy};

use super::amounts::{Measure, Size, Span, Within};
use super::network::{Gateway, ListenOn, Mac, NetworkValue, OwnAddress, Vlan};
use super::pages::{AllowHost, AllowOrigin, TrustedProxy};
use super::port::{BusyPoll, EalArguments, Interface, Mbufs, Mtu, PortName, Queues, RingSize};
use super::process::{Control, LcoreSet, LogFilter, UnixGroup, UnixMode};

/// Describes the values of a type.
pub(crate) trait Accepts {
    /// A phrase such as `a size from 1 to 1GiB`.
    fn accepts() -> String;
}

/// Types whose values are all described by one phrase.
macro_rules! accepts {
    ($($ty:ty: $phrase:literal;)*) => {
        $(impl Accepts for $ty {
            fn accepts() -> String {
                $phrase.to_owned()
            }
        })*
    };
}

accepts! {
    bool: "true or false";
    u8: "a number";
    u16: "a number";
    u32: "a number";
    i32: "a number";
    usize: "a number";
    Size: "a size";
    Span: "a time";
    ListenOn: ":PORT, ADDR:PORT, [IPV6]:PORT, NAME:PORT, unix:PATH, systemd or systemd:NAME";
    AllowOrigin: "an origin such as https://example.org, null, same-origin, or `*`";
    AllowHost: "a host name without a port, auto, or `*`";
    TrustedProxy: "an address or a network, unix, or none";
    ProxyProtocol: "off, trusted or require";
    RealIpHeader: "none, x-forwarded-for or forwarded";
    LcoreSet: "all; a count (2); CPUs (0,1 or 0-3,8); or one CPU (cpu:3)";
    Idle: "busy, adaptive or block";
    HugePages: "off, transparent or explicit";
    Control: "a path, auto or none";
    UnixMode: "an octal number with a leading 0, such as \"0660\", or umask";
    UnixGroup: "a name in /etc/group, a number, or none";
    NetworkValue: "an address or a network (192.0.2.7, 10.0.0.0/8, 2001:db8::/32), or none";
    OwnAddress: "an address with its prefix length (10.77.0.2/24, fd77::2/64), or none";
    Gateway: "an address, or none";
    Queues: "all, or queues (0,1 or 0-3)";
    Mac: "a MAC address such as 02:00:00:00:00:01, or device";
    Vlan: "a number from 1 to 4094, or none";
    Interface: "the name of a network interface, or none";
    BusyPoll: "a time from 1us to 10ms, or off";
    EalArguments: "arguments in one string, or none";
    PortName: "a number, or a name";
    Mtu: "a number of bytes from 576 to 60000, or device";
    Mbufs: "a number from 512 to 4194304, or auto";
    RingSize: "a power of two from 4KiB to 1MiB";
    SendPolicy: "drop-oldest, drop-new or close";
    LogFilter: "off, error, warn, info, debug, trace, or a filter such as warn,hioload_engine=debug";
}

impl<T: Accepts + Measure, const LEAST: u64, const MOST: u64> Accepts for Within<T, LEAST, MOST> {
    fn accepts() -> String {
        let (what, least, most) = (T::accepts(), T::amount(LEAST), T::amount(MOST));
        match MOST {
            u64::MAX if LEAST == 1 => format!("{what} above 0"),
            u64::MAX => format!("{what} of at least {least}"),
            _ => format!("{what} from {least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::amounts::{AtLeastOne, UpTo};
    use super::*;

    #[test]
    fn bounds_are_part_of_the_phrase() {
        for (phrase, expected) in [
            (
                UpTo::<Size, { 1 << 30 }>::accepts(),
                "a size from 1 to 1GiB",
            ),
            (AtLeastOne::<Span>::accepts(), "a time above 0"),
            (Within::<u8, 8, 15>::accepts(), "a number from 8 to 15"),
        ] {
            assert_eq!(phrase, expected);
        }
    }
}
