//! The whole engine on a scripted network: a few hostile peers, and a bystander that they must not affect.
//!
//! Input: a byte of options ([`Options`]), the seed of the splits (4 bytes), then steps ([`Step::read`]).
//!
//! The engine does not panic, the messages of the bystander are echoed at once, every peer is sent only bytes that
//! RFC 6455 allows, and when all peers have gone, no state of them is left. Unless the options make timing relevant (small windows
//! and queues), splitting the bytes of the peers changes neither the bytes that they are sent nor the counters.

mod app;
mod ending;
mod peers;
mod setup;
mod world;

use super::events::Seen;
use super::input::Input;
use super::wire::{By, Sent};
pub use peers::{CLOSE, REQUEST};
use world::World;

/// The options of an input.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Unlimited windows and queues: a split run must equal the unsplit one.
    pub exact: bool,
    /// The limits (0 to 3).
    pub limits: u8,
    /// permessage-deflate (0 and 1: none, 2: shared compressors, 3: own compressors).
    pub deflate: u8,
    /// The policy for a full send queue (0 to 2).
    pub policy: u8,
    /// In the end the peers become silent instead of closing.
    pub silent: bool,
}

impl Options {
    fn from_bits(bits: u8) -> Self {
        Self {
            exact: bits & 1 == 0,
            limits: bits >> 1 & 3,
            deflate: bits >> 3 & 3,
            policy: (bits >> 5 & 3) % 3,
            silent: bits >> 7 == 1,
        }
    }
}

/// A step of the peer number `who`. Peers 0 to 3 have connected to us, we have connected to peers 4 and 5.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// It sends these bytes.
    Bytes(&'a [u8]),
    /// It does its part of a valid opening handshake, in a variant.
    Open(u8),
    /// It sends a frame with this first byte, masked as its role requires.
    Frame(u8, &'a [u8]),
    /// It sends the same frame many times at once.
    Burst(u8, &'a [u8]),
    /// It ends its sending side.
    End,
    /// It resets the connection.
    Reset,
    /// From now on it accepts this number of bytes at a time.
    Window(u16),
    /// Milliseconds pass.
    Pass(u16),
    /// Another peer gets this number. The old one stays connected and sends nothing more.
    Fresh,
}

impl<'a> Step<'a> {
    /// Reads a step: a byte with the kind, one with the number of the peer, then its arguments.
    fn read(input: &mut Input<'a>) -> (usize, Self) {
        let (what, who) = (input.byte(), usize::from(input.byte() % 6));
        let step = match what % 10 {
            0 => Self::Bytes(input.bytes()),
            1 => Self::Open(input.byte()),
            2 => Self::Frame(input.byte(), input.bytes()),
            3 => Self::Frame(0x81, input.bytes()),
            4 => Self::Burst(input.byte(), input.bytes()),
            5 => Self::End,
            6 => Self::Reset,
            7 => Self::Window(input.short()),
            8 => Self::Pass(input.short() % 3000),
            _ => Self::Fresh,
        };
        (who, step)
    }
}

impl Step<'_> {
    /// Whether the step has the same effect without permessage-deflate.
    fn is_plain(&self, who: usize) -> bool {
        match self {
            // A response with an extension that we have not offered is refused.
            Self::Open(variant) => who < 4 || variant & 3 == 0,
            Self::Bytes(_) => false,
            Self::Frame(first, _) | Self::Burst(first, _) => first & 0x40 == 0,
            _ => true,
        }
    }
}

const MAX_STEPS: usize = 48;

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let options = Options::from_bits(input.byte());
    let seed = input.word();
    let mut steps = Vec::new();
    while !input.is_empty() && steps.len() < MAX_STEPS {
        steps.push(Step::read(&mut input));
    }
    let whole = play(options, None, &steps);
    let split = play(options, Some(seed), &steps);
    if !options.exact {
        return;
    }
    assert_eq!(
        whole.counters, split.counters,
        "the split changes the counters"
    );
    assert_eq!(whole.peers.len(), split.peers.len());
    for (n, (whole, split)) in whole.peers.iter().zip(&split.peers).enumerate() {
        assert_eq!(whole, split, "the split changes what peer {n} is sent");
    }
    if options.deflate > 1 && steps.iter().all(|(who, step)| step.is_plain(*who)) {
        let plain = play(
            Options {
                deflate: 0,
                ..options
            },
            None,
            &steps,
        );
        assert_eq!(
            whole.seen, plain.seen,
            "compression changes the messages to the peers"
        );
    }
}

/// The result of a script.
struct Outcome {
    peers: Vec<(By, Sent)>,
    /// The frames that the peers which have connected to us were sent.
    seen: Vec<Vec<Seen>>,
    counters: Vec<(&'static str, u64)>,
}

fn play(options: Options, split: Option<u32>, steps: &[(usize, Step<'_>)]) -> Outcome {
    let mut world = World::new(options, split);
    for (who, step) in steps {
        world.step(*who, step);
    }
    world.end()
}
