//! Values that are one of a few words.

use std::fmt;
use std::str::FromStr;

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

        impl super::Accepts for $name {
            fn accepts() -> String {
                $expected.trim_start_matches("expected ").to_owned()
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
    /// The transport.
    TransportKind {
        /// Sockets of the kernel.
        Sockets = "sockets",
        /// User-space TCP on the queues of a network interface.
        AfXdp = "af-xdp",
        /// User-space TCP on a port that DPDK drives.
        Dpdk = "dpdk",
    } expected "expected sockets, af-xdp or dpdk"
}

words! {
    /// A feature that is used where it is available, or not at all.
    AutoOff {
        /// Used where available.
        Auto = "auto",
        /// Not used.
        Off = "off",
    } expected "expected auto or off"
}

words! {
    /// Where the XDP program runs.
    XdpMode {
        /// In the driver if it supports XDP, else in the network stack.
        Auto = "auto",
        /// In the driver.
        Native = "native",
        /// In the network stack: any driver, slower.
        Skb = "skb",
    } expected "expected auto, native or skb"
}

words! {
    /// Whether the NIC writes packets into the memory of the process, or the kernel copies them.
    ZeroCopy {
        /// The NIC, if its driver supports it.
        Auto = "auto",
        /// The NIC must.
        On = "on",
        /// The kernel copies.
        Off = "off",
    } expected "expected auto, on or off"
}

words! {
    /// Whether checksums of received packets are verified.
    RxChecksum {
        /// Not on interfaces whose packets stay within this machine.
        Auto = "auto",
        /// Verified.
        Verify = "verify",
        /// Assumed correct.
        Trust = "trust",
    } expected "expected auto, verify or trust"
}

words! {
    /// Whether permessage-deflate is negotiated, and whose compressors are used.
    Deflate {
        /// Not negotiated.
        Off = "off",
        /// Compressors of the lcore; no context is kept between messages.
        Shared = "shared",
        /// Each connection has a compressor.
        Own = "own",
    } expected "expected off, shared or own"
}

words! {
    /// Whether the server speaks TLS.
    TlsMode {
        /// If it has a certificate.
        Auto = "auto",
        /// Not.
        Off = "off",
        /// With a development certificate.
        Dev = "dev",
    } expected "expected auto, off or dev"
}

words! {
    /// What a client gets that asks for a name that no certificate has.
    UnknownName {
        /// The first certificate.
        First = "first",
        /// An alert.
        Refuse = "refuse",
    } expected "expected first or refuse"
}

words! {
    /// Whether clients show certificates.
    ClientAuth {
        /// They are not asked.
        Off = "off",
        /// They may.
        Optional = "optional",
        /// They must.
        Required = "required",
    } expected "expected off, optional or required"
}

words! {
    /// The format of log records.
    LogFormat {
        /// Text lines.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    } expected "expected text or json"
}

words! {
    /// The form of the reference of all settings.
    ReferenceFormat {
        /// A configuration file with every key.
        Toml = "toml",
        /// A page with a table for each section.
        Markdown = "markdown",
    } expected "expected toml or markdown"
}
