//! The channels between the control thread and an lcore of the generator.
//!
//! Commands go to the lcore, notices come from it. The lcore tests one atomic counter in each turn, so that a message costs
//! neither a lock nor an allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use hioload_lcore::Time;

use crate::meter::Interval;

/// A request from the control thread to an lcore of the generator.
#[derive(Debug)]
pub enum Command {
    /// Open the connections, if the scenario opens them before the load begins.
    Open,
    /// Begin the load.
    Go,
    /// Send a [`Notice::Interval`] with the counters since the last report. The box holds an empty interval to continue with.
    Report(Box<Interval>),
    /// Stop sending and wait for the answers to the messages in flight.
    Halt,
    /// Close all connections and stop the lcore.
    Close,
}

/// A message from an lcore of the generator to the control thread.
#[derive(Debug)]
pub enum Notice {
    /// All connections are open.
    Ready,
    /// The answer to [`Command::Report`].
    Interval {
        /// The lcore that counted.
        lcore: u16,
        /// The end of the interval, on the lcore's clock.
        at: Time,
        /// Open connections.
        open: usize,
        /// The counters.
        interval: Box<Interval>,
    },
    /// The scenario has nothing left to do (`ramp`).
    Finished,
    /// Nothing is in flight any more.
    Drained,
    /// The text of an error that is also counted. An lcore sends only its first few errors.
    Error(String),
    /// The run cannot go on, and the reason.
    Failed(String),
}

/// Sends commands to one lcore.
#[derive(Debug, Clone)]
pub struct CommandSender {
    commands: Sender<Command>,
    sent: Arc<AtomicU64>,
}

impl CommandSender {
    /// Sends a command. It has no effect if the lcore has ended.
    pub fn send(&self, command: Command) {
        if self.commands.send(command).is_ok() {
            self.sent.fetch_add(1, Ordering::Release);
        }
    }
}

/// An lcore's ends of the channels.
#[derive(Debug)]
pub struct ControlLink {
    commands: Receiver<Command>,
    /// Commands sent so far; pairs with the increment in [`CommandSender::send`].
    sent: Arc<AtomicU64>,
    received: u64,
    notices: Sender<Notice>,
}

/// Makes the channels of one lcore. Its notices go to `notices`.
pub fn control_link(notices: Sender<Notice>) -> (CommandSender, ControlLink) {
    let (sender, receiver) = channel();
    let sent = Arc::new(AtomicU64::new(0));
    let commands = CommandSender {
        commands: sender,
        sent: Arc::clone(&sent),
    };
    let link = ControlLink {
        commands: receiver,
        sent,
        received: 0,
        notices,
    };
    (commands, link)
}

impl ControlLink {
    /// The next command. If there is none it costs one load.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Command> {
        if self.sent.load(Ordering::Acquire) == self.received {
            return None;
        }
        let command = self.commands.try_recv().ok()?;
        self.received += 1;
        Some(command)
    }

    pub(crate) fn notify(&self, notice: Notice) {
        // The receiver is gone once the control thread has ended the run.
        let _ = self.notices.send(notice);
    }
}
