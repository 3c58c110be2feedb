//! Attacks are begun and ended, and what they count is read, from another thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::plan::{AttackKind, AttackPlan};

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// What is counted of each attack.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Count { $($(#[$doc])* $name,)* }

        impl Count {
            /// All of them, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// In the names of a report: `attack.syn-flood.sent`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counts! {
    /// Frames handed to the device.
    Sent = "sent",
    /// Frames that were due and could not be sent: no buffer was free, or the transmit ring was full.
    NoRoom = "no_room",
    /// SYN-ACKs that came back.
    SynAck = "syn_ack",
    /// Resets that came back.
    Rst = "rst",
    /// Acknowledgements without payload that came back; to what belongs to no connection, a challenge (RFC 5961).
    Ack = "ack",
    /// Segments with payload that came back.
    Data = "data",
    /// Connections that were opened: SYN-ACK received and answered.
    Opened = "opened",
    /// Connections whose upgrade was granted: 101.
    Upgraded = "upgraded",
    /// Answers of HTTP: 400.
    Http400 = "http_400",
    /// 408.
    Http408 = "http_408",
    /// 426.
    Http426 = "http_426",
    /// 431.
    Http431 = "http_431",
    /// 503.
    Http503 = "http_503",
    /// Any other status.
    HttpOther = "http_other",
    /// Messages that came back as they were sent.
    Echoes = "echoes",
    /// Bytes that should have been those of an echo and were others: the server's mistake.
    Wrong = "wrong",
    /// Close frames of the server with code 1002.
    Close1002 = "close_1002",
    /// 1007.
    Close1007 = "close_1007",
    /// 1009.
    Close1009 = "close_1009",
    /// Any other code, or none.
    CloseOther = "close_other",
    /// Connections ended by the server: its FIN.
    Closed = "closed",
    /// Connections on which nothing came of what was sent, in the time there was for it.
    Unanswered = "unanswered",
    /// Segments sent again because they were not acknowledged.
    Retransmits = "retransmits",
}

const COUNTS: usize = Count::ALL.len();

/// The counters of one attack on one lcore: written by that lcore alone.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Block([AtomicU64; COUNTS]);

impl Block {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// What an lcore counts of an attack; published once per burst.
#[derive(Debug)]
pub(crate) struct Tally {
    block: Arc<Block>,
    counts: [u64; COUNTS],
    changed: bool,
}

impl Tally {
    #[inline]
    pub(crate) fn add(&mut self, count: Count, n: u64) {
        self.counts[count as usize] += n;
        self.changed = true;
    }

    #[inline]
    pub(crate) fn bump(&mut self, count: Count) {
        self.add(count, 1);
    }

    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.changed {
            self.changed = false;
            for (shared, count) in self.block.0.iter().zip(self.counts) {
                shared.store(count, Ordering::Relaxed);
            }
        }
    }
}

#[derive(Debug)]
struct Shared {
    running: AtomicBool,
    /// Of each attack, the block of each lcore.
    attacks: Vec<(AttackKind, Mutex<Vec<Arc<Block>>>)>,
}

/// The handle of a plan's attacks: shared by the [`Attacker`](crate::Attacker)s of all lcores and whoever commands them. They
/// look at it once per burst.
#[derive(Clone, Debug)]
pub struct AttackControl(Arc<Shared>);

impl AttackControl {
    /// For the attacks of `plan`, not yet begun.
    #[must_use]
    pub fn new(plan: &AttackPlan) -> Self {
        let attacks = plan.attacks().iter();
        Self(Arc::new(Shared {
            running: AtomicBool::new(false),
            attacks: attacks
                .map(|attack| (attack.kind, Mutex::default()))
                .collect(),
        }))
    }

    /// Begins. An attacker that has not seen a packet of the load yet waits for one: it learns from it how the target is reached.
    pub fn start(&self) {
        // Relaxed, here and where it is read: nothing else is published by it.
        self.0.running.store(true, Ordering::Relaxed);
    }

    /// Ends: no packets of attacks from the next burst on, but for the resets that end their connections.
    pub fn stop(&self) {
        self.0.running.store(false, Ordering::Relaxed);
    }

    /// Whether it was begun and not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.running.load(Ordering::Relaxed)
    }

    /// What was counted so far on all lcores, those that are zero left out.
    #[must_use]
    pub fn counters(&self) -> AttackCounters {
        let mut all = BTreeMap::new();
        for (kind, blocks) in &self.0.attacks {
            let blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
            for &count in Count::ALL {
                let sum = blocks
                    .iter()
                    .map(|block| block.0[count as usize].load(Ordering::Relaxed))
                    .sum();
                if sum > 0 || count == Count::Sent {
                    all.insert((kind.name(), count.name()), sum);
                }
            }
        }
        AttackCounters(all)
    }

    /// The counters of an lcore for attack `index` of the plan.
    pub(crate) fn tally(&self, index: usize) -> Tally {
        let block = Arc::new(Block::new());
        if let Some((_, blocks)) = self.0.attacks.get(index) {
            let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
            blocks.push(Arc::clone(&block));
        }
        Tally {
            block,
            counts: [0; COUNTS],
            changed: false,
        }
    }
}

/// What attacks have counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttackCounters(BTreeMap<(&'static str, &'static str), u64>);

impl AttackCounters {
    /// One of them.
    #[must_use]
    pub fn get(&self, kind: AttackKind, count: Count) -> u64 {
        let key = (kind.name(), count.name());
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// Names as in the field `extra` of a report's runs, such as `attack.syn-flood.sent`, and values.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.0
            .iter()
            .map(|((kind, count), value)| (format!("attack.{kind}.{count}"), *value))
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let differences = self.0.iter().map(|(key, value)| {
            let before = earlier.0.get(key).copied().unwrap_or(0);
            (*key, value.saturating_sub(before))
        });
        Self(differences.collect())
    }
}
