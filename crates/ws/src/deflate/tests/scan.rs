//! A short DEFLATE reader (RFC 1951) that records the distances, independent of the engine, to check the output of the
//! engine.

const LENGTH_BASE: [usize; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
    163, 195, 227, 258,
];
const LENGTH_EXTRA: [u32; 29] = [
    0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0,
];
const CODE_LENGTH_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, i| {
            let bit = usize::from(self.data[self.at / 8] >> (self.at % 8) & 1);
            self.at += 1;
            value | bit << i
        })
    }

    fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }

    /// Reads a symbol bit by bit, comparing with the canonical codes of each length.
    fn symbol(&mut self, lengths: &[u8]) -> usize {
        let (mut code, mut first) = (0, 0);
        for length in 1..=15 {
            code |= self.take(1);
            let count = lengths.iter().filter(|&&l| l == length).count();
            if code < first + count {
                let nth = code - first;
                let mut symbols = lengths.iter().enumerate().filter(|&(_, &l)| l == length);
                return symbols.nth(nth).unwrap().0;
            }
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }

    fn dynamic_lengths(&mut self) -> (Vec<u8>, Vec<u8>) {
        let literals = self.take(5) + 257;
        let distances = self.take(5) + 1;
        let given = self.take(4) + 4;
        let mut code_lengths = [0; 19];
        for &place in &CODE_LENGTH_ORDER[..given] {
            code_lengths[place] = self.take(3) as u8;
        }
        let mut lengths: Vec<u8> = Vec::new();
        while lengths.len() < literals + distances {
            match self.symbol(&code_lengths) {
                16 => {
                    let last = *lengths.last().unwrap();
                    let times = 3 + self.take(2);
                    lengths.extend(std::iter::repeat_n(last, times));
                }
                17 => {
                    let times = 3 + self.take(3);
                    lengths.extend(std::iter::repeat_n(0, times));
                }
                18 => {
                    let times = 11 + self.take(7);
                    lengths.extend(std::iter::repeat_n(0, times));
                }
                length => lengths.push(length as u8),
            }
        }
        let distance_lengths = lengths.split_off(literals);
        (lengths, distance_lengths)
    }
}

fn fixed_lengths() -> (Vec<u8>, Vec<u8>) {
    let literals = (0..288u16).map(|s| match s {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    });
    (literals.collect(), vec![5; 30])
}

/// Inflates a stream of non-final blocks onto `out` and returns the largest distance.
pub(super) fn farthest_distance(stream: &[u8], out: &mut Vec<u8>) -> usize {
    let mut bits = Bits {
        data: stream,
        at: 0,
    };
    let mut farthest = 0;
    while bits.at + 3 <= stream.len() * 8 {
        assert_eq!(bits.take(1), 0, "a final block");
        let (literals, distances) = match bits.take(2) {
            0 => {
                bits.align();
                let len = bits.take(16);
                assert_eq!(bits.take(16), !len & 0xffff);
                for _ in 0..len {
                    out.push(bits.take(8) as u8);
                }
                continue;
            }
            1 => fixed_lengths(),
            2 => bits.dynamic_lengths(),
            _ => panic!("reserved block type"),
        };
        loop {
            let symbol = bits.symbol(&literals);
            match symbol {
                0..=255 => out.push(symbol as u8),
                256 => break,
                _ => {
                    let length = LENGTH_BASE[symbol - 257] + bits.take(LENGTH_EXTRA[symbol - 257]);
                    let code = bits.symbol(&distances);
                    let distance = if code < 4 {
                        code + 1
                    } else {
                        let extra = (code as u32 - 2) / 2;
                        1 + ((2 + code % 2) << extra) + bits.take(extra)
                    };
                    farthest = farthest.max(distance);
                    for _ in 0..length {
                        out.push(out[out.len() - distance]);
                    }
                }
            }
        }
    }
    farthest
}
