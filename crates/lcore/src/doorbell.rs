//! Wakes a sleeping lcore, without a lock, and without a system call while it is awake.
//!
//! The sleeper announces itself, fences, and checks its queues once more. A thread that has queued something fences and checks
//! for the announcement. One of the two fences comes first: either the sleeper's check sees the queued item, or the other
//! thread sees the announcement and wakes the sleeper. The tests at the end let loom try every interleaving of this code.

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

/// The doorbell of one thread. Only that thread, the owner, calls `announce` and `awake`; any thread may ring.
pub struct Doorbell {
    asleep: AtomicBool,
    /// Set once, by the owner.
    waker: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Doorbell {
    /// A doorbell whose owner is awake and has no waker yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// Sets the function that wakes the owner. A wake that comes before the sleep must end that sleep. Returns `false`, and
    /// changes nothing, if a waker was set before.
    pub fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) -> bool {
        self.waker.set(waker).is_ok()
    }

    /// Whether a waker is set.
    #[must_use]
    pub fn has_waker(&self) -> bool {
        self.waker.get().is_some()
    }

    /// Announces that the owner is about to sleep. It must check its queues after this, and not sleep if one holds an item.
    pub fn announce(&self) {
        // Relaxed: the fence below orders it before the owner's check of its queues. A swap instead of a store places it
        // after every earlier swap of a ringer in the modification order. It happens once per sleep, so it is cheap.
        self.asleep.swap(true, Ordering::Relaxed);
        // Pairs with the fence in `published`. If that one comes first, the owner's check sees the items queued before it.
        // If this one comes first, the ringer's load in `ring_published` sees the swap above.
        fence(Ordering::SeqCst);
    }

    /// Ends the announcement: the owner is awake.
    pub fn awake(&self) {
        // Relaxed: nothing is published by it, and a ringer that still sees `true` only wakes an owner that is awake.
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Must be called after queueing and before `ring_published`. One call serves any number of doorbells.
    pub fn published() {
        // Pairs with the fence in `announce`.
        fence(Ordering::SeqCst);
    }

    /// Wakes the owner if it sleeps or is about to sleep. `published` must have been called after queueing. Returns whether
    /// this call woke the owner.
    pub fn ring_published(&self) -> bool {
        // Relaxed: ordered after the queueing by the fence in `published`.
        if !self.asleep.load(Ordering::Relaxed) {
            return false;
        }
        // Of several ringers one wakes the owner: the one whose swap returns `true`. Relaxed is enough. If it returns `false`,
        // the owner is awake or another ringer wakes it, and the fences order the owner's next check after the published items.
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

    /// Queues as the doorbell sees them: a push is published by a release store and found by an acquire load, as in the
    /// rings. Each pusher has its own.
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

        /// The lcore's loop until it has seen all items. If a wake-up is lost, it sleeps for ever, which loom reports.
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
        // Without a bound this takes minutes. A bound of two finds the absence of either fence.
        model.preemption_bound = Some(2);
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
