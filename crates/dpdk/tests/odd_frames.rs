//! Frames as some drivers make them: in a buffer that has another owner, or without their VLAN tags. What a queue receives is
//! always exclusive and complete. Needs libdpdk.

mod common;

use std::ffi::c_void;

use common::rings::Pair;
use hioload_device::{Burst, Device, Frame};
use hioload_dpdk::MbufFrame;
use hioload_dpdk_sys as sys;
use sys::hl_mbuf;

impl Pair {
    /// An Ethernet frame of `len` bytes, whose payload is counted up from `first`.
    fn frame(&mut self, len: usize, first: u8) -> MbufFrame {
        let mut frame = self.a.alloc().expect("a frame");
        frame.set_len(len);
        frame.bytes_mut().copy_from_slice(&bytes(len, first));
        frame
    }

    fn transfer(&mut self, frames: impl IntoIterator<Item = MbufFrame>) -> Vec<MbufFrame> {
        let mut burst: Burst<_> = frames.into_iter().collect();
        let count = burst.len();
        assert_eq!(self.a.tx_burst(&mut burst), count);
        self.b.rx_burst(&mut burst);
        burst.into_iter().collect()
    }
}

fn bytes(len: usize, first: u8) -> Vec<u8> {
    let mut all = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    all.extend((14..len).map(|at| first.wrapping_add(at as u8)));
    all
}

fn raw(frame: &MbufFrame) -> *mut hl_mbuf {
    // SAFETY: a frame is one pointer to its mbuf.
    unsafe { std::mem::transmute_copy(frame) }
}

/// Moves the frame into an external buffer with `others` more owners.
fn into_external(frame: &mut MbufFrame, others: u16) -> *mut c_void {
    // SAFETY: the caller owns the frame, whose buffer is its own.
    let external = unsafe { sys::hl_odd_external(raw(frame), others) };
    assert!(!external.is_null());
    external
}

/// Removes `others` owners from an external buffer that has them, and returns the sum of its bytes.
fn release(external: *mut c_void, others: u16) -> u64 {
    // SAFETY: the buffer has an owner, so it exists.
    unsafe { sys::hl_odd_release(external, others) }
}

fn strip(frame: &mut MbufFrame, tci: u16, outer: i32) {
    // SAFETY: the caller owns the frame.
    unsafe { sys::hl_odd_stripped(raw(frame), tci, outer) };
}

#[test]
fn a_frame_in_an_external_buffer_of_its_own_is_received_in_place() {
    let mut pair = Pair::new(64);
    let mut frame = pair.frame(200, 3);
    into_external(&mut frame, 0);
    let at = frame.bytes().as_ptr();
    let mut got = pair.transfer([frame]);
    assert_eq!(got[0].bytes(), bytes(200, 3));
    assert_eq!(got[0].bytes().as_ptr(), at);
    assert_eq!((pair.b.joined(), pair.b.stats().rx_bytes), (0, 200));
    got[0].bytes_mut().fill(9);
}

#[test]
fn a_frame_in_an_external_buffer_with_another_owner_is_copied() {
    let mut pair = Pair::new(64);
    for others in [1, 2] {
        let mut frame = pair.frame(200, 3);
        let external = into_external(&mut frame, others);
        let before = release(external, 0);
        let mut got = pair.transfer([frame]);
        assert_eq!(got[0].bytes(), bytes(200, 3));
        got[0].bytes_mut().fill(9);
        assert_eq!(release(external, others), before, "the other owner's bytes");
    }
    assert_eq!(pair.b.joined(), 2);
}

#[test]
fn frames_that_share_a_buffer_are_separated() {
    let mut pair = Pair::new(64);
    let frame = pair.frame(300, 7);
    // SAFETY: the caller owns the frame; its pool is that of its mbuf. The clone is a frame of its own, an owner of the buffer.
    let clone: MbufFrame = unsafe {
        let mbuf = raw(&frame);
        let clone = sys::hl_odd_clone(mbuf, (*mbuf)._pool.cast());
        assert!(!clone.is_null());
        std::mem::transmute(clone)
    };
    let mut got = pair.transfer([frame, clone]);
    assert_eq!(got.len(), 2);
    got[0].bytes_mut().fill(9);
    assert_eq!(got[1].bytes(), bytes(300, 7));
    assert!(pair.b.joined() >= 1, "{}", pair.b.joined());
}

#[test]
fn a_tag_that_the_device_has_removed_is_put_back() {
    let mut pair = Pair::new(64);
    let mut plain = pair.frame(100, 1);
    plain.set_len(100);
    let mut tagged = pair.frame(100, 2);
    strip(&mut tagged, 0x229a, 0);
    // Without headroom, the bytes behind the tag move.
    let mut full = pair.frame(100, 3);
    let headroom = full.headroom();
    full.grow_front(headroom);
    full.set_len(100);
    full.bytes_mut().copy_from_slice(&bytes(100, 3));
    strip(&mut full, 7, 0);
    let mut both = pair.frame(100, 4);
    strip(&mut both, 7, 8);
    let mut shared = pair.frame(100, 5);
    let external = into_external(&mut shared, 1);
    strip(&mut shared, 9, 0);
    let got = pair.transfer([plain, tagged, full, both, shared]);
    let with = |first: u8, tags: &[u16]| {
        let mut all = bytes(100, first);
        for tag in tags {
            let [high, low] = tag.to_be_bytes();
            all.splice(12..12, [0x81, 0, high, low]);
        }
        all
    };
    let wanted = [
        bytes(100, 1),
        with(2, &[0x229a]),
        with(3, &[7]),
        with(4, &[7, 8]),
        with(5, &[9]),
    ];
    assert_eq!(got.len(), wanted.len());
    for (frame, wanted) in got.iter().zip(&wanted) {
        assert_eq!(frame.bytes(), wanted);
    }
    let total: usize = wanted.iter().map(Vec::len).sum();
    assert_eq!(pair.b.stats().rx_bytes, total as u64);
    release(external, 1);
}

#[test]
fn a_frame_without_room_for_its_tag_is_dropped_and_counted() {
    let mut pair = Pair::new(64);
    let mut full = pair.frame(100, 1);
    let headroom = full.headroom();
    full.grow_front(headroom);
    full.set_len(full.room());
    strip(&mut full, 7, 0);
    let mut short = pair.frame(14, 1);
    short.set_len(13);
    strip(&mut short, 7, 0);
    let good = pair.frame(60, 5);
    let got = pair.transfer([full, short, good]);
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].bytes(), bytes(60, 5));
    assert_eq!(pair.b.stats().rx_dropped, 2);
}
