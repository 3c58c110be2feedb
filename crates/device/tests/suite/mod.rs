//! The device conformance suite. The device under test is one of two that are joined: each receives the frames that the other sends.

// Each test binary uses a part of this module.
#![allow(dead_code, unreachable_pub)]

use hioload_device::{BURST, Burst, Device, Frame};

/// Two joined devices, both used from this thread.
pub trait Link {
    /// The first device.
    type A: Device;
    /// The second device.
    type B: Device;
    /// Both devices.
    fn ends(&mut self) -> (&mut Self::A, &mut Self::B);
    /// Lets time pass, and lets each device return the chunks of the other.
    fn settle(&mut self);
    /// The numbers of free frames of the first and of the second device; `None` if they are unknown.
    fn free(&self) -> Option<(usize, usize)>;
}

/// Fills a frame with `len` bytes, at least 18: broadcast addresses, an experimental EtherType, `number`, and a pattern that depends
/// on `number`.
pub fn fill<F: Frame>(frame: &mut F, number: u32, len: usize) {
    frame.set_len(len);
    let bytes = frame.bytes_mut();
    bytes[..12].fill(0xff);
    bytes[12..14].copy_from_slice(&0x88b5_u16.to_be_bytes());
    bytes[14..18].copy_from_slice(&number.to_be_bytes());
    for (at, byte) in bytes[18..].iter_mut().enumerate() {
        *byte = (number as usize + at) as u8;
    }
}

/// The number of a frame that [`fill`] filled. Checks every byte.
pub fn number<F: Frame>(frame: &F) -> u32 {
    let bytes = frame.bytes();
    let number = bytes[14..18].try_into().map(u32::from_be_bytes);
    let number = number.expect("a number");
    assert_eq!(bytes[12..14], 0x88b5_u16.to_be_bytes());
    for (at, &byte) in bytes[18..].iter().enumerate() {
        assert_eq!(byte, (number as usize + at) as u8, "byte {at} of {number}");
    }
    number
}

/// Adds the frames `from..to` to a burst, as many as fit, each with the length for its number. Returns the number added.
pub fn send<D: Device>(device: &mut D, burst: &mut Burst<D::Frame>, from: u32, to: u32) -> u32 {
    let mut next = from;
    while next < to && !burst.is_full() {
        let Some(mut frame) = device.alloc() else {
            break;
        };
        fill(&mut frame, next, length(next));
        burst.push(frame);
        next += 1;
    }
    next - from
}

/// The length of a frame, from the shortest to the longest, in no order; most are short.
pub fn length(number: u32) -> usize {
    let spread = if number % 16 == 3 { 1450 } else { 90 };
    60 + (number as usize * 7919) % spread
}

/// Runs every check on links from `make`, which must not lose frames.
pub fn all<L: Link>(mut make: impl FnMut() -> L) {
    frames_arrive_in_order_with_their_bytes(make());
    bursts_are_never_overfilled(make());
    frames_that_are_not_sent_stay_in_order(make());
    a_fresh_frame_is_empty_with_headroom(make());
    no_frame_is_lost_or_added(make());
    one_way_traffic_does_not_starve_the_sender(make());
    frames_may_be_kept_and_dropped_in_any_order(make());
    the_counters_agree_with_what_was_seen(make());
}

pub fn frames_arrive_in_order_with_their_bytes(mut link: impl Link) {
    let (mut sent, mut seen) = (0, 0);
    let (mut out, mut into) = (Burst::new(), Burst::new());
    while seen < 5000 {
        let (a, b) = link.ends();
        sent += send(a, &mut out, sent, 5000);
        a.tx_burst(&mut out);
        b.rx_burst(&mut into);
        for frame in into.drain(..) {
            assert_eq!(number(&frame), seen);
            assert_eq!(frame.len(), length(seen));
            seen += 1;
        }
        link.settle();
    }
    let (a, b) = link.ends();
    assert_eq!(
        (a.rx_burst(&mut Burst::new()), b.rx_burst(&mut into)),
        (0, 0)
    );
}

pub fn bursts_are_never_overfilled(mut link: impl Link) {
    let mut out = Burst::new();
    let (a, _) = link.ends();
    let sent = send(a, &mut out, 0, BURST as u32);
    assert_eq!(sent as usize, BURST);
    while a.tx_burst(&mut out) > 0 && !out.is_empty() {}
    link.settle();
    let (_, b) = link.ends();
    // The burst has room for three frames.
    let mut into = Burst::new();
    while into.remaining_capacity() > 3 {
        into.push(b.alloc().expect("a frame"));
    }
    let before = into.len();
    let taken = b.rx_burst(&mut into);
    assert!(taken <= 3);
    assert_eq!(into.len(), before + taken);
    assert!(into[..before].iter().all(Frame::is_empty), "appended");
    while into.len() < BURST {
        assert!(b.rx_burst(&mut into) > 0);
    }
    assert_eq!(b.rx_burst(&mut into), 0, "no room");
    for (at, frame) in into[before..].iter().enumerate() {
        assert_eq!(number(frame), at as u32);
    }
}

pub fn frames_that_are_not_sent_stay_in_order(mut link: impl Link) {
    let mut out = Burst::new();
    let (mut made, mut gone) = (0, 0);
    let (a, b) = link.ends();
    // The second device does not receive, so at some point there is no room, or no frame.
    for _ in 0..10_000 {
        made += send(a, &mut out, made, u32::MAX);
        let before = out.len();
        let taken = a.tx_burst(&mut out);
        assert_eq!(out.len() + taken, before);
        gone += taken as u32;
        for (at, frame) in out.iter().enumerate() {
            assert_eq!(number(frame), gone + at as u32);
        }
        if taken == 0 {
            break;
        }
    }
    let mut into = Burst::new();
    let mut seen = 0;
    for _ in 0..10_000 {
        b.rx_burst(&mut into);
        for frame in into.drain(..) {
            assert_eq!(number(&frame), seen);
            seen += 1;
        }
        if out.is_empty() && seen == made {
            break;
        }
        a.tx_burst(&mut out);
    }
    assert_eq!((seen, out.len()), (made, 0));
}

pub fn a_fresh_frame_is_empty_with_headroom(mut link: impl Link) {
    let (a, _) = link.ends();
    let mtu = a.capabilities().mtu;
    let mut frame = a.alloc().expect("a frame");
    assert!(frame.is_empty() && frame.headroom() >= 64);
    assert!(frame.room() >= mtu + 18);
    frame.set_len(mtu + 14);
    frame.grow_front(4);
    frame.bytes_mut()[..4].copy_from_slice(b"head");
    assert_eq!(frame.len(), mtu + 18);
    frame.shrink_front(4);
    assert_eq!(frame.len(), mtu + 14);
    drop(frame);
    // The next frame has no state of the previous one.
    let frame = a.alloc().expect("a frame");
    assert!(frame.is_empty() && frame.headroom() >= 64);
    assert_eq!(frame.tx_checksum(), hioload_device::TxChecksum::Complete);
}

pub fn no_frame_is_lost_or_added(mut link: impl Link) {
    let Some((free_a, free_b)) = link.free() else {
        return;
    };
    let (mut out_a, mut into_a) = (Burst::new(), Burst::new());
    let (mut out_b, mut into_b) = (Burst::new(), Burst::new());
    let mut sent = 0;
    for turn in 0..2000_u32 {
        let (a, b) = link.ends();
        // The two devices send different numbers of frames in turn.
        sent += send(a, &mut out_a, sent, sent + turn % 64);
        sent += send(b, &mut out_b, sent, sent + turn / 37 % 50);
        a.tx_burst(&mut out_a);
        b.tx_burst(&mut out_b);
        a.rx_burst(&mut into_a);
        b.rx_burst(&mut into_b);
        into_a.clear();
        into_b.clear();
    }
    out_a.clear();
    out_b.clear();
    for _ in 0..2000 {
        link.settle();
        let (a, b) = link.ends();
        // An empty burst lets the device continue to send earlier frames.
        a.tx_burst(&mut out_a);
        b.tx_burst(&mut out_b);
        let more = a.rx_burst(&mut into_a) + b.rx_burst(&mut into_b);
        into_a.clear();
        into_b.clear();
        if more == 0 && link.free() == Some((free_a, free_b)) {
            return;
        }
    }
    assert_eq!(link.free(), Some((free_a, free_b)));
}

pub fn one_way_traffic_does_not_starve_the_sender(mut link: impl Link) {
    let (mut sent, mut seen) = (0_u32, 0);
    let (mut out, mut back, mut into) = (Burst::new(), Burst::new(), Burst::new());
    for _ in 0..20_000 {
        let (a, b) = link.ends();
        let made = send(a, &mut out, sent, sent + 32);
        assert!(made > 0 || !out.is_empty(), "no frame after {sent}");
        sent += made;
        a.tx_burst(&mut out);
        seen += b.rx_burst(&mut into);
        into.clear();
        assert_eq!(a.rx_burst(&mut back), 0);
    }
    assert!(seen > 100_000, "{seen} of {sent}");
}

pub fn frames_may_be_kept_and_dropped_in_any_order(mut link: impl Link) {
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let mut kept = std::collections::VecDeque::new();
    let (mut sent, mut seen) = (0, 0);
    for turn in 0..3000_usize {
        let (a, b) = link.ends();
        sent += send(a, &mut out, sent, sent + 16);
        a.tx_burst(&mut out);
        b.rx_burst(&mut into);
        for frame in into.drain(..) {
            assert_eq!(number(&frame), seen);
            kept.push_back((seen, frame));
            seen += 1;
        }
        while kept.len() > 40 {
            let at = (turn * 31) % kept.len();
            let (was, frame) = kept.swap_remove_back(at).expect("one of them");
            assert_eq!(number(&frame), was, "a kept frame is unchanged");
        }
        link.settle();
    }
    assert!(seen > 10_000, "{seen}");
}

pub fn the_counters_agree_with_what_was_seen(mut link: impl Link) {
    let (mut out, mut into) = (Burst::new(), Burst::new());
    let (mut sent, mut seen, mut bytes) = (0, 0, 0);
    while seen < 1000 {
        let (a, b) = link.ends();
        sent += send(a, &mut out, sent, 1000);
        a.tx_burst(&mut out);
        seen += b.rx_burst(&mut into) as u64;
        bytes += into.drain(..).map(|frame| frame.len() as u64).sum::<u64>();
        link.settle();
    }
    let (a, b) = link.ends();
    let (a, b) = (a.stats(), b.stats());
    assert_eq!((a.tx_frames, a.tx_bytes, a.tx_dropped), (1000, bytes, 0));
    assert_eq!((b.rx_frames, b.rx_bytes, b.rx_dropped), (1000, bytes, 0));
    assert_eq!((a.rx_frames, b.tx_frames), (0, 0));
}
