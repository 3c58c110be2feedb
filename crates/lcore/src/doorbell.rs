//! How a sleeping lcore is woken, without a lock and without a system call while it is awake.
//!
//! The sleeper announces, fences, and looks at its queues once more; whoever queues something fences and looks for
//! the announcement. Of two fences one comes first: either the sleeper's last look sees what was queued, or the
//! other side sees the announcement and wakes. The tests at the end let loom try every interleaving of this very
//! code.

use std::fmt;
use std::sync::OnceLock;

use sync::{AtomicBool, Ordering, fence};

/// The atomics, or loom's model of them.
mod sync {
    #[cfg(loom)]
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
    #[cfg(not(loom))]
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

/// One sleeper's doorbell. It belongs to one thread, which alone calls `announce` and `awake`; anyone may ring.
pub struct Doorbell {
    asleep: AtomicBool,
    /// Set once, by the owner.
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Doorbell {
    /// A doorbell whose owner is awake, and as yet cannot be woken.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Says how to wake the owner. A wake must not be lost if it comes before the sleep. `false` if that was said
    /// before.
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) -> bool {
        self.waker.set(waker).is_ok()
    }

    /// Whether somebody could wake the owner.
    #[must_use]
    pub fn has_waker(&self) -> bool {
        self.waker.get().is_some()
    }

    /// The owner wants to sleep. It must look at its queues after this, and not sleep if there is something.
    pub fn announce(&self) {
        // Relaxed: the fence below orders it before the owner's look at its queues. A swap, not a store, so that it
        // comes after every ringer's swap that it follows, in the one order the two sides agree on; once per sleep,
        // it is cheap.
        self.asleep.swap(true, Ordering::Relaxed);
        // Pairs with the fence in `published`: if that one comes first, the owner's look sees what was queued before
        // it; if this one comes first, the ringer's load in `ring_published` sees the store above.
        fence(Ordering::SeqCst);
    }

    /// The owner is up.
    pub fn awake(&self) {
        // Relaxed: a ringer that still sees `true` wakes for nothing, which is harmless; there is nothing to publish.
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// To be called after queueing and before `ring_published`; once is enough for any number of doorbells.
    pub fn published() {
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
    }

    /// Wakes the owner if it sleeps or is about to. What was queued must be `published`. Returns whether it was this call
    /// that woke it.
    pub fn ring_published(&self) -> bool {
        // Relaxed: ordered after the queueing by the fence in `published`.
        if !self.asleep.load(Ordering::Relaxed) {
            return false;
        }
        // One ringer of several does the waking. Relaxed is enough: it decides who, and whoever finds `false` here is
        // covered: the owner is up, or will be by another's call, and the fences order its next last look after what
        // was published.
        if self.asleep.swap(false, Ordering::Relaxed)
            && let Some(wake) = self.waker.get()
        {
            wake();
            return true;
        }
        false
    }

    /// `published` and `ring_published` for a single doorbell.
    pub fn ring(&self) -> bool {
        Self::published();
        self.ring_published()
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell")
            .field("asleep", &self.asleep)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Arc, Notify};
    use loom::thread;

    use super::Doorbell;

    /// A queue as the doorbell sees it: what was pushed is published by a release store and found by an acquire
    /// load, as the rings do it. Each pusher has one of its own.
    struct Lcore {
        queues: Vec<AtomicUsize>,
        bell: Doorbell,
        /// Stands for the poller: a wake before the sleep makes the sleep return at once.
        poller: Arc<Notify>,
    }

    impl Lcore {
        fn new(pushers: usize) -> Arc<Self> {
            let poller = Arc::new(Notify::new());
            let bell = Doorbell::new();
            let wake = Arc::clone(&poller);
            assert!(bell.set_waker(Box::new(move || wake.notify())));
            let queues = (0..pushers).map(|_| AtomicUsize::new(0)).collect();
            Arc::new(Self {
                queues,
                bell,
                poller,
            })
        }

        fn push(&self, pusher: usize, value: usize) {
            self.queues[pusher].store(value, Ordering::Release);
            self.bell.ring();
        }

        fn queued(&self) -> usize {
            self.queues
                .iter()
                .map(|queue| queue.load(Ordering::Acquire))
                .sum()
        }

        /// The lcore's loop until it has seen everything. If a wake-up is lost, it sleeps for ever, and loom reports
        /// that.
        fn run_until(&self, all: usize) {
            while self.queued() != all {
                self.bell.announce();
                if self.queued() != all {
                    self.poller.wait();
                }
                self.bell.awake();
            }
        }
    }

    #[test]
    fn loom_no_wakeup_is_lost() {
        loom::model(|| {
            let lcore = Lcore::new(1);
            let there = Arc::clone(&lcore);
            let pusher = thread::spawn(move || there.push(0, 1));
            lcore.run_until(1);
            pusher.join().expect("the pusher ends");
        });
    }

    #[test]
    fn loom_no_wakeup_is_lost_when_one_pusher_pushes_twice() {
        loom::model(|| {
            let lcore = Lcore::new(1);
            let there = Arc::clone(&lcore);
            let pusher = thread::spawn(move || {
                there.push(0, 1);
                there.push(0, 2);
            });
            lcore.run_until(2);
            pusher.join().expect("the pusher ends");
        });
    }

    #[test]
    fn loom_no_wakeup_is_lost_when_two_ring_at_once() {
        let mut model = loom::model::Builder::new();
        // Without a bound this takes minutes. Leaving out either fence fails with a bound of two already.
        model.preemption_bound = Some(3);
        model.check(|| {
            let lcore = Lcore::new(2);
            let pushers: Vec<_> = (0..2)
                .map(|pusher| {
                    let there = Arc::clone(&lcore);
                    thread::spawn(move || there.push(pusher, 1))
                })
                .collect();
            lcore.run_until(2);
            for pusher in pushers {
                pusher.join().expect("the pusher ends");
            }
        });
    }
}
