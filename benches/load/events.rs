//! The client's event loop: edge-triggered epoll that spins instead of sleeping.
//!
//! Spinning costs the client its own core and nothing else. It spares the server the wake-up of a sleeping peer in
//! each of its writes, which would otherwise be a good part of what is measured, and a different one for each server.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Events taken in one call.
const BATCH: usize = 512;

/// What happened to a connection.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    /// The number it was added under.
    pub(crate) index: usize,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// The sockets of the client, and how long it found nothing to do.
pub(crate) struct Events {
    epoll: OwnedFd,
    buffer: Vec<MaybeUninit<Event>>,
    ready: Vec<Ready>,
    /// When the last call that found nothing ended, while that goes on.
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

    /// Adds a socket. Edge-triggered: whoever reads less than its buffer holds has emptied the socket and will be told
    /// of the next byte, so no extra read is needed.
    pub(crate) fn add(&self, socket: impl AsFd, index: usize) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, socket, EventData::new_u64(index as u64), flags)?;
        Ok(())
    }

    /// What is ready now, without waiting.
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
            // Reading the clock is free here: there is nothing to do.
            let now = Instant::now();
            if let Some(since) = self.idle_since.replace(now) {
                self.idle_nanos += (now - since).as_nanos() as u64;
            }
        } else {
            self.idle_since = None;
        }
        Ok(&self.ready)
    }

    /// Nanoseconds spent finding nothing ready, so far.
    pub(crate) fn idle_nanos(&self) -> u64 {
        self.idle_nanos
    }
}
