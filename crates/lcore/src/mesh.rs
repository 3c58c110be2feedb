//! Messages between lcores, and from other threads to an lcore.
//!
//! Every ordered pair of lcores has a bounded ring with one producer and one consumer. Every lcore has an inbox that any
//! thread may post to. Nothing here blocks: a full ring returns the message to the caller. A doorbell wakes an lcore that
//! sleeps: other threads ring it with each post, lcores once at the end of a turn, with [`Mailbox::ring_doorbells`]. A loop does
//! these steps in this order:
//!
//! ```
//! # use hioload_lcore::mesh::{Mailbox, mesh};
//! # let mut boxes = mesh::<u32>(2, 64);
//! # let mut mailbox = boxes.remove(0);
//! # let sleep_in_poller = |mailbox: &Mailbox<u32>| mailbox.poster().post(7);
//! # mailbox.set_waker(|| ());
//! # let mut seen = 0;
//! # while seen == 0 {
//! // 1. Without work: sleep, unless a message is queued already.
//! if mailbox.prepare_sleep() {
//!     sleep_in_poller(&mailbox);
//! #   ;
//! }
//! mailbox.awake();
//! // 2. Handle the messages; this may `send`.
//! mailbox.drain(256, |_from, _message| seen += 1);
//! // 3. Wake the lcores that messages were sent to.
//! mailbox.ring_doorbells();
//! # }
//! ```

use std::fmt;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::doorbell::Doorbell;

/// Messages taken from one source before the next source has its turn.
const SHARE: usize = 32;

/// The part of a mailbox that other threads use.
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
    /// Those of all lcores; `inboxes[index]` is this lcore's own.
    inboxes: Arc<[Arc<Inbox<M>>]>,
    /// A bit for each lcore that a message was sent to since the last `ring_doorbells`.
    unrung: Box<[u64]>,
    /// The source being drained: the index of an lcore, or `from.len()` for the posts.
    source: usize,
    /// Messages that may still be taken from it before the next source has its turn.
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

    /// Queues a message for lcore `to`, which may be this one. `ring_doorbells` wakes it.
    ///
    /// # Errors
    /// Returns the message if the ring is full or there is no such lcore.
    pub fn send(&mut self, to: usize, message: M) -> Result<(), M> {
        let Some(ring) = self.to.get_mut(to) else {
            return Err(message);
        };
        ring.push(message)
            .map_err(|PushError::Full(message)| message)?;
        self.unrung[to / 64] |= 1 << (to % 64);
        Ok(())
    }

    /// Wakes those lcores that messages were sent to since the last call and that sleep. It costs one fence for all of them,
    /// and nothing if no message was sent.
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

    /// Takes one message, with the lcore that it came from (`None`: another thread). Sources take turns.
    pub fn pop(&mut self) -> Option<(Option<usize>, M)> {
        let sources = self.from.len() + 1;
        // Every source once, and the first one again: it may have been left because its share was used up.
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
        // `pop` needs a fence to find the queue empty; `is_empty` needs none.
        if posts.is_empty() { None } else { posts.pop() }
    }

    /// Passes up to `max` messages to `f`, each with the lcore that it came from (`None`: another thread). Sources take turns,
    /// also from one call to the next. Returns the number of messages; fewer than `max` means that all sources are empty.
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

    /// Sets the function that wakes this lcore out of its poller, from any thread. A wake that comes before the sleep must end
    /// that sleep. Call it once, before the first `prepare_sleep`. Returns `false`, and changes nothing, if a waker was set
    /// before.
    pub fn set_waker(&mut self, wake: impl Fn() + Send + Sync + 'static) -> bool {
        self.inboxes[self.index].bell.set_waker(Box::new(wake))
    }

    /// Announces that this lcore is going to sleep. Returns `false` if it must not: a message is queued, or no waker is set.
    /// After `true`, every queued message leads to a wake. Call `awake` afterwards in both cases.
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

    /// Ends the announcement of `prepare_sleep`.
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
    /// Returns the message if the inbox is full.
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
