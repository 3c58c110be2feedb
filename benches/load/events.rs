//! The client's event loop: edge-triggered epoll that spins instead of sleeping.
//!
//! Spinning costs the client its own core and nothing else. A sleeping client would have to be woken by each write of the server.
//! That work would be a large share of the measured time, and a different one for each server.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Events taken in one call.
const BATCH: usize = 512;

/// A connection that is readable or writable.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    /// The number given to [`Events::add`].
    pub(crate) index: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The sockets of the client, and the time in which none of them was ready.
pub(crate) struct Events {
    epoll: OwnedFd,
    buffer: Vec<MaybeUninit<Event>>,
    ready: Vec<Ready>,
    /// End of the last call that found nothing ready; `None` after a call that found something.
    idle_since: Option<Instant>,
    idle_nanos: u64,
}

impl Events {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            buffer: (0..BATCH).map(|_| MaybeUninit::uninit()).collect(),
            ready: Vec::with_capacity(BATCH),
            idle_since: None,
            idle_nanos: 0,
        })
    }

    /// Adds a socket, edge-triggered. A read that returns less than the buffer holds has emptied the socket, and the next byte
    /// causes an event, so no further read is needed.
    pub(crate) fn add(&self, socket: impl AsFd, index: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket, EventData::new_u64(index as u64), flags)?;
        Ok(())
    }

    /// Returns the connections that are ready now, without waiting.
    pub(crate) fn poll(&mut self) -> io::Result<&[Ready]> {
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let (found, _) = epoll::wait(&self.epoll, self.buffer.as_mut_slice(), Some(&now))?;
        self.ready.clear();
        for event in found.iter() {
            let flags = event.flags;
            self.ready.push(Ready {
                index: event.data.u64() as usize,
                readable: flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::ERR),
                writable: flags.contains(EventFlags::OUT),
            });
        }
        if self.ready.is_empty() {
            // The clock is read only when there is nothing else to do.
            let now = Instant::now();
            if let Some(since) = self.idle_since.replace(now) {
                self.idle_nanos += (now - since).as_nanos() as u64;
            }
        } else {
            self.idle_since = None;
        }
        Ok(&self.ready)
    }

    /// Returns the nanoseconds in which nothing was ready, so far.
    pub(crate) fn idle_nanos(&self) -> u64 {
        self.idle_nanos
    }
}
