//! Compressing what is sent (RFC 7692): per-lcore compressors and those that connections own.

use hioload_ws_proto::deflate::{DeflateConfig, Deflater};

/// How a connection compresses what it sends.
pub(crate) enum SendDeflate {
    /// With the lcore's compressor for this window, each message by itself.
    Shared { window_bits: u8 },
    /// With its own, whose window spans messages.
    Own { deflater: Box<Deflater>, window_bits: u8 },
}

impl SendDeflate {
    pub(crate) fn window_bits(&self) -> u8 {
        match self {
            Self::Shared { window_bits } | Self::Own { window_bits, .. } => *window_bits,
        }
    }
}

/// The lcore's compressors, one for each window size in use, and where their output goes.
pub(crate) struct Compressors {
    config: Option<DeflateConfig>,
    shared: [Option<Box<Deflater>>; 16],
    out: Vec<u8>,
}

impl Compressors {
    pub(crate) fn new(config: Option<DeflateConfig>) -> Self {
        Self { config, shared: Default::default(), out: Vec::new() }
    }

    pub(crate) fn config(&self) -> Option<&DeflateConfig> {
        self.config.as_ref()
    }

    pub(crate) fn own(&self, window_bits: u8) -> Option<SendDeflate> {
        let config = self.config.as_ref()?;
        let deflater = Deflater::new(config.level, window_bits, config.mem_level);
        Some(SendDeflate::Own { deflater: Box::new(deflater), window_bits })
    }

    /// Whether a message of `len` bytes is worth it.
    pub(crate) fn wants(&self, len: usize) -> bool {
        self.config.as_ref().is_some_and(|config| len >= config.threshold)
    }

    /// The compressed payload; `None` if it did not get smaller (the message then goes as it is, which RFC 7692 §6 leaves
    /// to the sender) or could not be compressed.
    pub(crate) fn compress(&mut self, how: &mut SendDeflate, payload: &[u8]) -> Option<&[u8]> {
        self.out.clear();
        match how {
            SendDeflate::Shared { window_bits } => {
                let config = self.config.as_ref()?;
                let slot = &mut self.shared[usize::from(*window_bits & 15)];
                let deflater = slot.get_or_insert_with(|| {
                    Box::new(Deflater::new(config.level, *window_bits, config.mem_level))
                });
                let result = deflater.deflate(payload, &mut self.out);
                deflater.reset();
                result.ok()?;
            }
            SendDeflate::Own { deflater, .. } => {
                let failed = deflater.deflate(payload, &mut self.out).is_err();
                if failed || self.out.len() >= payload.len() {
                    // The peer will not see this output, so nothing later may refer to it.
                    deflater.reset();
                    return None;
                }
            }
        }
        (self.out.len() < payload.len()).then_some(self.out.as_slice())
    }
}
