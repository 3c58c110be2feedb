//! What an lcore does now, as other threads may read it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use hioload_transport::ConnId;

/// A step of an lcore's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Step {
    /// It waits for events or has not started. It may do so for ever.
    Waiting,
    /// It runs the commands of its mailbox.
    Commands,
    /// It runs timers.
    Timers,
    /// It calls `on_turn` of the handler.
    Turn,
    /// It accepts connections and passes received bytes to the handler.
    Dispatch,
    /// It sends.
    Flush,
    /// It closes its connections, to end.
    Finish,
    /// It has ended.
    Ended,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Waiting,
        Self::Commands,
        Self::Timers,
        Self::Turn,
        Self::Dispatch,
        Self::Flush,
        Self::Finish,
        Self::Ended,
    ];

    /// Whether an lcore may stay in this step.
    pub(crate) fn may_last(self) -> bool {
        matches!(self, Self::Waiting | Self::Ended)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "wait",
            Self::Commands => "commands",
            Self::Timers => "timers",
            Self::Turn => "on_turn",
            Self::Dispatch => "dispatch",
            Self::Flush => "flush",
            Self::Finish => "finish",
            Self::Ended => "ended",
        })
    }
}

/// No connection.
const NONE: u64 = u64::MAX;

/// The present step of one lcore and its connection. The lcore writes it with plain stores and reads no clock; the watchdog reads
/// it. The two values may be of different moments, which does not matter once the lcore is stalled.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    step: AtomicU8,
    conn: AtomicU64,
    /// Written by the watchdog.
    stalled: AtomicBool,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self {
            step: AtomicU8::new(Step::Waiting as u8),
            conn: AtomicU64::new(NONE),
            stalled: AtomicBool::new(false),
        }
    }
}

impl Heartbeat {
    /// The lcore begins a step.
    #[inline]
    pub(crate) fn enter(&self, step: Step) {
        self.conn.store(NONE, Ordering::Relaxed);
        self.step.store(step as u8, Ordering::Relaxed);
    }

    /// The lcore turns to a connection.
    #[inline]
    pub(crate) fn visit(&self, id: ConnId) {
        let both = u64::from(id.generation) << 32 | u64::from(id.index);
        self.conn.store(both, Ordering::Relaxed);
    }

    /// The step of the lcore.
    pub(crate) fn step(&self) -> Step {
        Step::ALL[usize::from(self.step.load(Ordering::Relaxed)) % Step::ALL.len()]
    }

    /// The connection that the lcore turned to last in this step.
    pub(crate) fn conn(&self) -> Option<ConnId> {
        let both = self.conn.load(Ordering::Relaxed);
        (both != NONE).then_some(ConnId {
            index: both as u32,
            generation: (both >> 32) as u32,
        })
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// The watchdog's verdict.
    pub(crate) fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_has_its_number() {
        let heartbeat = Heartbeat::default();
        assert_eq!(heartbeat.step(), Step::Waiting);
        for step in Step::ALL {
            heartbeat.enter(step);
            assert_eq!((heartbeat.step(), heartbeat.conn()), (step, None));
        }
        let id = ConnId {
            index: 7,
            generation: 3,
        };
        heartbeat.visit(id);
        assert_eq!(heartbeat.conn(), Some(id));
        heartbeat.enter(Step::Flush);
        assert_eq!(heartbeat.conn(), None);
    }
}
