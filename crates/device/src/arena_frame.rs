//! The frames of `hioload_mem` as [`Frame`]s.

use hioload_mem::frames::{Frame as ArenaFrame, RxMark, TxMark};

use crate::{Frame, RxChecksum, TxChecksum};

impl Frame for ArenaFrame {
    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes()
    }
    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
    #[inline]
    fn len(&self) -> usize {
        self.len()
    }
    #[inline]
    fn room(&self) -> usize {
        self.room()
    }
    #[inline]
    fn set_len(&mut self, len: usize) {
        self.set_len(len);
    }
    #[inline]
    fn headroom(&self) -> usize {
        self.headroom()
    }
    #[inline]
    fn grow_front(&mut self, n: usize) {
        self.grow_front(n);
    }
    #[inline]
    fn shrink_front(&mut self, n: usize) {
        self.shrink_front(n);
    }
    #[inline]
    fn rx_checksum(&self) -> RxChecksum {
        match self.rx_mark() {
            RxMark::None => RxChecksum::Unknown,
            RxMark::Good => RxChecksum::Good,
            RxMark::Bad => RxChecksum::Bad,
        }
    }
    #[inline]
    fn set_rx_checksum(&mut self, what: RxChecksum) {
        self.set_rx_mark(match what {
            RxChecksum::Unknown => RxMark::None,
            RxChecksum::Good => RxMark::Good,
            RxChecksum::Bad => RxMark::Bad,
        });
    }
    #[inline]
    fn tx_checksum(&self) -> TxChecksum {
        match self.tx_mark() {
            TxMark { offset: 0, .. } => TxChecksum::Complete,
            TxMark { start, offset } => TxChecksum::Fill { start, offset },
        }
    }
    #[inline]
    fn set_tx_checksum(&mut self, what: TxChecksum) {
        self.set_tx_mark(match what {
            TxChecksum::Complete => TxMark::NONE,
            TxChecksum::Fill { start, offset } => TxMark { start, offset },
        });
    }
}
