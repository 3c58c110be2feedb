//! The values that flags and the configuration file share. Each is parsed from text by its `FromStr`, and says by [`Accepts`] which
//! texts it accepts.

mod accepts;
mod amounts;
mod choices;
mod network;
mod pages;
mod port;
mod process;
mod tls;

pub(crate) use accepts::Accepts;
pub(crate) use amounts::{AtLeastOne, Size, Span, UpTo, Within};
pub(crate) use choices::{
    AutoOff, ClientAuth, Deflate, LogFormat, ReferenceFormat, RxChecksum, TlsMode, TransportKind,
    UnknownName, XdpMode, ZeroCopy,
};
pub(crate) use network::{Gateway, ListenOn, Mac, NetworkValue, OwnAddress, PeerFilter, Vlan};
pub(crate) use pages::{AllowHost, AllowOrigin, TrustedProxy};
pub(crate) use port::{BusyPoll, EalArguments, Interface, Mbufs, Mtu, PortName, Queues, RingSize};
pub(crate) use process::{Control, LcoreSet, LogFilter, UnixGroup, UnixMode};
pub(crate) use tls::{OptionalPath, TlsCertificate, TlsCurve, TlsSuite, TlsTickets, TlsVersion};
