//! The handoff of frames between lcores.
//!
//! The hash of a flow determines the lcore that owns it. If another lcore receives a frame of the flow, it copies the frame into
//! a buffer and passes that over a bounded ring. The owner processes the frame as if it had received it, and returns the
//! buffer over its own ring. Without a free buffer the frame is dropped and counted; TCP retransmits it.

use hioload_device::{Device, Frame, RxChecksum, Waker};
use hioload_lcore::mesh::{Mailbox, mesh};

use crate::stack::Stack;

/// The most buffers of an lcore. They are allocated when first needed.
const BUFFERS: usize = 512;

/// A copy of a frame.
struct Copied {
    bytes: Box<[u8]>,
    len: usize,
    checksum: RxChecksum,
}

enum Message {
    /// A frame to process.
    Frame(Copied),
    /// A buffer that returns to the lcore that has made it.
    Back(Copied),
}

/// One lcore's end of the rings between lcores.
pub struct Handoff {
    mailbox: Mailbox<Message>,
    free: Vec<Copied>,
    made: usize,
    frame_size: usize,
}

impl Handoff {
    /// Connects `lcores` lcores; end `i` is that of lcore `i`. A frame longer than `frame_size` bytes is dropped instead of handed
    /// over.
    #[must_use]
    pub fn mesh(lcores: usize, frame_size: usize) -> Vec<Self> {
        // A ring has room for all buffers of its sender, and for all of its receiver that return.
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

    /// Sets the waker of this lcore, for frames that arrive while it sleeps. [`Stack::new`](crate::Stack::new) does so.
    pub fn set_waker(&mut self, waker: Waker) {
        self.mailbox.set_waker(move || waker());
    }

    /// The number of this lcore.
    #[must_use]
    pub fn index(&self) -> usize {
        self.mailbox.index()
    }

    /// The number of lcores.
    #[must_use]
    pub fn lcores(&self) -> usize {
        self.mailbox.lcores()
    }

    /// The longest frame that can be handed over, in bytes.
    #[must_use]
    pub fn frame_size(&self) -> usize {
        self.frame_size
    }

    /// Whether the lcore may sleep: no frame is waiting, and from now on a sender wakes it.
    pub(crate) fn prepare_sleep(&self) -> bool {
        self.mailbox.prepare_sleep()
    }

    pub(crate) fn awake(&self) {
        self.mailbox.awake();
    }

    /// Wakes the lcores that frames were handed to.
    pub(crate) fn wake_others(&mut self) {
        self.mailbox.ring_doorbells();
    }

    /// Hands a copy of a frame to lcore `to`. Returns whether there was room.
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

    /// The next frame handed over, and the lcore it comes from.
    fn pop(&mut self) -> Option<(usize, Copied)> {
        loop {
            match self.mailbox.pop()? {
                (Some(from), Message::Frame(copied)) => return Some((from, copied)),
                (_, Message::Back(copied) | Message::Frame(copied)) => self.free.push(copied),
            }
        }
    }

    /// Returns a buffer.
    fn put_back(&mut self, to: usize, copied: Copied) {
        // The ring has room for all buffers.
        let _ = self.mailbox.send(to, Message::Back(copied));
    }
}

impl<D: Device> Stack<D> {
    /// Whether a TCP segment with this hash belongs to another lcore. If so, it has been handed over, or dropped and counted.
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

    /// Stages the frames that other lcores have handed over.
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

/// The lcore that owns a flow. It depends on the low bits of the hash; the place in the flow table depends on the high bits.
#[inline]
pub(crate) fn owner(hash: u32, lcores: usize) -> usize {
    hash as usize % lcores.max(1)
}
