//! An open port: its link is watched by a thread that owns no queue, and its end accounts for every frame.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hioload_dpdk::{Closed, Port, PortStats};

use super::describe;
use crate::error::Error;

/// Time between two looks at the link.
const EVERY: Duration = Duration::from_millis(250);

/// An open port. A thread logs when its link goes up or down. [`close`](Self::close) it after the server has ended; a port that is
/// dropped closes too, without an account of its frames.
#[derive(Debug)]
pub struct DpdkPort {
    name: String,
    /// `None` only while it is dropped.
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    thread: JoinHandle<Port>,
    /// Ends the thread when it is dropped.
    stop: Sender<()>,
}

/// The end of a port whose frames are all accounted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PortEnd {
    /// Frames (mbufs) of the port.
    pub frames: usize,
    /// Frames that its driver keeps: net_af_xdp does not return the frames in its rings.
    pub kept_by_driver: usize,
    /// What the port has counted.
    pub stats: PortStats,
}

impl DpdkPort {
    pub(super) fn watched(port: Port) -> Result<Self, Error> {
        let name = port.info().name.clone();
        let (stop, stopped) = mpsc::channel();
        let watch = move || {
            let mut known = port.link();
            describe::log_link(&port, known);
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                // The queues of a removed port end with an error of their own.
                if port.is_removed() {
                    break;
                }
                let link = port.link();
                if link != known {
                    known = link;
                    describe::log_link(&port, link);
                }
            }
            let _ = stopped.recv();
            port
        };
        let thread = thread::Builder::new()
            .name("dpdk-port".to_owned())
            .spawn(watch)
            .map_err(|why| Error::System("start the thread that watches the port", why))?;
        let watch = Some(Watch { thread, stop });
        Ok(Self { name, watch })
    }

    /// The port's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Stops and closes the port, and accounts for its frames.
    ///
    /// # Errors
    /// Queues of the port are still in use, DPDK refuses to close it, or frames are missing ([`Error::LostFrames`]).
    pub fn close(mut self) -> Result<PortEnd, Error> {
        let Some(port) = self.end_watch() else {
            unreachable!("only drop and this function end the watch");
        };
        let name = &self.name;
        let frames = port.frames();
        let stats = port.stats();
        tracing::info!("{name} counted {stats:?}");
        for (counter, value) in port.xstats().iter().filter(|(_, value)| *value > 0) {
            tracing::debug!("{name} {counter} {value}");
        }
        let driver = port.info().driver.clone();
        let closed = port.close()?;
        let kept_by_driver = frames_kept(&closed, &driver).ok_or_else(|| Error::LostFrames {
            port: name.clone(),
            frames,
            missing: closed.frames_in_use.unwrap_or(0),
            frames_held: closed.frames_held,
        })?;
        if kept_by_driver == 0 {
            tracing::info!("{name} is closed, all {frames} mbufs are back in their pools");
        } else {
            tracing::info!(
                "{name} is closed, all {frames} mbufs are accounted for: {kept_by_driver} are in rings of {driver}, which keeps them"
            );
        }
        Ok(PortEnd {
            frames,
            kept_by_driver,
            stats,
        })
    }

    fn end_watch(&mut self) -> Option<Port> {
        let Watch { thread, stop } = self.watch.take()?;
        drop(stop);
        match thread.join() {
            Ok(port) => Some(port),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for DpdkPort {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = self.end_watch();
        }
    }
}

/// Frames in use that the driver explains; `None` if there are others.
fn frames_kept(closed: &Closed, driver: &str) -> Option<usize> {
    match closed.frames_in_use {
        None | Some(0) => Some(0),
        Some(count) if closed.kept_by_driver(driver) => Some(count),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_in_use_are_lost_unless_the_driver_keeps_them() {
        let closed = |frames_in_use, frames_held| Closed {
            frames_in_use,
            frames_held,
        };
        assert_eq!(frames_kept(&closed(None, 0), "net_ring"), Some(0));
        assert_eq!(frames_kept(&closed(Some(0), 0), "net_ring"), Some(0));
        assert_eq!(frames_kept(&closed(Some(3), 0), "net_ring"), None);
        assert_eq!(frames_kept(&closed(Some(3), 0), "net_af_xdp"), Some(3));
        assert_eq!(frames_kept(&closed(Some(3), 1), "net_af_xdp"), None);
    }
}
