//! Bounds of what a peer may send.

/// Bounds of what a peer may send. Reaching one fails that connection alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most bytes of a message, after reassembly and inflation; one of exactly this size is fine. Over it: close code
    /// 1009, as soon as a header announces it.
    pub max_message: usize,
    /// Most payload bytes of one frame. Over it: 1009.
    ///
    /// Both bounds give a compressed message some room on the wire, since what does not compress grows a little: see
    /// [`Limits::on_wire`].
    pub max_frame: usize,
    /// Most frames of one message, empty ones included. Over it: 1008. (0 counts as 1.)
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

    /// How many bytes on the wire `max` bytes of message may take when compressed: what zlib reckons with at most.
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
