//! The template of a layer.

use std::io;

use hioload_mem::LocalShared;

use super::{BySlot, Layer, View};
use crate::{Closed, ConnId, Connections, Driver, Endpoint, Peer, SendError, Taken};

/// Bytes that went through a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bytes {
    /// Bytes that the driver above consumed.
    pub received: u64,
    /// Bytes that the driver above queued, and did not drop.
    pub sent: u64,
}

/// A layer that passes everything through and counts the bytes of each connection.
///
/// It is the template of a layer. Tests and the `dataplane` benchmark put it between a transport and its driver, to prove
/// that a layer is possible and costs nothing measurable.
#[derive(Debug, Default)]
pub struct PassThrough {
    open: BySlot<Bytes>,
    ended: Bytes,
    connections: usize,
}

impl PassThrough {
    /// A layer without connections.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            open: BySlot::new(),
            ended: Bytes {
                received: 0,
                sent: 0,
            },
            connections: 0,
        }
    }

    /// The bytes of a connection; `None` if the id is stale.
    #[must_use]
    pub fn bytes(&self, id: ConnId) -> Option<Bytes> {
        self.open.get(id).copied()
    }

    /// The bytes of all connections, including those that have ended.
    #[must_use]
    pub fn bytes_of_all(&self) -> Bytes {
        let mut all = self.ended;
        for bytes in self.open.iter() {
            all.received += bytes.received;
            all.sent += bytes.sent;
        }
        all
    }

    /// Connections that have state in this layer.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections
    }

    fn begin(&mut self, id: ConnId) {
        self.open.insert(id, Bytes::default());
        self.connections += 1;
    }

    fn end(&mut self, id: ConnId) {
        if let Some(bytes) = self.open.remove(id) {
            self.ended.received += bytes.received;
            self.ended.sent += bytes.sent;
            self.connections -= 1;
        }
    }

    #[inline]
    fn count_sent(&mut self, id: ConnId, n: usize) {
        if let Some(bytes) = self.open.get_mut(id) {
            bytes.sent += n as u64;
        }
    }
}

impl Layer for PassThrough {
    fn on_accept<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        peer: Peer,
    ) -> bool {
        self.begin(id);
        let accepted = above.on_accept(&mut View::new(self, below), id, peer);
        if !accepted {
            // No `on_closed` follows.
            self.end(id);
        }
        accepted
    }

    fn connect<C: Connections>(&mut self, below: &mut C, to: &Endpoint) -> io::Result<ConnId> {
        let id = below.connect(to)?;
        self.begin(id);
        Ok(id)
    }

    fn on_connect<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        result: io::Result<()>,
    ) {
        if result.is_err() {
            self.end(id);
        }
        above.on_connect(&mut View::new(self, below), id, result);
    }

    #[inline]
    fn on_data<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        data: &mut [u8],
    ) -> Taken {
        let taken = above.on_data(&mut View::new(self, below), id, data);
        if let Some(bytes) = self.open.get_mut(id) {
            bytes.received += taken.bytes as u64;
        }
        taken
    }

    #[inline]
    fn prefetch(&self, index: u32) {
        self.open.prefetch(index);
    }

    fn on_closed<C: Connections, D: Driver>(
        &mut self,
        below: &mut C,
        above: &mut D,
        id: ConnId,
        why: Closed,
    ) {
        above.on_closed(&mut View::new(self, below), id, why);
        self.end(id);
    }

    #[inline]
    fn commit<C: Connections>(&mut self, below: &mut C, id: ConnId, n: usize) {
        below.commit(id, n);
        self.count_sent(id, n);
    }

    fn send_shared<C: Connections>(
        &mut self,
        below: &mut C,
        id: ConnId,
        payload: LocalShared,
        droppable: bool,
    ) -> Result<(), SendError> {
        let n = payload.len();
        below.send_shared(id, payload, droppable)?;
        self.count_sent(id, n);
        Ok(())
    }

    fn drop_oldest<C: Connections>(&mut self, below: &mut C, id: ConnId) -> Option<usize> {
        let n = below.drop_oldest(id)?;
        if let Some(bytes) = self.open.get_mut(id) {
            bytes.sent -= n as u64;
        }
        Some(n)
    }
}
