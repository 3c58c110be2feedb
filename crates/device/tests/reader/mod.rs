//! A strict parser of pcapng for the tests, which shares no code with the writer.

#![allow(dead_code, unreachable_pub)]

/// A parsed file.
#[derive(Debug, Default)]
pub struct Capture {
    pub application: String,
    pub interfaces: Vec<Interface>,
    pub packets: Vec<Packet>,
}

#[derive(Debug, Default)]
pub struct Interface {
    pub name: String,
    pub link: u16,
    pub snaplen: u32,
    pub resolution: u8,
    /// Start, end, received, dropped, delivered.
    pub statistics: Option<[u64; 5]>,
}

#[derive(Debug)]
pub struct Packet {
    pub interface: usize,
    pub time: u64,
    /// 1 inbound, 2 outbound.
    pub direction: u32,
    pub length: usize,
    pub bytes: Vec<u8>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn time_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) << 32 | u64::from(u32_at(bytes, at + 4))
}

fn u64_of(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// The options of a block. They end with the end option and fill the rest of the block.
fn options(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    loop {
        let (code, len) = (u16_at(bytes, 0), u16_at(bytes, 2) as usize);
        let padded = len.next_multiple_of(4);
        if code == 0 {
            assert_eq!((len, bytes.len()), (0, 4), "the end option ends the block");
            return all;
        }
        all.push((code, &bytes[4..4 + len]));
        assert!(bytes[4 + len..4 + padded].iter().all(|&byte| byte == 0));
        bytes = &bytes[4 + padded..];
    }
}

/// Parses a whole file.
pub fn read(mut file: &[u8]) -> Capture {
    let mut capture = Capture::default();
    let mut first = true;
    while !file.is_empty() {
        let (block_type, length) = (u32_at(file, 0), u32_at(file, 4) as usize);
        assert!(length % 4 == 0 && length >= 12 && length <= file.len());
        assert_eq!(u32_at(file, length - 4) as usize, length);
        assert_eq!(block_type == 0x0a0d_0d0a, first, "one section");
        first = false;
        take(&mut capture, block_type, &file[8..length - 4]);
        file = &file[length..];
    }
    capture
}

fn take(capture: &mut Capture, block_type: u32, body: &[u8]) {
    match block_type {
        0x0a0d_0d0a => {
            assert_eq!(u32_at(body, 0), 0x1a2b_3c4d);
            assert_eq!((u16_at(body, 4), u16_at(body, 6)), (1, 0));
            assert_eq!(u64_of(&body[8..16]), u64::MAX);
            for (code, value) in options(&body[16..]) {
                assert_eq!(code, 4);
                capture.application = String::from_utf8(value.to_vec()).expect("text");
            }
        }
        1 => {
            let mut interface = Interface {
                link: u16_at(body, 0),
                snaplen: u32_at(body, 4),
                ..Interface::default()
            };
            for (code, value) in options(&body[8..]) {
                match code {
                    2 => interface.name = String::from_utf8(value.to_vec()).expect("text"),
                    9 => interface.resolution = value[0],
                    _ => panic!("option {code}"),
                }
            }
            capture.interfaces.push(interface);
        }
        5 => {
            let at = u32_at(body, 0) as usize;
            let mut values = [0; 5];
            for (code, value) in options(&body[12..]) {
                match code {
                    2 => values[0] = time_at(value, 0),
                    3 => values[1] = time_at(value, 0),
                    4 => values[2] = u64_of(value),
                    7 => values[3] = u64_of(value),
                    8 => values[4] = u64_of(value),
                    _ => panic!("option {code}"),
                }
            }
            assert!(capture.interfaces[at].statistics.replace(values).is_none());
        }
        6 => {
            let kept = u32_at(body, 12) as usize;
            let interface = u32_at(body, 0) as usize;
            let limit = capture.interfaces[interface].snaplen as usize;
            assert!(kept <= limit);
            let rest = options(&body[20 + kept.next_multiple_of(4)..]);
            assert_eq!((rest.len(), rest[0].0, rest[0].1.len()), (1, 2, 4));
            capture.packets.push(Packet {
                interface,
                time: time_at(body, 4),
                direction: u32_at(rest[0].1, 0),
                length: u32_at(body, 16) as usize,
                bytes: body[20..20 + kept].to_vec(),
            });
        }
        _ => panic!("block {block_type}"),
    }
}
