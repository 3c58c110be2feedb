//! What a harness puts between the transport and the driver.

use hioload_transport::Transport;
use hioload_transport::layer::{Layered, PassThrough};

/// A way to wrap a transport.
pub trait Wrap {
    type Io<T: Transport + 'static>: Transport + 'static;
    fn wrap<T: Transport + 'static>(io: T) -> Self::Io<T>;
    /// The transport itself, for what only its type can do.
    fn below<T: Transport + 'static>(io: &mut Self::Io<T>) -> &mut T;
}

/// Nothing.
pub struct Bare;

impl Wrap for Bare {
    type Io<T: Transport + 'static> = T;
    fn wrap<T: Transport + 'static>(io: T) -> T {
        io
    }
    fn below<T: Transport + 'static>(io: &mut T) -> &mut T {
        io
    }
}

/// The layer that passes everything through.
pub struct ThroughLayer;

impl Wrap for ThroughLayer {
    type Io<T: Transport + 'static> = Layered<T, PassThrough>;
    fn wrap<T: Transport + 'static>(io: T) -> Self::Io<T> {
        Layered::new(io, PassThrough::new())
    }
    fn below<T: Transport + 'static>(io: &mut Self::Io<T>) -> &mut T {
        io.below()
    }
}
