//! Frames that reached the wrong lcore.
//!
//! A flow belongs to the lcore that its hash names. A frame that another lcore receives is copied into a buffer, handed over
//! a bounded ring, and worked on there as if it had been received; the buffer comes back the same way and is used again.
//! When no buffer is at hand, the frame is dropped and counted: TCP sends it again.

use hioload_device::{Device, Frame, RxChecksum, Waker};
use hioload_lcore::mesh::{Mailbox, mesh};

use crate::stack::Stack;

/// Buffers that each lcore has at most. They are made when first needed.
const BUFFERS: usize = 512;

/// A copy of a frame.
struct Copied {
    bytes: Box<[u8]>,
    len: usize,
    checksum: RxChecksum,
}

enum Message {
    /// To be worked on.
    Frame(Copied),
    /// Done with; the buffer goes back to whom it came from.
    Back(Copied),
}

/// One lcore's end of the rings over which frames are handed to the lcores that own their flows.
pub struct Handoff {
    mailbox: Mailbox<Message>,
    free: Vec<Copied>,
    made: usize,
    frame_size: usize,
}

impl Handoff {
    /// Connects `lcores` lcores; end `i` is lcore `i`'s. Frames longer than `frame_size` are not handed over.
    #[must_use]
    pub fn mesh(lcores: usize, frame_size: usize) -> Vec<Self> {
        // A ring holds all buffers of the one end on their way, and all of the other's on their way back.
        mesh(lcores, 2 * BUFFERS)
            .into_iter()
            .map(|mailbox| Self {
                mailbox,
                free: Vec::with_capacity(BUFFERS),
                made: 0,
                frame_size,
            })
            .collect()
    }

    /// Says how to wake this lcore when something was handed to it while it sleeps. The stack does.
    pub fn set_waker(&mut self, waker: Waker) {
        self.mailbox.set_waker(move || waker());
    }

    /// The lcore this is the end of.
    #[must_use]
    pub fn index(&self) -> usize {
        self.mailbox.index()
    }

    /// Lcores connected.
    #[must_use]
    pub fn lcores(&self) -> usize {
        self.mailbox.lcores()
    }

    /// The longest frame handed over.
    #[must_use]
    pub fn frame_size(&self) -> usize {
        self.frame_size
    }

    /// Whether the lcore may sleep: nothing is waiting, and whoever hands something over wakes it.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.mailbox.prepare_sleep()
    }

    pub(crate) fn awake(&self) {
        self.mailbox.awake();
    }

    /// Wakes those that something was handed to.
    pub(crate) fn wake_others(&mut self) {
        self.mailbox.ring_doorbells();
    }

    /// Hands a copy of a frame to lcore `to`; whether that could be done.
    fn send(&mut self, to: usize, bytes: &[u8], checksum: RxChecksum) -> bool {
        if bytes.len() > self.frame_size {
            return false;
        }
        let copied = self.free.pop().or_else(|| {
            let more = self.made < BUFFERS;
            self.made += usize::from(more);
            more.then(|| Copied {
                bytes: vec![0; self.frame_size].into(),
                len: 0,
                checksum,
            })
        });
        let Some(mut copied) = copied else {
            return false;
        };
        copied.bytes[..bytes.len()].copy_from_slice(bytes);
        copied.len = bytes.len();
        copied.checksum = checksum;
        match self.mailbox.send(to, Message::Frame(copied)) {
            Ok(()) => true,
            Err(Message::Frame(copied) | Message::Back(copied)) => {
                self.free.push(copied);
                false
            }
        }
    }

    /// The next frame handed over, and by whom.
    fn pop(&mut self) -> Option<(usize, Copied)> {
        loop {
            match self.mailbox.pop()? {
                (Some(from), Message::Frame(copied)) => return Some((from, copied)),
                (_, Message::Back(copied) | Message::Frame(copied)) => self.free.push(copied),
            }
        }
    }

    /// Gives a buffer back.
    fn put_back(&mut self, to: usize, copied: Copied) {
        // There is room for all there are.
        let _ = self.mailbox.send(to, Message::Back(copied));
    }
}

impl<D: Device> Stack<D> {
    /// Whether a TCP segment with this hash belongs to another lcore; if so, it has been handed over, or lost and counted.
    #[inline]
    pub(crate) fn hand_over(&mut self, bytes: &[u8], checksum: RxChecksum, hash: u32) -> bool {
        let Some(handoff) = &mut self.handoff else {
            return false;
        };
        let owner = owner(hash, handoff.lcores());
        if owner == handoff.index() {
            return false;
        }
        if handoff.send(owner, bytes, checksum) {
            self.stats.handoffs_out += 1;
        } else {
            self.stats.handoff_drops += 1;
        }
        true
    }

    /// Hands copies of a frame to all other lcores.
    pub(crate) fn share(&mut self, bytes: &[u8], checksum: RxChecksum) {
        let Some(handoff) = &mut self.handoff else {
            return;
        };
        let (lcores, index) = (handoff.lcores(), handoff.index());
        for lcore in (0..lcores).filter(|&lcore| lcore != index) {
            if handoff.send(lcore, bytes, checksum) {
                self.stats.handoffs_out += 1;
            } else {
                self.stats.handoff_drops += 1;
            }
        }
    }

    /// Takes what other lcores have handed over.
    pub(crate) fn receive_handoffs(&mut self) {
        for _ in 0..hioload_device::BURST {
            let Some((from, copied)) = self.handoff.as_mut().and_then(Handoff::pop) else {
                return;
            };
            let bytes = copied.bytes.get(..copied.len).unwrap_or_default();
            match self.port.device.alloc() {
                Some(mut frame) if frame.room() >= bytes.len() => {
                    frame.set_len(bytes.len());
                    frame.bytes_mut().copy_from_slice(bytes);
                    self.stats.handoffs_in += 1;
                    self.stage_frame(frame, copied.checksum, true);
                }
                _ => self.stats.handoff_drops += 1,
            }
            if let Some(handoff) = &mut self.handoff {
                handoff.put_back(from, copied);
            }
        }
    }
}

/// The lcore that a flow belongs to. The low bits of the hash decide here, the high ones in the flow table.
#[inline]
pub(crate) fn owner(hash: u32, lcores: usize) -> usize {
    hash as usize % lcores.max(1)
}
