//! The network that a script plays.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{FakeEnd, FakeOptions};
use crate::streams::{Accepted, Event, Network, Ready};
use crate::{ConnId, Endpoint, Peer, Waker};

/// The network of a [`Fake`](super::Fake). A pipe outlives its connection, so that a test can inspect it.
pub struct FakeNetwork {
    pub(super) options: FakeOptions,
    pub(super) pipes: Vec<Pipe>,
    pub(super) by_id: HashMap<ConnId, usize>,
    pub(super) backlog: VecDeque<(ConnId, usize)>,
    pub(super) accept_errors: VecDeque<ErrorKind>,
    pub(super) events: VecDeque<(usize, Ready)>,
    /// Pipes that report when the network takes bytes.
    pub(super) writers: BTreeSet<usize>,
    pub(super) listening: bool,
    pub(super) flushes: u64,
    pub(super) woken: Arc<AtomicBool>,
    pub(super) last_wait: Option<Option<Duration>>,
}

/// One connection, as the network has it.
pub(super) struct Pipe {
    pub(super) peer: Peer,
    pub(super) to: Option<Endpoint>,
    pub(super) outcome: Option<Result<(), ErrorKind>>,
    /// Attached under this id: edges are reported.
    pub(super) id: Option<ConnId>,
    pub(super) arrived: VecDeque<u8>,
    pub(super) fin: bool,
    pub(super) reset: bool,
    pub(super) sent: Vec<u8>,
    pub(super) window: usize,
    pub(super) left: usize,
    pub(super) flush: u64,
    pub(super) finished: bool,
    pub(super) end: Option<FakeEnd>,
}

/// The transport's end of a pipe.
pub struct FakeStream(usize);

impl FakeNetwork {
    pub(super) fn new(options: &FakeOptions) -> Self {
        Self {
            options: options.clone(),
            pipes: Vec::new(),
            by_id: HashMap::new(),
            backlog: VecDeque::new(),
            accept_errors: VecDeque::new(),
            events: VecDeque::new(),
            writers: BTreeSet::new(),
            listening: true,
            flushes: 0,
            woken: Arc::new(AtomicBool::new(false)),
            last_wait: None,
        }
    }

    pub(super) fn add(&mut self, peer: Peer, to: Option<Endpoint>) -> usize {
        self.pipes.push(Pipe {
            peer,
            to,
            outcome: None,
            id: None,
            arrived: VecDeque::new(),
            fin: false,
            reset: false,
            sent: Vec::new(),
            window: self.options.window,
            left: 0,
            flush: 0,
            finished: false,
            end: None,
        });
        self.pipes.len() - 1
    }

    pub(super) fn pipe(&self, id: ConnId) -> Option<&Pipe> {
        self.by_id.get(&id).map(|&at| &self.pipes[at])
    }

    fn end_pipe(&mut self, at: usize, end: FakeEnd) {
        let pipe = &mut self.pipes[at];
        // A peer that has reset the connection sees nothing else than its reset.
        pipe.end = Some(if pipe.reset { FakeEnd::Reset } else { end });
        pipe.id = None;
        self.writers.remove(&at);
    }

    /// Changes an open pipe and reports an edge.
    pub(super) fn change(
        &mut self,
        id: ConnId,
        ready: Ready,
        change: impl FnOnce(&mut Pipe),
    ) -> bool {
        let Some(&at) = self.by_id.get(&id) else {
            return false;
        };
        let pipe = &mut self.pipes[at];
        if pipe.end.is_some() {
            return false;
        }
        change(pipe);
        if pipe.id.is_some() {
            self.events.push_back((at, ready));
        }
        true
    }
}

pub(super) const ARRIVED: Ready = Ready {
    readable: true,
    writable: false,
    read_closed: false,
    error: false,
};
pub(super) const ENDED: Ready = Ready {
    readable: true,
    writable: false,
    read_closed: true,
    error: false,
};
pub(super) const FAILED: Ready = Ready {
    readable: true,
    writable: true,
    read_closed: true,
    error: true,
};
pub(super) const WRITABLE: Ready = Ready {
    readable: false,
    writable: true,
    read_closed: false,
    error: false,
};

impl Network for FakeNetwork {
    type Stream = FakeStream;
    const CHOOSES_SLOTS: bool = true;

    fn name(&self) -> &'static str {
        "fake"
    }

    fn can_block(&self) -> bool {
        self.options.can_block
    }

    fn short_means_drained(&self) -> bool {
        self.options.short_means_drained
    }

    fn poll(&mut self, timeout: Option<Duration>, sink: impl FnMut(Event)) -> io::Result<()> {
        self.last_wait = Some(timeout);
        self.known(sink);
        Ok(())
    }

    fn known(&mut self, mut sink: impl FnMut(Event)) {
        while let Some((at, ready)) = self.events.pop_front() {
            match self.pipes.get(at).map(|pipe| pipe.id) {
                None => sink(Event::Backlog),
                Some(Some(id)) => sink(Event::Stream(id.index, ready)),
                Some(None) => {}
            }
        }
        for pipe in self.writers.iter().map(|&at| &self.pipes[at]) {
            if let Some(id) = pipe.id.filter(|_| pipe.window > 0) {
                sink(Event::Stream(id.index, WRITABLE));
            }
        }
    }

    fn waker(&self) -> Waker {
        let woken = Arc::clone(&self.woken);
        Waker::new(move || woken.store(true, Ordering::Release))
    }

    fn accept(&mut self) -> io::Result<Accepted<FakeStream>> {
        if let Some(kind) = self.accept_errors.pop_front() {
            return Err(kind.into());
        }
        let (id, at) = self.backlog.pop_front().ok_or(ErrorKind::WouldBlock)?;
        Ok(Accepted {
            stream: FakeStream(at),
            peer: self.pipes[at].peer,
            slot: Some(id),
        })
    }

    fn recheck_backlog(&mut self) {}

    fn stop_listening(&mut self) {
        self.listening = false;
        for (_, at) in self.backlog.drain(..) {
            self.pipes[at].end = Some(FakeEnd::Reset);
        }
    }

    fn connect(&mut self, to: &Endpoint) -> io::Result<FakeStream> {
        let peer = match to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        Ok(FakeStream(self.add(peer, Some(to.clone()))))
    }

    fn connected(&mut self, stream: &mut FakeStream) -> io::Result<bool> {
        match self.pipes[stream.0].outcome {
            None => Ok(false),
            Some(Ok(())) => Ok(true),
            Some(Err(kind)) => Err(kind.into()),
        }
    }

    fn attach(&mut self, stream: &mut FakeStream, id: ConnId, _writable: bool) -> io::Result<()> {
        // The edge of a connect comes with its outcome.
        let pipe = &mut self.pipes[stream.0];
        pipe.id = Some(id);
        self.by_id.insert(id, stream.0);
        if !pipe.arrived.is_empty() || pipe.fin || pipe.reset {
            let ready = Ready {
                read_closed: pipe.fin,
                error: pipe.reset,
                ..ARRIVED
            };
            self.events.push_back((stream.0, ready));
        }
        Ok(())
    }

    fn want_write(&mut self, stream: &mut FakeStream, _id: ConnId, on: bool) -> io::Result<()> {
        if on {
            self.writers.insert(stream.0);
        } else {
            self.writers.remove(&stream.0);
        }
        Ok(())
    }

    fn recv(&mut self, stream: &mut FakeStream, buf: &mut [u8]) -> io::Result<usize> {
        let pipe = &mut self.pipes[stream.0];
        let n = buf.len().min(pipe.arrived.len());
        for (byte, arrived) in buf.iter_mut().zip(pipe.arrived.drain(..n)) {
            *byte = arrived;
        }
        match n {
            0 if pipe.reset => Err(ErrorKind::ConnectionReset.into()),
            0 if pipe.fin => Ok(0),
            0 => Err(ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    fn begin_flush(&mut self) {
        self.flushes += 1;
    }

    fn send(&mut self, stream: &mut FakeStream, bytes: &[u8]) -> io::Result<usize> {
        self.send_vectored(stream, &[IoSlice::new(bytes)])
    }

    fn send_vectored(
        &mut self,
        stream: &mut FakeStream,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        let pipe = &mut self.pipes[stream.0];
        if pipe.reset || pipe.finished {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if pipe.flush != self.flushes {
            pipe.flush = self.flushes;
            pipe.left = pipe.window;
        }
        if pipe.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut taken = 0;
        for slice in slices {
            let n = slice.len().min(pipe.left);
            pipe.sent.extend_from_slice(&slice[..n]);
            pipe.left -= n;
            taken += n;
        }
        Ok(taken)
    }

    fn finish(&mut self, stream: &mut FakeStream) -> io::Result<()> {
        self.pipes[stream.0].finished = true;
        Ok(())
    }

    fn take_error(&mut self, stream: &mut FakeStream) -> Option<io::Error> {
        self.pipes[stream.0]
            .reset
            .then(|| ErrorKind::ConnectionReset.into())
    }

    fn close(&mut self, stream: FakeStream) {
        self.end_pipe(stream.0, FakeEnd::Closed);
    }

    fn reset(&mut self, stream: FakeStream) {
        self.end_pipe(stream.0, FakeEnd::Reset);
    }
}
