//! Messages between lcores, and from other threads to an lcore.
//!
//! Every ordered pair of lcores has a bounded ring with one producer and one consumer; every lcore has an inbox that
//! any thread may post to. Nothing here blocks: a full ring gives the message back. An lcore that sleeps is woken by
//! its doorbell: other threads ring it with each post, lcores once at the end of a turn, with
//! [`Mailbox::ring_doorbells`]. The order of a loop is
//!
//! ```
//! # use hioload_lcore::mesh::{Mailbox, mesh};
//! # let mut boxes = mesh::<u32>(2, 64);
//! # let mut mailbox = boxes.remove(0);
//! # let sleep_in_poller = |mailbox: &Mailbox<u32>| mailbox.poster().post(7);
//! # mailbox.set_waker(|| ());
//! # let mut seen = 0;
//! # while seen == 0 {
//! // 1. Nothing to do: sleep, unless something is queued already.
//! if mailbox.prepare_sleep() {
//!     sleep_in_poller(&mailbox);
//! #   ;
//! }
//! mailbox.awake();
//! // 2. Take what came and work on it; this may `send`.
//! mailbox.drain(256, |_from, _message| seen += 1);
//! // 3. Wake those written to.
//! mailbox.ring_doorbells();
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::doorbell::Doorbell;

/// Messages taken from one source before the next one has its turn.
const SHARE: usize = 32;

/// What other threads see of an lcore.
struct Inbox<M> {
    posts: ArrayQueue<M>,
    bell: Doorbell,
}

/// One lcore's end of the mesh.
pub struct Mailbox<M> {
    index: usize,
    /// To each lcore, this one included.
    to: Vec<Producer<M>>,
    /// From each lcore, this one included.
    from: Vec<Consumer<M>>,
    /// Everyone's; `inboxes[index]` is this lcore's own.
    inboxes: Arc<[Arc<Inbox<M>>]>,
    /// A bit for each lcore sent to since the last `ring_doorbells`.
    unrung: Box<[u64]>,
    /// Source being drained: an lcore, or, at `from.len()`, the posts.
    source: usize,
    /// What it may still give before the next source has its turn.
    share: usize,
}

/// Connects `n` lcores; each ring and each inbox holds `capacity` messages (at least 1). Mailbox `i` is lcore `i`'s.
#[must_use]
pub fn mesh<M: Send>(n: usize, capacity: usize) -> Vec<Mailbox<M>> {
    let capacity = capacity.max(1);
    let inboxes: Arc<[_]> = (0..n)
        .map(|_| {
            Arc::new(Inbox {
                posts: ArrayQueue::new(capacity),
                bell: Doorbell::new(),
            })
        })
        .collect();
    let mut mailboxes: Vec<_> = (0..n)
        .map(|index| Mailbox {
            index,
            to: Vec::with_capacity(n),
            from: Vec::with_capacity(n),
            inboxes: Arc::clone(&inboxes),
            unrung: vec![0; n.div_ceil(64)].into(),
            source: 0,
            share: SHARE,
        })
        .collect();
    for from in 0..n {
        for to in 0..n {
            // Pushed in this order, `to[i]` leads to lcore i and `from[i]` comes from lcore i.
            let (producer, consumer) = RingBuffer::new(capacity);
            mailboxes[from].to.push(producer);
            mailboxes[to].from.push(consumer);
        }
    }
    mailboxes
}

impl<M> Mailbox<M> {
    /// The lcore this is the mailbox of.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Lcores in the mesh.
    #[must_use]
    pub fn lcores(&self) -> usize {
        self.to.len()
    }

    /// Queues a message for lcore `to` (which may be this one). It is woken by `ring_doorbells`.
    ///
    /// # Errors
    /// Gives the message back if the ring is full or there is no such lcore.
    pub fn send(&mut self, to: usize, message: M) -> Result<(), M> {
        let Some(ring) = self.to.get_mut(to) else {
            return Err(message);
        };
        ring.push(message)
            .map_err(|PushError::Full(message)| message)?;
        self.unrung[to / 64] |= 1 << (to % 64);
        Ok(())
    }

    /// Wakes the lcores sent to since the last call, as far as they sleep. Costs one fence for all of them, and
    /// nothing if nothing was sent.
    pub fn ring_doorbells(&mut self) {
        if self.unrung.iter().all(|&word| word == 0) {
            return;
        }
        Doorbell::published();
        for (at, word) in self.unrung.iter_mut().enumerate() {
            let mut left = std::mem::take(word);
            while left != 0 {
                let to = at * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                self.inboxes[to].bell.ring_published();
            }
        }
    }

    /// Takes one message and says which lcore it came from; `None` for a post of another thread. Sources take turns.
    pub fn pop(&mut self) -> Option<(Option<usize>, M)> {
        let sources = self.from.len() + 1;
        // Once around, and the first source again, if it was left because its share was used up.
        for _ in 0..=sources {
            if self.share > 0 {
                let message = match self.from.get_mut(self.source) {
                    Some(ring) => ring.pop().ok().map(|message| (Some(self.source), message)),
                    None => self.pop_post().map(|message| (None, message)),
                };
                if message.is_some() {
                    self.share -= 1;
                    return message;
                }
            }
            self.source += 1;
            if self.source == sources {
                self.source = 0;
            }
            self.share = SHARE;
        }
        None
    }

    fn pop_post(&self) -> Option<M> {
        let posts = &self.inboxes[self.index].posts;
        // To find the queue empty, `pop` needs a fence; the look before it needs none.
        if posts.is_empty() { None } else { posts.pop() }
    }

    /// Passes up to `max` messages to `f`, with the lcore each came from (`None`: another thread). Sources take
    /// turns, also from one call to the next. Returns how many there were; fewer than `max` means that all were
    /// empty.
    pub fn drain(&mut self, max: usize, mut f: impl FnMut(Option<usize>, M)) -> usize {
        for taken in 0..max {
            let Some((from, message)) = self.pop() else {
                return taken;
            };
            f(from, message);
        }
        max
    }

    /// Whether nothing is queued for this lcore.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty) && self.inboxes[self.index].posts.is_empty()
    }

    /// A handle with which other threads post to this lcore.
    #[must_use]
    pub fn poster(&self) -> Poster<M> {
        Poster(Arc::clone(&self.inboxes[self.index]))
    }

    /// Says how to wake this lcore out of its poller, from any thread; a wake that comes before the sleep must end
    /// that sleep. To be said once, before the first `prepare_sleep`; `false` if it was said before, which changes
    /// nothing.
    pub fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) -> bool {
        self.inboxes[self.index].bell.set_waker(Box::new(wake))
    }

    /// Announces that this lcore is going to sleep. `false`: do not, something is queued (or nobody could wake it,
    /// for want of a waker). From `true` on, whatever is queued leads to a wake. Call `awake` afterwards either way.
    #[must_use]
    pub fn prepare_sleep(&self) -> bool {
        let bell = &self.inboxes[self.index].bell;
        if !bell.has_waker() {
            return false;
        }
        bell.announce();
        let sleep = self.is_empty();
        if !sleep {
            bell.awake();
        }
        sleep
    }

    /// This lcore is up: nobody need ring.
    pub fn awake(&self) {
        self.inboxes[self.index].bell.awake();
    }
}

impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox")
            .field("index", &self.index)
            .field("lcores", &self.to.len())
            .finish_non_exhaustive()
    }
}

/// Posts messages to one lcore, from any thread.
pub struct Poster<M>(Arc<Inbox<M>>);

impl<M> Poster<M> {
    /// Queues a message and wakes the lcore if it sleeps.
    ///
    /// # Errors
    /// Gives the message back if the inbox is full.
    pub fn post(&self, message: M) -> Result<(), M> {
        self.0.posts.push(message)?;
        self.0.bell.ring();
        Ok(())
    }
}

impl<M> Clone for Poster<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Poster<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poster")
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
