//! Starts and stops attacks and reads their counters, from another thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::kind::AttackKind;
use crate::plan::AttackPlan;

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// The counters of each attack.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Count { $($(#[$doc])* $name,)* }

        impl Count {
            /// All counters, in the order of their values.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The last part of the name in a report: `attack.syn-flood.sent`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counts! {
    /// Frames handed to the device; messages written, for an attack with messages.
    Sent = "sent",
    /// Frames that were due and not sent, because no buffer was free or the transmit ring was full; messages that were due and not
    /// written, because no connection had room.
    NoRoom = "no_room",
    /// Bytes of the messages written.
    SentBytes = "sent_bytes",
    /// Messages received.
    Received = "received",
    /// Bytes received.
    ReceivedBytes = "received_bytes",
    /// Messages received that report an error: they begin with `{"error"`.
    Errors = "errors",
    /// Attempts to connect that failed.
    Unconnected = "unconnected",
    /// SYN-ACKs received.
    SynAck = "syn_ack",
    /// Resets received.
    Rst = "rst",
    /// Acknowledgements without payload received. An acknowledgement for no connection is a challenge (RFC 5961).
    Ack = "ack",
    /// Segments with payload received.
    Data = "data",
    /// Connections opened: SYN-ACK received and answered, or connected by the kernel.
    Opened = "opened",
    /// Connections upgraded: status 101.
    Upgraded = "upgraded",
    /// HTTP responses with status 400.
    Http400 = "http_400",
    /// HTTP responses with status 408.
    Http408 = "http_408",
    /// HTTP responses with status 426.
    Http426 = "http_426",
    /// HTTP responses with status 431.
    Http431 = "http_431",
    /// HTTP responses with status 503.
    Http503 = "http_503",
    /// HTTP responses with another status.
    HttpOther = "http_other",
    /// Messages echoed correctly.
    Echoes = "echoes",
    /// Echoes with wrong bytes: a defect of the server.
    Wrong = "wrong",
    /// Close frames of the server with code 1002.
    Close1002 = "close_1002",
    /// Close frames of the server with code 1007.
    Close1007 = "close_1007",
    /// Close frames of the server with code 1009.
    Close1009 = "close_1009",
    /// Close frames of the server with code 1008.
    Close1008 = "close_1008",
    /// Close frames of the server with code 1013.
    Close1013 = "close_1013",
    /// Close frames of the server with another code, or none.
    CloseOther = "close_other",
    /// Connections ended by the server with a FIN.
    Closed = "closed",
    /// Connections that the server did not answer in time.
    Unanswered = "unanswered",
    /// Retransmitted segments.
    Retransmits = "retransmits",
}

const COUNTS: usize = Count::ALL.len();

/// The counters of one attack on one lcore. Only that lcore writes them.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Block([AtomicU64; COUNTS]);

impl Block {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The counters of an lcore for an attack, published once per burst.
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
    /// For each attack, the blocks of all lcores.
    attacks: Vec<(AttackKind, Mutex<Vec<Arc<Block>>>)>,
}

/// The control of a plan's attacks. Clones share it: the [`Attacker`](crate::Attacker)s of all lcores, which read it once per
/// burst, and the threads that control them.
#[derive(Clone, Debug)]
pub struct AttackControl(Arc<Shared>);

impl AttackControl {
    /// A control for the attacks of `plan`, which are not started yet.
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

    /// Starts the attacks. An attacker first waits for a packet of the load, from which it learns the path to the target.
    pub fn start(&self) {
        // Relaxed, here and where it is read: the flag publishes no other data.
        self.0.running.store(true, Ordering::Relaxed);
    }

    /// Stops the attacks. From the next burst on they send only the resets that end their connections.
    pub fn stop(&self) {
        self.0.running.store(false, Ordering::Relaxed);
    }

    /// Whether the attacks are started.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.0.running.load(Ordering::Relaxed)
    }

    /// The sums over all lcores. Counters that are zero are omitted, except `sent`.
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

    /// Makes the counters of an lcore for attack `index` of the plan.
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

/// The counters of all attacks at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttackCounters(BTreeMap<(&'static str, &'static str), u64>);

impl AttackCounters {
    /// One counter.
    #[must_use]
    pub fn get(&self, kind: AttackKind, count: Count) -> u64 {
        let key = (kind.name(), count.name());
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// Names as in the field `extra` of a run in a report, such as `attack.syn-flood.sent`, and values.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.0
            .iter()
            .map(|((kind, count), value)| (format!("attack.{kind}.{count}"), *value))
    }

    /// The differences to `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let differences = self.0.iter().map(|(key, value)| {
            let before = earlier.0.get(key).copied().unwrap_or(0);
            (*key, value.saturating_sub(before))
        });
        Self(differences.collect())
    }
}
