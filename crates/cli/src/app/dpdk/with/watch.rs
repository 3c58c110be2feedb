//! Looks after an open port, from a thread that owns no queue: whether its link comes and goes, whether it is still there.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hioload_ws::dpdk::{LinkState, Port};

use crate::Failure;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// A port that is looked after.
pub(super) struct Watch {
    thread: JoinHandle<Port>,
    /// Dropped, it ends the watch.
    stop: Sender<()>,
}

impl Watch {
    /// # Errors
    /// The thread could not be started.
    pub(super) fn start(port: Port) -> Result<Self, Failure> {
        let (stop, stopped) = mpsc::channel();
        let look = move || {
            let mut known = port.link();
            tell(&port, known);
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // Its queues learn of it, end, and say so.
                if port.is_removed() {
                    break;
                }
                let link = port.link();
                if link != known {
                    known = link;
                    tell(&port, link);
                }
            }
            let _ = stopped.recv();
            port
        };
        let thread = thread::Builder::new()
            .name("dpdk-port".to_owned())
            .spawn(look)
            .map_err(|why| Failure::run(format!("cannot start a thread: {why}")))?;
        Ok(Self { thread, stop })
    }

    /// Ends it; gives the port back.
    pub(super) fn end(self) -> Port {
        drop(self.stop);
        match self.thread.join() {
            Ok(port) => port,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn tell(port: &Port, link: Option<LinkState>) {
    let name = &port.info().name;
    match link {
        None => tracing::debug!("{name} does not tell of its link"),
        Some(LinkState { up: false, .. }) => tracing::warn!("{name}: the link is down"),
        Some(LinkState { speed: None, .. }) => tracing::info!("{name}: the link is up"),
        Some(LinkState {
            speed: Some(speed), ..
        }) => tracing::info!("{name}: the link is up, {speed} Mbit/s"),
    }
}
