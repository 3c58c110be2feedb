//! Reads an input, and splits its stream.

/// A reader of an input. After its end it reads zeros.
#[derive(Clone, Debug)]
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }
    /// The next two bytes, the high one first.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }
    /// The next four bytes, the highest first.
    pub fn word(&mut self) -> u32 {
        u32::from(self.short()) << 16 | u32::from(self.short())
    }
    /// The next `n` bytes, or as many as are left.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(n.min(self.0.len()));
        self.0 = rest;
        taken
    }
    /// Bytes after their length, which is one byte.
    pub fn bytes(&mut self) -> &'a [u8] {
        let n = self.byte();
        self.take(n.into())
    }
    /// All that is left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }
}

/// A small random generator (xorshift) for splits and mutations. The same seed gives the same numbers everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator from any seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The next number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }
}

/// Splits `bytes` at positions determined by `seed`: into single bytes, a few bytes, dozens, or a few large pieces.
pub fn cut(bytes: &[u8], seed: u32) -> Vec<&[u8]> {
    let mut random = Random::new(seed.into());
    let most = [1, 7, 64, bytes.len().max(1)][random.below(4)];
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let (piece, tail) = rest.split_at((1 + random.below(most)).min(rest.len()));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}
