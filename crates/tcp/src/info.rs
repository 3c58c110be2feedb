//! The state of a flow, for operators.
//!
//! State that smoltcp does not expose is read from the debug output of its sockets. The version of smoltcp is pinned, and a test
//! checks the output.

use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::Device;
use smoltcp::socket::tcp::{Socket, State};

use crate::FlowId;
use crate::flow_flags::FlowFlags;
use crate::stack::Stack;

/// The state of one flow, as `ss -ti` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowInfo {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub peer: SocketAddr,
    /// The name of the TCP state in RFC 9293, such as `ESTABLISHED`.
    pub state: &'static str,
    /// Bytes received and not yet consumed.
    pub recv_queue: usize,
    /// Bytes queued for sending and not yet acknowledged.
    pub send_queue: usize,
    /// Our receive window in bytes.
    pub recv_window: usize,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// Retransmission timeout.
    pub rto: Duration,
    /// Retransmissions since the flow was opened: timeouts, fast retransmissions and probes. 63 stands for 63 or more.
    pub retransmits: u32,
    /// Whether the flow was released and is closing.
    pub orphan: bool,
    /// The state that takes milliseconds to read. [`Stack::info`] leaves it out.
    pub details: Option<FlowDetails>,
}

/// The rest of the state of a flow: see [`Stack::details`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowDetails {
    /// The bytes sent and not yet acknowledged.
    pub in_flight: usize,
    /// The window of the peer in bytes.
    pub send_window: usize,
    /// Congestion window, in bytes.
    pub cwnd: usize,
    /// The largest payload of our segments.
    pub mss: usize,
}

/// The state of a flow that may have lost its timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stuck {
    /// smoltcp has set no timer.
    pub is_idle: bool,
    /// SND.UNA and SND.NXT of RFC 9293.
    pub acknowledged: u32,
    pub sent: u32,
    /// RCV.NXT.
    pub expected: u32,
    /// The peer's window as smoltcp has it, in the unit of the header.
    pub window: u16,
}

/// The debug output of a socket up to its rings: state, timer, round-trip time, assembler.
struct Head {
    text: [u8; 1024],
    len: usize,
}

impl Write for Head {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.get_mut(self.len..self.len + text.len());
        match room {
            // The error ends the output.
            _ if text == "rx_buffer" => Err(fmt::Error),
            None => Err(fmt::Error),
            Some(room) => {
                room.copy_from_slice(text.as_bytes());
                self.len += text.len();
                Ok(())
            }
        }
    }
}

impl Head {
    fn of(socket: &Socket<'_>) -> Self {
        let mut head = Self {
            text: [0; 1024],
            len: 0,
        };
        let _ = write!(head, "{socket:?}");
        head
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

/// Whether the ring has no data out of order. `false` if the output cannot be read.
fn has_no_gaps(socket: &Socket<'_>) -> bool {
    let head = Head::of(socket);
    let mut sizes = head.text().split("_size: ");
    // The first part precedes the sizes.
    let before = sizes.next().unwrap_or_default();
    let mut any = false;
    let zero = sizes.all(|rest| {
        any = true;
        rest.starts_with("0,") || rest.starts_with("0 ")
    });
    before.contains("assembler") && any && zero
}

/// Whether smoltcp has no timer set.
pub(crate) fn has_no_timer(socket: &Socket<'_>) -> bool {
    Head::of(socket).text().contains("timer: Idle")
}

/// Whether three duplicate acknowledgements have arrived, and nothing has been sent since.
fn is_in_fast_retransmit(socket: &Socket<'_>) -> bool {
    Head::of(socket).text().contains("timer: FastRetransmit")
}

/// The debug output of a socket without the contents of its rings.
#[derive(Default)]
struct Whole {
    text: String,
    in_ring: bool,
}

impl Write for Whole {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text {
            "storage" => self.in_ring = true,
            "read_at" => self.in_ring = false,
            _ => {}
        }
        if !self.in_ring {
            self.text.push_str(text);
        }
        Ok(())
    }
}

/// The number after `name: `.
fn number(text: &str, name: &str) -> Option<u64> {
    let at = text.find(name)?;
    let rest = text[at + name.len()..].strip_prefix(": ")?;
    let end = rest.find(|byte: char| !byte.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// The sequence number after `name: `.
fn seq(text: &str, name: &str) -> Option<u32> {
    let at = text.find(name)?;
    let rest = text[at + name.len()..].strip_prefix(": SeqNumber(")?;
    let end = rest.find(')')?;
    rest[..end].parse::<i64>().ok().map(|seq| seq as u32)
}

fn name(state: State) -> &'static str {
    match state {
        State::Closed => "CLOSED",
        State::Listen => "LISTEN",
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECEIVED",
        State::Established => "ESTABLISHED",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
    }
}

impl<D: Device> Stack<D> {
    /// The state of a flow, also of half-open flows and orphans. A call takes microseconds, so a turn should read a few flows,
    /// not all.
    #[must_use]
    pub fn info(&self, id: FlowId) -> Option<FlowInfo> {
        let slot = self.flows.current(id)?;
        let hot = *self.flows.hot(slot);
        let tuple = self.flows.tuple(slot)?;
        let info = self.flows.sockets.with(slot, |socket| {
            let head = Head::of(socket);
            let measured = head.text().contains("have_measurement: true");
            Some(FlowInfo {
                local: tuple.local(),
                peer: tuple.remote(),
                state: name(socket.state()),
                recv_queue: socket.recv_queue(),
                send_queue: socket.send_queue(),
                recv_window: socket.recv_capacity() - socket.recv_queue(),
                srtt: number(head.text(), "srtt")
                    .filter(|_| measured)
                    .map(Duration::from_millis),
                rto: Duration::from_millis(number(head.text(), "rto")?),
                retransmits: hot.retransmits(),
                orphan: hot.is(FlowFlags::ORPHAN),
                details: None,
            })
        });
        info.flatten()
    }

    /// The state that smoltcp prints only together with the contents of the rings. A call takes milliseconds with rings of
    /// 64 KiB, and makes their pages resident, so a turn should read one flow.
    #[must_use]
    pub fn details(&self, id: FlowId) -> Option<FlowDetails> {
        let slot = self.flows.current(id)?;
        let class = self.flows.hot(slot).class();
        let is_v4 = self.flows.tuple(slot)?.is_v4();
        let path = self.paths.get(class).copied().unwrap_or(552);
        let details = self.flows.sockets.with(slot, |socket| {
            let mut whole = Whole::default();
            let _ = write!(whole, "{socket:?}");
            let text = whole.text.as_str();
            let headers = if is_v4 { 40 } else { 60 };
            let options = if socket.timestamp_enabled() { 12 } else { 0 };
            let remote_mss = number(text, "remote_mss")? as usize;
            let sent = seq(text, "remote_last_seq")?;
            Some(FlowDetails {
                in_flight: sent.wrapping_sub(seq(text, "local_seq_no")?) as usize,
                send_window: number(text, "remote_win_len")? as usize,
                cwnd: number(text, "cwnd")? as usize,
                mss: remote_mss.min(path - headers).saturating_sub(options),
            })
        });
        details.flatten()
    }

    /// RCV.NXT. It takes milliseconds.
    pub(crate) fn expected_seq(&self, slot: u32) -> Option<u32> {
        let next = self.flows.sockets.with(slot, |socket| {
            let mut whole = Whole::default();
            let _ = write!(whole, "{socket:?}");
            let consumed = seq(&whole.text, "remote_seq_no")?;
            Some(consumed.wrapping_add(socket.recv_queue() as u32))
        });
        next.flatten()
    }

    /// SND.UNA and SND.NXT. It takes milliseconds.
    pub(crate) fn outstanding(&self, slot: u32) -> Option<(u32, u32)> {
        let both = self.flows.sockets.with(slot, |socket| {
            let mut whole = Whole::default();
            let _ = write!(whole, "{socket:?}");
            let text = whole.text.as_str();
            let first = seq(text, "local_seq_no")?;
            let queued = socket.send_queue() as u32;
            // After a timeout smoltcp sets SND.NXT back to SND.UNA. Then all that is queued may have been sent.
            let sent = seq(text, "remote_last_seq")?;
            let after = if sent == first {
                first.wrapping_add(queued)
            } else {
                sent
            };
            Some((first, after))
        });
        both.flatten()
    }

    /// The state that is needed to make smoltcp set a lost timer again. It takes milliseconds.
    pub(crate) fn stuck(&self, slot: u32) -> Option<Stuck> {
        let stuck = self.flows.sockets.with(slot, |socket| {
            let mut whole = Whole::default();
            let _ = write!(whole, "{socket:?}");
            let text = whole.text.as_str();
            let window = number(text, "remote_win_len")? as usize;
            let (_, scale) = text.split_once("remote_win_scale: Some(")?;
            let scale = scale.split_once(')')?.0.parse::<u32>().ok()?;
            Some(Stuck {
                is_idle: text.contains("timer: Idle"),
                acknowledged: seq(text, "local_seq_no")?,
                sent: seq(text, "remote_last_seq")?,
                expected: seq(text, "remote_seq_no")?.wrapping_add(socket.recv_queue() as u32),
                window: (window >> scale.min(14)).min(0xffff) as u16,
            })
        });
        stuck.flatten()
    }

    /// SND.UNA and RCV.NXT. It takes milliseconds.
    #[cfg(test)]
    pub(crate) fn numbers(&self, slot: u32) -> Option<(u32, u32)> {
        let first = self.flows.sockets.with(slot, |socket| {
            let mut whole = Whole::default();
            let _ = write!(whole, "{socket:?}");
            seq(whole.text.as_str(), "local_seq_no")
        });
        first.flatten().zip(self.expected_seq(slot))
    }

    /// Clears [`FlowFlags::GAPS`] if the last gap in the receive ring has been filled.
    pub(crate) fn check_gaps(&mut self, slot: u32) {
        if self.flows.sockets.with(slot, has_no_gaps) == Some(true) {
            self.flows.hot_mut(slot).clear(FlowFlags::GAPS);
        }
    }

    /// Sends the fast retransmission that a duplicate acknowledgement has begun, if it was the third.
    pub(crate) fn check_fast_retransmit(&mut self, slot: u32) {
        if self.is_in_fast_retransmit(slot) {
            self.count_retransmit(slot);
            self.egress(slot);
        }
    }

    /// Whether smoltcp is about to retransmit its first segment.
    pub(crate) fn is_in_fast_retransmit(&self, slot: u32) -> bool {
        self.flows.sockets.with(slot, is_in_fast_retransmit) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use smoltcp::socket::tcp::SocketBuffer;

    use super::*;

    #[test]
    fn the_debug_output_has_the_fields_that_are_read() {
        let ring = || SocketBuffer::new(vec![7; 100]);
        let socket = Socket::new(ring(), ring());
        assert!(has_no_gaps(&socket));
        assert!(!is_in_fast_retransmit(&socket));
        let mut whole = Whole::default();
        write!(whole, "{socket:?}").expect("it prints");
        for (field, value) in [
            ("remote_mss", 536),
            ("remote_win_len", 0),
            ("cwnd", 2048),
            ("srtt", 0),
            ("rto", 1000),
        ] {
            assert_eq!(number(&whole.text, field), Some(value), "{field}");
        }
        assert_eq!(seq(&whole.text, "remote_last_seq"), Some(0));
        assert_eq!(seq(&whole.text, "local_seq_no"), Some(0));
        assert!(!whole.text.contains("7, 7"));
        let head = Head::of(&socket);
        assert_eq!(number(head.text(), "srtt"), Some(0));
        assert_eq!(number(head.text(), "rto"), Some(1000));
    }
}
