//! The device of smoltcp: it receives one IP packet, and sends any number.
//!
//! smoltcp writes a packet once, into a frame of our device, behind room for the Ethernet header. This module adds the header and
//! the checksums. It also records the TCP header, which has state that smoltcp does not expose.

use std::net::IpAddr;

use hioload_device::{Burst, Device, Frame, TxChecksum};
use hioload_lcore::Time;
use smoltcp::phy::{self, ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::checksum;
use crate::next_hop::NextHop;
use crate::parse::flags;
use crate::source_limit::{self, Source, SourceLimit};

/// The fields of a TCP header that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sent {
    /// The number of payload bytes.
    pub payload: usize,
    /// See [`flags`].
    pub flags: u8,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number.
    pub ack: u32,
}

/// Counters of sending.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sends {
    pub segments: u64,
    pub payload: u64,
    pub rst: u64,
    pub rst_limited: u64,
    pub no_frames: u64,
    pub drops: u64,
}

/// The device and the frames that wait for it.
pub(crate) struct Port<D: Device> {
    pub(crate) device: D,
    /// Frames that wait for the transmit queue.
    pending: Burst<D::Frame>,
    /// Our MAC address.
    mac: [u8; 6],
    /// The MTU of the device.
    pub(crate) mtu: usize,
    /// The device computes TCP checksums.
    offload: bool,
    /// The next hop of the next packets.
    pub(crate) next_hop: NextHop,
    /// Packets are put into `held` instead of being sent.
    pub(crate) hold: bool,
    pub(crate) held: Option<D::Frame>,
    /// The last segment sent since this was last cleared.
    pub(crate) last: Option<Sent>,
    /// Limits RSTs, challenge ACKs and other answers to unexpected segments, by the host that they go to.
    answers: SourceLimit,
    now: Time,
    /// A packet could not be sent since this was last cleared, because there was no frame or no room in the queue.
    pub(crate) starved: bool,
    pub(crate) sends: Sends,
    /// Receives packets for which there is no frame.
    scratch: Vec<u8>,
    /// A frame allocated in advance, for packets that must not be lost.
    spare: Option<D::Frame>,
}

impl<D: Device> Port<D> {
    pub(crate) fn new(device: D, mac: [u8; 6], answers: SourceLimit, now: Time) -> Self {
        let can = device.capabilities();
        Self {
            pending: Burst::new(),
            mac,
            mtu: can.mtu,
            offload: can.tx_checksum,
            next_hop: NextHop::UNRESOLVED,
            hold: false,
            held: None,
            last: None,
            answers,
            now,
            starved: false,
            sends: Sends::default(),
            scratch: vec![0; can.mtu.max(65_535)],
            spare: None,
            device,
        }
    }

    /// Begins a turn.
    pub(crate) fn begin(&mut self, now: Time) {
        self.now = now;
    }

    /// Sends the waiting frames, as many as the device accepts.
    pub(crate) fn flush(&mut self) {
        self.device.tx_burst(&mut self.pending);
    }

    /// Whether frames wait for the device.
    pub(crate) fn is_backed_up(&self) -> bool {
        !self.pending.is_empty()
    }

    /// A frame to send, if one is free and the queue has room for it.
    #[inline]
    fn frame(&mut self) -> Option<D::Frame> {
        if self.pending.is_full() {
            self.flush();
            if self.pending.is_full() {
                self.starved = true;
                return None;
            }
        }
        let frame = self.spare.take().or_else(|| self.device.alloc());
        if frame.is_none() {
            self.starved = true;
            self.sends.no_frames += 1;
        }
        frame
    }

    /// Reserves a frame, and room in the queue, for the next packet. Returns whether there was one.
    #[inline]
    pub(crate) fn reserve(&mut self) -> bool {
        if self.spare.is_none() || self.pending.is_full() {
            self.spare = self.frame();
        }
        self.spare.is_some()
    }

    /// Frees the reserved frame.
    pub(crate) fn give_back(&mut self) {
        self.spare = None;
    }

    /// Queues a complete Ethernet frame.
    pub(crate) fn push(&mut self, frame: D::Frame) {
        if self.pending.is_full() {
            self.flush();
        }
        if self.pending.try_push(frame).is_err() {
            self.sends.drops += 1;
        }
    }

    /// Makes and queues a frame: `write` writes a complete Ethernet frame and returns its length, or 0 to send nothing.
    pub(crate) fn send_raw(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let Some(mut frame) = self.frame() else {
            return false;
        };
        frame.set_len(frame.room());
        let len = write(frame.bytes_mut()).min(frame.len());
        frame.set_len(len);
        if len > 0 {
            self.push(frame);
        }
        len > 0
    }

    /// Takes one answer to `host` from the limit, whether there is something to send or not. Returns whether there was one left.
    pub(crate) fn take_answer(&mut self, host: Source) -> bool {
        self.answers.allow(host, self.now)
    }

    /// Whether an answer may be sent to `host`. If so, it is counted.
    fn may_answer(&mut self, host: Source) -> bool {
        let may = self.take_answer(host);
        self.sends.rst_limited += u64::from(!may);
        may
    }

    /// Queues a complete answer to `host` if the limit permits it.
    pub(crate) fn push_answer(&mut self, host: Source, frame: D::Frame) {
        if self.may_answer(host) {
            self.push(frame);
        }
    }

    /// Makes and queues a TCP/IP packet of `len` bytes to `host`; `write` writes all but the checksums. It counts against the limit
    /// of answers.
    pub(crate) fn answer(
        &mut self,
        next_hop: NextHop,
        host: Source,
        len: usize,
        write: impl FnOnce(&mut [u8]),
    ) {
        if !self.may_answer(host) {
            return;
        }
        let Some(mut frame) = self.frame() else {
            return;
        };
        if frame.room() >= len {
            frame.set_len(len);
            write(frame.bytes_mut());
            self.next_hop = next_hop;
            self.finish(frame);
        }
    }

    /// Completes an IP packet to an Ethernet frame, and queues it.
    #[inline]
    fn finish(&mut self, mut frame: D::Frame) {
        let Some((tcp_at, sent)) = look(frame.bytes()) else {
            self.sends.drops += 1;
            return;
        };
        let header = if self.next_hop.vlan.is_some() { 18 } else { 14 };
        if frame.headroom() < header {
            self.sends.drops += 1;
            return;
        }
        self.last = Some(sent);
        self.sends.segments += 1;
        self.sends.payload += sent.payload as u64;
        self.sends.rst += u64::from(sent.flags & flags::RST != 0);
        let packet = frame.bytes_mut();
        let v4 = packet[0] >> 4 == 4;
        if v4 {
            checksum::fill_ipv4_header(&mut packet[..20]);
        }
        if self.offload {
            checksum::fill_partial(packet, tcp_at, checksum::TCP);
            frame.set_tx_checksum(TxChecksum::Fill {
                start: (header + tcp_at) as u16,
                offset: checksum::offset(checksum::TCP) as u16,
            });
        } else {
            checksum::fill(packet, tcp_at, checksum::TCP);
        }
        frame.grow_front(header);
        let bytes = frame.bytes_mut();
        bytes[..6].copy_from_slice(&self.next_hop.mac);
        bytes[6..12].copy_from_slice(&self.mac);
        let ethertype: [u8; 2] = if v4 { [0x08, 0x00] } else { [0x86, 0xdd] };
        if let Some(vlan) = self.next_hop.vlan {
            bytes[12..14].copy_from_slice(&[0x81, 0x00]);
            bytes[14..16].copy_from_slice(&vlan.to_be_bytes());
            bytes[16..18].copy_from_slice(&ethertype);
        } else {
            bytes[12..14].copy_from_slice(&ethertype);
        }
        if self.hold {
            self.held = Some(frame);
        } else {
            self.push(frame);
        }
    }

    /// Whether smoltcp may send this answer: an RST counts against the limit of answers.
    fn may_reply(&mut self, packet: &[u8]) -> bool {
        let is_rst = look(packet).is_some_and(|(_, sent)| sent.flags & flags::RST != 0);
        !is_rst || self.may_answer(destination(packet).map_or(0, source_limit::of_ip))
    }
}

/// The destination of an IP packet.
fn destination(packet: &[u8]) -> Option<IpAddr> {
    match packet.first()? >> 4 {
        4 => Some(IpAddr::from(*packet.get(16..)?.first_chunk::<4>()?)),
        6 => Some(IpAddr::from(*packet.get(24..)?.first_chunk::<16>()?)),
        _ => None,
    }
}

/// The offset and the fields of the TCP header in an IP packet of smoltcp or ours, which has no IP options or extension
/// headers.
#[inline]
fn look(packet: &[u8]) -> Option<(usize, Sent)> {
    let at = match packet.first()? >> 4 {
        4 => 20,
        6 => 40,
        _ => return None,
    };
    let header = packet.get(at..)?.first_chunk::<20>()?;
    let data = at + usize::from(header[12] >> 4) * 4;
    Some((
        at,
        Sent {
            payload: packet.len().checked_sub(data)?,
            flags: header[13],
            seq: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ack: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        },
    ))
}

/// The port as a device of smoltcp, for one call.
pub(crate) struct Lent<'p, 'r, D: Device> {
    pub(crate) port: &'p mut Port<D>,
    /// The packet to receive.
    pub(crate) packet: Option<&'r [u8]>,
    /// The MTU of the path. smoltcp reads it once, when an interface is made.
    pub(crate) mtu: usize,
}

/// The capabilities of a device with this MTU, for smoltcp.
pub(crate) fn capabilities(mtu: usize) -> DeviceCapabilities {
    let mut all = DeviceCapabilities::default();
    all.medium = Medium::Ip;
    all.max_transmission_unit = mtu;
    all.checksum = ChecksumCapabilities::ignored();
    all
}

impl<'r, D: Device> phy::Device for Lent<'_, 'r, D> {
    type RxToken<'a>
        = Packet<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Slot<'a, D>
    where
        Self: 'a;

    #[inline]
    fn receive(&mut self, _: Instant) -> Option<(Packet<'_>, Slot<'_, D>)> {
        let packet: &'r [u8] = self.packet.take()?;
        let slot = Slot {
            port: self.port,
            frame: None,
        };
        Some((Packet(packet), slot))
    }

    #[inline]
    fn transmit(&mut self, _: Instant) -> Option<Slot<'_, D>> {
        let frame = self.port.frame()?;
        Some(Slot {
            port: self.port,
            frame: Some(frame),
        })
    }

    #[inline]
    fn capabilities(&self) -> DeviceCapabilities {
        capabilities(self.mtu)
    }
}

/// A received packet.
pub(crate) struct Packet<'a>(&'a [u8]);

impl phy::RxToken for Packet<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// A frame to write a packet into.
pub(crate) struct Slot<'a, D: Device> {
    port: &'a mut Port<D>,
    /// `None` for an answer to the received packet: a frame is allocated when the answer is written.
    frame: Option<D::Frame>,
}

impl<D: Device> phy::TxToken for Slot<'_, D> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { port, frame } = self;
        let on_the_spot = frame.is_none();
        let frame = frame.or_else(|| port.frame());
        let Some(mut frame) = frame.filter(|frame| frame.room() >= len) else {
            port.sends.drops += 1;
            let mut scratch = std::mem::take(&mut port.scratch);
            if scratch.len() < len {
                scratch.resize(len, 0);
            }
            let result = f(&mut scratch[..len]);
            port.scratch = scratch;
            return result;
        };
        frame.set_len(len);
        let result = f(frame.bytes_mut());
        if !on_the_spot || port.may_reply(frame.bytes()) {
            port.finish(frame);
        }
        result
    }
}
