//! The frames of one attack, sent after those of the load.

use hioload_device::{Burst, Device, Frame};

use crate::control::{Count, Tally};

/// The transmit side of one attack in one turn.
pub(crate) struct TxQueue<'a, D: Device> {
    pub(crate) device: &'a mut D,
    /// Frames not handed to the device yet. Empty before and after the turn.
    pub(crate) out: &'a mut Burst<D::Frame>,
    pub(crate) tally: &'a mut Tally,
    /// The device takes no more frames in this turn.
    pub(crate) stuck: bool,
    /// Packets that may still be sent in this turn.
    pub(crate) left: u64,
}

impl<D: Device> TxQueue<'_, D> {
    /// Whether another frame may be sent.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.left > 0 && !self.stuck
    }

    /// Sends a frame. `write` writes it into at most `most` bytes and returns its length. Returns `false` if there was no buffer.
    #[inline]
    pub(crate) fn send(&mut self, most: usize, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.out.is_full() {
            self.flush();
        }
        self.left = self.left.saturating_sub(1);
        let frame = if self.stuck {
            None
        } else {
            self.device.alloc()
        };
        let Some(mut frame) = frame.filter(|frame| frame.room() >= most) else {
            self.stuck = true;
            self.tally.bump(Count::NoRoom);
            return false;
        };
        frame.set_len(most);
        let len = write(frame.bytes_mut());
        frame.set_len(len.min(most));
        self.out.push(frame);
        true
    }

    /// Hands the waiting frames to the device. Frames that its ring has no space for are freed and counted.
    pub(crate) fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let sent = self.device.tx_burst(self.out);
        self.tally.add(Count::Sent, sent as u64);
        if !self.out.is_empty() {
            self.tally.add(Count::NoRoom, self.out.len() as u64);
            self.out.clear();
            self.stuck = true;
        }
    }
}
