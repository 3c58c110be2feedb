//! The LZ77 history of one direction of one connection.

use super::clamp_window_bits;

/// The LZ77 history of one direction of one connection: the last `2^window_bits` inflated bytes.
///
/// Empty until the first message; never larger than `2^window_bits` bytes.
#[derive(Debug, Clone)]
pub struct Window {
    ring: Vec<u8>,
    /// The index of the oldest byte once the ring is full; 0 before.
    next: u32,
    bits: u8,
}

impl Window {
    /// A history of `2^window_bits` bytes, with the bits clamped to 8..=15. It does not allocate.
    pub fn new(window_bits: u8) -> Self {
        Window {
            ring: Vec::new(),
            next: 0,
            bits: clamp_window_bits(window_bits),
        }
    }

    /// The most bytes that the history keeps.
    pub fn size(&self) -> usize {
        1 << self.bits
    }

    /// Bytes of history.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the history is empty.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Clears the history and keeps its memory.
    pub fn clear(&mut self) {
        self.ring.clear();
        self.next = 0;
    }

    /// Appends `data`, and drops bytes that are too old.
    pub(crate) fn push(&mut self, data: &[u8]) {
        let size = self.size();
        if data.len() >= size {
            self.ring.clear();
            self.ring.reserve_exact(size);
            self.ring.extend_from_slice(&data[data.len() - size..]);
            self.next = 0;
            return;
        }
        let (grow, wrap) = data.split_at(data.len().min(size - self.ring.len()));
        self.grow_for(grow.len());
        self.ring.extend_from_slice(grow);
        if wrap.is_empty() {
            return;
        }
        let next = self.next as usize;
        let (front, back) = wrap.split_at(wrap.len().min(size - next));
        self.ring[next..next + front.len()].copy_from_slice(front);
        self.ring[..back.len()].copy_from_slice(back);
        self.next = ((next + wrap.len()) & (size - 1)) as u32;
    }

    /// Doubles the allocation up to the agreed size, which `Vec` alone would exceed.
    fn grow_for(&mut self, more: usize) {
        let need = self.ring.len() + more;
        if need > self.ring.capacity() {
            let target = need.max(self.ring.capacity() * 2).min(self.size());
            self.ring.reserve_exact(target - self.ring.len());
        }
    }

    /// The history as two runs, oldest byte first.
    pub(crate) fn runs(&self) -> (&[u8], &[u8]) {
        let (newer, older) = self.ring.split_at(self.next as usize);
        (older, newer)
    }
}
