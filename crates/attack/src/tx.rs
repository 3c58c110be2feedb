//! The way out: frames of one attack, handed to the device after those of the load.

use hioload_device::{Burst, Device, Frame};

use crate::control::{Count, Tally};

/// Frames of one attack on one turn.
pub(crate) struct TxQueue<'a, D: Device> {
    pub(crate) device: &'a mut D,
    /// Not handed over yet. Empty before and after.
    pub(crate) out: &'a mut Burst<D::Frame>,
    pub(crate) tally: &'a mut Tally,
    /// Nothing more goes out in this turn.
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

    /// Sends a frame: `write` puts it into the `most` bytes it is given and says how long it is. `false` if there was no room.
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

    /// Hands over what waits; what the ring has no room for is given back and counted.
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
