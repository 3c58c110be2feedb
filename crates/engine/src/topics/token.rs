//! One token of a pattern in 16 bytes, or on the heap if it is long.

/// Bytes that fit inline.
const INLINE: usize = 14;
/// Bytes of a heap token beside its text: the box and the allocator's rounding of two allocations.
const HEAP: usize = 16 + 32;

pub(super) enum Token {
    Inline { len: u8, bytes: [u8; INLINE] },
    // A box of a box, so that a token is no larger than 16 bytes.
    Heap(Box<Box<str>>),
}

impl Default for Token {
    fn default() -> Self {
        Self::Inline {
            len: 0,
            bytes: [0; INLINE],
        }
    }
}

impl Token {
    pub(super) fn new(text: &str) -> Self {
        if text.len() > INLINE {
            return Self::Heap(Box::new(text.into()));
        }
        let mut bytes = [0; INLINE];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self::Inline {
            len: text.len() as u8,
            bytes,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Inline { len, bytes } => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Self::Heap(text) => text,
        }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Inline { .. } => 0,
            Self::Heap(text) => text.len() + HEAP,
        }
    }

    /// Bytes on the heap that the tokens of `pattern` have at most.
    pub(super) fn most_heap_bytes(pattern: &str) -> usize {
        let long = pattern.split('.').filter(|token| token.len() > INLINE);
        long.map(|token| token.len() + HEAP).sum()
    }
}

const _: () = assert!(size_of::<Token>() == 16);
