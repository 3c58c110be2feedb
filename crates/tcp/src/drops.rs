//! The reasons to drop a received frame, and their counters.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Why the parser has dropped a frame.
        #[non_exhaustive]
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// All reasons, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name in metrics: lower case, words joined by underscores.
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
    /// The destination is the MAC address of another host.
    OtherHost = "other_host",
    /// The frame is in another VLAN than the host: it has another tag, or it has one and the host has none, or the reverse.
    OtherVlan = "other_vlan",
    /// More than one VLAN tag.
    StackedTags = "stacked_tags",
    /// Neither IPv4, IPv6 nor ARP.
    OtherEtherType = "other_ether_type",
    /// The destination IP address is not ours.
    OtherAddress = "other_address",
    /// Neither TCP nor ICMP.
    OtherProtocol = "other_protocol",
    /// A broadcast or multicast that is not for address resolution.
    Group = "group",
    /// A fragment of an IP packet. Fragments are not reassembled.
    Fragment = "fragment",
    /// The frame ends within a header or before the end of its IP packet, or is longer than 65,535 bytes.
    Truncated = "truncated",
    /// The IP header is inconsistent: version, header length, total length. Or neighbour discovery has passed a router.
    IpHeader = "ip_header",
    /// An IPv4 option that is malformed, or a source route (RFC 7126 §4.3, §4.4).
    IpOptions = "ip_options",
    /// An IPv6 extension header that cannot be stepped over: out of place, too many, segments left, an option that demands it.
    ExtensionHeader = "extension_header",
    /// The TCP header is inconsistent: data offset, port 0, more than one of SYN, FIN and RST.
    TcpHeader = "tcp_header",
    /// A wrong checksum, by the device or in the IPv4 header.
    Checksum = "checksum",
    /// A source address that no host may send from: multicast, broadcast, loopback, unspecified.
    Martian = "martian",
    /// The source address is ours.
    OwnSource = "own_source",
}

/// The number of frames dropped for each [`Reason`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Drops([u64; Reason::ALL.len()]);

impl Drops {
    /// Counts a frame.
    #[inline]
    pub(crate) fn count(&mut self, reason: Reason) {
        if let Some(counter) = self.0.get_mut(reason as usize) {
            *counter += 1;
        }
    }

    /// The number of frames dropped for `reason`.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// The number of frames that were not for us or of a kind that we do not accept.
    #[must_use]
    pub fn not_ours(&self) -> u64 {
        let foreign = [
            Reason::OtherHost,
            Reason::OtherVlan,
            Reason::StackedTags,
            Reason::OtherEtherType,
            Reason::OtherAddress,
            Reason::OtherProtocol,
            Reason::Group,
        ];
        foreign.iter().map(|&reason| self.get(reason)).sum()
    }

    /// The number of all frames dropped.
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
