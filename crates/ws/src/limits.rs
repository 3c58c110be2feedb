//! Bounds of a peer's messages.

/// Bounds of a peer's messages. Exceeding one fails that connection only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a message, after reassembly and inflation. A longer message fails the connection with 1009, as soon as a
    /// header announces it.
    pub max_message: usize,
    /// The most payload bytes of one frame. A longer frame fails the connection with 1009.
    ///
    /// A compressed message may take more bytes on the wire than either bound, since incompressible data grows: see
    /// [`Limits::on_wire`].
    pub max_frame: usize,
    /// The most frames of one message, empty ones included; 0 counts as 1. More frames fail the connection with 1008.
    pub max_fragments: u32,
}

impl Limits {
    /// These bounds.
    #[must_use]
    pub const fn new(max_message: usize, max_frame: usize, max_fragments: u32) -> Self {
        Self {
            max_message,
            max_frame,
            max_fragments,
        }
    }

    /// The most bytes on the wire that a compressed message of `max` bytes may take: zlib's upper bound.
    #[must_use]
    pub const fn on_wire(max: usize) -> usize {
        max.saturating_add(max / 8)
            .saturating_add(max / 64)
            .saturating_add(16)
    }
}

impl Default for Limits {
    /// 16 MiB per message and frame, 65,536 frames per message.
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_frame: 16 << 20,
            max_fragments: 1 << 16,
        }
    }
}
