//! The options and the result of a capture.

use std::time::SystemTime;

use crate::setters::setters;

/// The options of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TapOptions {
    /// The number of bytes captured of each frame, at least 1; by default all.
    pub snaplen: u32,
    /// The largest size of the file in bytes. When it is reached, the capture turns itself off, and counts the frames in the rings.
    pub max_bytes: Option<u64>,
    /// The time of day at the zero of the taps' clock, for virtual time; `None`: computed from the system's two clocks.
    pub epoch: Option<SystemTime>,
}

setters!(TapOptions {
    snaplen: u32,
    max_bytes: Option<u64>,
    epoch: Option<SystemTime>,
});

impl Default for TapOptions {
    fn default() -> Self {
        Self {
            snaplen: 65535,
            max_bytes: None,
            epoch: None,
        }
    }
}

/// The result of a capture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TapReport {
    /// Frames in the file.
    pub written: u64,
    /// Frames that are missing because a tap's ring had no room.
    pub dropped: u64,
    /// Frames that are missing because the file had reached its limit.
    pub over_limit: u64,
    /// The size of the file in bytes.
    pub bytes: u64,
}
