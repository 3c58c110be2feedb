//! Why a frame went no further, and how many did.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why a frame was dropped before TCP, ICMP or address resolution saw it.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All of them, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// For metrics: lower case, words joined by underscores.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

reasons! {
    /// Sent to another station.
    OtherStation = "other_station",
    /// Without our VLAN tag, or with another one.
    OtherVlan = "other_vlan",
    /// More than one VLAN tag.
    StackedTags = "stacked_tags",
    /// Neither IPv4, IPv6 nor ARP.
    OtherEtherType = "other_ether_type",
    /// To an IP address that is not ours.
    OtherAddress = "other_address",
    /// Neither TCP nor ICMP.
    OtherProtocol = "other_protocol",
    /// To us all: a broadcast or multicast that is not for address resolution.
    Group = "group",
    /// A fragment of an IP packet; fragments are not put together.
    Fragment = "fragment",
    /// Ends within a header, or is longer than an IP packet can be.
    Truncated = "truncated",
    /// The IP header contradicts itself or the frame: version, header length, total length.
    IpHeader = "ip_header",
    /// An IPv6 extension header that we cannot step over: out of place, too many, a route not used up.
    ExtensionHeader = "extension_header",
    /// The TCP header contradicts itself: data offset, port zero, SYN with FIN or RST.
    TcpHeader = "tcp_header",
    /// The device says that a checksum is wrong, or the IPv4 header's is.
    Checksum = "checksum",
    /// A source address that nobody may send from: multicast, broadcast, loopback, unspecified.
    Martian = "martian",
    /// Our own address as the source.
    OwnSource = "own_source",
}

/// Frames dropped, by [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// Counts one.
    #[inline]
    pub(crate) fn count(&mut self, reason: Reason) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter += 1;
        }
    }

    /// How many were dropped for `reason`.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// How many were not for us, or of no kind that we take.
    #[must_use]
    pub fn not_ours(&self) -> u64 {
        let foreign = [
            Reason::OtherStation,
            Reason::OtherVlan,
            Reason::StackedTags,
            Reason::OtherEtherType,
            Reason::OtherAddress,
            Reason::OtherProtocol,
            Reason::Group,
        ];
        foreign.iter().map(|&reason| self.get(reason)).sum()
    }

    /// How many were dropped in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl Default for Drops {
    fn default() -> Self {
        Self([0; Reason::ALL.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_name() {
        let mut drops = Drops::default();
        for (i, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, i);
            for _ in 0..=i {
                drops.count(reason);
            }
        }
        for (i, &reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(drops.get(reason), i as u64 + 1);
            assert!(Reason::ALL[..i].iter().all(|r| r.name() != reason.name()));
        }
        assert_eq!(drops.not_ours(), (1..=7).sum());
        assert_eq!(drops.total(), (1..=Reason::ALL.len() as u64).sum());
    }
}
