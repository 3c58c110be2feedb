//! The settings of `--transport af-xdp`, with their defaults.

use std::time::Duration;

use super::sections::AfXdpArgs;
use super::values::{RxChecksum, XdpMode, ZeroCopy};

/// What is set up on the interface.
#[derive(Debug)]
#[cfg_attr(not(all(feature = "af-xdp", target_os = "linux")), allow(dead_code))]
pub(crate) struct AfXdp {
    /// Which interface.
    pub interface: Option<String>,
    /// Whether the addresses are the kernel's too.
    pub share_address: bool,
    /// Where the program runs.
    pub xdp_mode: XdpMode,
    /// Who writes packets into our memory.
    pub zero_copy: ZeroCopy,
    /// How long one call may poll.
    pub busy_poll: Option<Duration>,
    /// Whether checksums are verified.
    pub rx_checksum: RxChecksum,
}

impl AfXdp {
    /// Fills in the defaults.
    pub(crate) fn new(link: AfXdpArgs) -> Self {
        Self {
            interface: link.interface.and_then(|interface| interface.0),
            share_address: link.share_address.unwrap_or(false),
            xdp_mode: link.xdp_mode.unwrap_or(XdpMode::Auto),
            zero_copy: link.zero_copy.unwrap_or(ZeroCopy::Auto),
            busy_poll: link.busy_poll.and_then(|poll| poll.0),
            rx_checksum: link.rx_checksum.unwrap_or(RxChecksum::Auto),
        }
    }

    /// Checks that what is needed is there.
    ///
    /// # Errors
    /// What is missing, in one line.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.interface {
            Some(_) => Ok(()),
            None => {
                Err("--transport af-xdp needs an --interface, whose queues it takes".to_owned())
            }
        }
    }
}
