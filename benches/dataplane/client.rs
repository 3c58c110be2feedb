//! A client without a TCP stack: of each flow it keeps the next sequence number to send and the next one expected, builds segments
//! and checks the replies. On a pair of devices everything arrives in order; a segment out of order, a reset, a wrong checksum or
//! a wrong byte ends the run. A flow has 12 bytes, so that a million of them leave the caches to the server.

use hioload_device::{Burst, Device, Frame};

use crate::packet::{self, Header, Link, Source, flag};

/// The client's state of a flow.
#[derive(Clone, Copy, Default)]
struct Flow {
    /// Next sequence number to send.
    seq: u32,
    /// Next sequence number expected.
    ack: u32,
    /// Its index in the last batch that contained it.
    place: u32,
}

pub struct Client<D: Device> {
    device: D,
    link: Link,
    flows: Vec<Flow>,
    tx: Burst<D::Frame>,
    rx: Burst<D::Frame>,
    /// The flows of the batch, and the bytes of replies that each has received.
    batch: Vec<u32>,
    got: Vec<u32>,
    /// Connections that the server has ended.
    pub closed: usize,
    tsval: u32,
}

/// A failed check: one line.
pub type Failure = String;

impl<D: Device> Client<D> {
    pub fn new(device: D, link: Link, flows: usize) -> Self {
        Self {
            device,
            link,
            // Touched here, so that it does not count as memory of the server's connections.
            flows: (0..flows)
                .map(|n| Flow {
                    seq: 0x1000_0000 ^ n as u32,
                    ack: 0,
                    place: 0,
                })
                .collect(),
            tx: Burst::new(),
            rx: Burst::new(),
            batch: Vec::new(),
            got: Vec::new(),
            closed: 0,
            tsval: 1,
        }
    }

    /// Sends a segment on flow `index`.
    pub fn send(&mut self, index: u32, flags: u8, payload: &[u8]) -> Result<(), Failure> {
        let mut frame = self.device.alloc().ok_or("the client has no frame left")?;
        frame.set_len(packet::HEADERS + 8 + payload.len());
        let flow = &mut self.flows[index as usize];
        let header = Header {
            flags,
            seq: flow.seq,
            ack: flow.ack,
            tsval: self.tsval,
        };
        let len = packet::write(
            frame.bytes_mut(),
            &self.link,
            Source::of(index),
            &header,
            payload,
        );
        frame.set_len(len);
        let control = u32::from(flags & flag::SYN != 0) + u32::from(flags & flag::FIN != 0);
        flow.seq = flow.seq.wrapping_add(payload.len() as u32 + control);
        if self.tx.is_full() {
            self.push()?;
        }
        self.tx.push(frame);
        Ok(())
    }

    /// Hands the queued segments to the device.
    pub fn push(&mut self) -> Result<(), Failure> {
        self.device.tx_burst(&mut self.tx);
        if self.tx.is_empty() {
            Ok(())
        } else {
            Err("the client's ring is full".into())
        }
    }

    /// Begins a batch of flows that wait for replies.
    pub fn begin(&mut self, batch: &[u32]) {
        self.batch.clear();
        self.batch.extend_from_slice(batch);
        self.got.clear();
        self.got.resize(batch.len(), 0);
        for (place, &index) in batch.iter().enumerate() {
            self.flows[index as usize].place = place as u32;
        }
    }

    /// Reads the frames that arrived, in order. `check` gets the payload of each reply to a flow of the batch, and the number of
    /// payload bytes received on that flow before it in the batch. Returns the number of frames.
    pub fn receive(
        &mut self,
        mut check: impl FnMut(usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        self.receive_of(|_, at, bytes| check(at, bytes))
    }

    /// The same; `check` gets the flow as well.
    pub fn receive_of(
        &mut self,
        mut check: impl FnMut(u32, usize, &[u8]) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut frames = 0;
        while self.device.rx_burst(&mut self.rx) > 0 {
            for frame in self.rx.drain(..) {
                let Some(segment) = packet::read(frame.bytes()) else {
                    continue;
                };
                if segment.flags & flag::RST != 0 {
                    return Err(format!("the server reset {:?}", segment.to));
                }
                // Every 64th is enough to notice wrong checksums.
                if self.tsval.is_multiple_of(64) && !packet::is_sound(frame.bytes()) {
                    return Err("a reply has a wrong checksum".into());
                }
                self.tsval = self.tsval.wrapping_add(1);
                let index = segment.to.index().ok_or("a reply to an unknown flow")?;
                let flow = self
                    .flows
                    .get_mut(index as usize)
                    .ok_or("a reply to an unknown flow")?;
                if segment.ack.wrapping_sub(flow.seq) as i32 > 0 {
                    return Err(format!(
                        "flow {index}: the server acknowledged bytes that were not sent"
                    ));
                }
                if segment.flags & flag::SYN != 0 {
                    flow.ack = segment.seq.wrapping_add(1);
                } else if is_repeated(&segment, flow.ack) {
                    // The machine paused for longer than the server's RTO.
                    continue;
                } else if segment.seq != flow.ack {
                    return Err(format!(
                        "flow {index}: sequence number {}, expected {}",
                        segment.seq, flow.ack
                    ));
                }
                let place = flow.place as usize;
                if self.batch.get(place) == Some(&index) {
                    let got = &mut self.got[place];
                    check(index, *got as usize, segment.payload)?;
                    *got += segment.payload.len() as u32;
                }
                flow.ack = flow.ack.wrapping_add(segment.payload.len() as u32);
                if segment.flags & flag::FIN != 0 {
                    flow.ack = flow.ack.wrapping_add(1);
                    self.closed += 1;
                }
                frames += 1;
            }
        }
        Ok(frames)
    }

    /// Flows of the batch that have received less than `bytes`.
    pub fn lacking(&self, bytes: usize) -> impl Iterator<Item = u32> {
        let pairs = self.batch.iter().zip(&self.got);
        pairs
            .filter(move |&(_, &got)| (got as usize) < bytes)
            .map(|(&index, _)| index)
    }
}

/// Whether all bytes of a segment were received before.
fn is_repeated(segment: &packet::Segment<'_>, ack: u32) -> bool {
    let len = segment.payload.len() as u32 + u32::from(segment.flags & flag::FIN != 0);
    len > 0 && ack.wrapping_sub(segment.seq.wrapping_add(len)) as i32 >= 0
}
