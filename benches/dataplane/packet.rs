//! TCP segments as the client writes and reads them. They share no code with the stack under test.

/// Ethernet, IPv4 without options, TCP without options.
const ETH: usize = 14;
const IP: usize = 20;
const TCP: usize = 20;
/// Two NOPs and a timestamp, as Linux sends them with every segment.
const TIMESTAMP: usize = 12;
/// The options of a SYN of Linux: MSS, SACK permitted, timestamp, NOP, window scale.
const SYN_OPTIONS: usize = 20;

/// Bytes before the payload of a segment other than a SYN.
pub const HEADERS: usize = ETH + IP + TCP + TIMESTAMP;
/// The most payload in a segment at an MTU of 1500.
pub const MSS: usize = 1500 - IP - TCP - TIMESTAMP;

pub mod flag {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const PSH: u8 = 8;
    pub const ACK: u8 = 16;
}

/// The two hosts, and the server's endpoint.
#[derive(Clone, Copy)]
pub struct Link {
    pub client_mac: [u8; 6],
    pub server_mac: [u8; 6],
    pub server: ([u8; 4], u16),
}

/// The client's endpoint of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Source {
    pub ip: [u8; 4],
    pub port: u16,
}

/// Ports that each source address uses.
const PORTS: u32 = 50_000;
const FIRST_PORT: u32 = 10_000;

impl Source {
    /// The source of flow `index`: addresses from 10.64.0.1 on.
    pub fn of(index: u32) -> Self {
        let host = 0x0a40_0001 + index / PORTS;
        Self {
            ip: host.to_be_bytes(),
            port: (FIRST_PORT + index % PORTS) as u16,
        }
    }

    pub fn index(self) -> Option<u32> {
        let host = u32::from_be_bytes(self.ip).checked_sub(0x0a40_0001)?;
        let port = u32::from(self.port).checked_sub(FIRST_PORT)?;
        (port < PORTS).then_some(host * PORTS + port)
    }
}

/// The variable fields of a segment's header.
pub struct Header {
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub tsval: u32,
}

/// Writes a segment into `out` and returns its length. The payload is copied behind the header; checksums are complete.
pub fn write(
    out: &mut [u8],
    link: &Link,
    source: Source,
    header: &Header,
    payload: &[u8],
) -> usize {
    let syn = header.flags & flag::SYN != 0;
    let options = if syn { SYN_OPTIONS } else { TIMESTAMP };
    let tcp_len = TCP + options + payload.len();
    let total = ETH + IP + tcp_len;
    let out = &mut out[..total];
    out[0..6].copy_from_slice(&link.server_mac);
    out[6..12].copy_from_slice(&link.client_mac);
    out[12..14].copy_from_slice(&[8, 0]);

    let ip = &mut out[ETH..ETH + IP];
    ip[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0]);
    ip[2..4].copy_from_slice(&((IP + tcp_len) as u16).to_be_bytes());
    ip[12..16].copy_from_slice(&source.ip);
    ip[16..20].copy_from_slice(&link.server.0);
    let sum = !fold(add(0, ip));
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let pseudo = add(6 + tcp_len as u32, &ip[12..20]);

    let tcp = &mut out[ETH + IP..];
    tcp[0..2].copy_from_slice(&source.port.to_be_bytes());
    tcp[2..4].copy_from_slice(&link.server.1.to_be_bytes());
    tcp[4..8].copy_from_slice(&header.seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&header.ack.to_be_bytes());
    tcp[12] = ((TCP + options) as u8 / 4) << 4;
    tcp[13] = header.flags;
    // Scaled by 7: 64 KiB.
    tcp[14..16].copy_from_slice(&if syn { u16::MAX } else { 512 }.to_be_bytes());
    tcp[16..20].fill(0);
    let at = if syn {
        tcp[20..26].copy_from_slice(&[2, 4, (1460u16 >> 8) as u8, 1460u16 as u8, 4, 2]);
        tcp[36..40].copy_from_slice(&[1, 3, 3, 7]);
        26
    } else {
        tcp[20..22].copy_from_slice(&[1, 1]);
        22
    };
    tcp[at..at + 2].copy_from_slice(&[8, 10]);
    tcp[at + 2..at + 6].copy_from_slice(&header.tsval.to_be_bytes());
    tcp[at + 6..at + 10].fill(0);
    tcp[TCP + options..].copy_from_slice(payload);
    let sum = !fold(add(pseudo, tcp));
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    total
}

/// A segment from the server.
pub struct Segment<'a> {
    pub to: Source,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub payload: &'a [u8],
}

/// Reads one; `None` if it is not TCP over IPv4.
pub fn read(frame: &[u8]) -> Option<Segment<'_>> {
    if frame.get(12..15)? != [8, 0, 0x45] || *frame.get(23)? != 6 {
        return None;
    }
    let total = u16::from_be_bytes([frame[16], frame[17]]) as usize;
    let tcp = frame.get(ETH + IP..ETH + total)?;
    let data = usize::from(*tcp.get(12)? >> 4) * 4;
    let word = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
    Some(Segment {
        to: Source {
            ip: frame[30..34].try_into().ok()?,
            port: u16::from_be_bytes([tcp[2], tcp[3]]),
        },
        flags: tcp[13],
        seq: word(4)?,
        ack: word(8)?,
        payload: tcp.get(data..)?,
    })
}

/// Whether the IP and TCP checksums of a frame that `read` accepts are right.
pub fn is_sound(frame: &[u8]) -> bool {
    let total = u16::from_be_bytes([frame[16], frame[17]]) as usize;
    let tcp = &frame[ETH + IP..ETH + total];
    let pseudo = add(6 + tcp.len() as u32, &frame[26..34]);
    fold(add(0, &frame[ETH..ETH + IP])) == 0xffff && fold(add(pseudo, tcp)) == 0xffff
}

fn add(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut pairs = bytes.chunks_exact(2);
    for pair in &mut pairs {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    if let [last] = pairs.remainder() {
        sum += u32::from(*last) << 8;
    }
    sum
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
