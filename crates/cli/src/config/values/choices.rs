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

words! {
    /// The form of the reference of all settings.
    ReferenceFormat {
        /// A configuration file with every key.
        Toml = "toml",
        /// A page with a table for each section.
        Markdown = "markdown",
    } expected "expected toml or markdown"
}
