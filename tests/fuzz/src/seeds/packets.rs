//! Seeds of the target `packets`: scripts of segments and calls for the TCP stack.

use super::super::packets::BATCH;
use super::super::packets::steps::{
    ACCEPTING, AGAIN, ARP, CALL, CONNECT, EXTENDED, ICMP, PASS, RAW, SEGMENT, SHAKE,
};
use super::{SPLITS, Seed, seed};

/// A segment, as [`packets`](super::super::packets) reads it: peer, flags, numbers relative to the expected ones, window. It has
/// no options, no payload, and no changed bytes.
fn segment(who: u8, flags: u8, seq: u16, ack: u16) -> Vec<u8> {
    let ([s1, s0], [a1, a0]) = (seq.to_be_bytes(), ack.to_be_bytes());
    vec![SEGMENT, who, flags, s1, s0, a1, a0, 0x40, 0, 0, 0, 0]
}

pub fn seeds() -> Vec<Seed> {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let one = |name: &str, options: u8, steps: &[Vec<u8>]| {
        seed(name, &[&[options], SPLITS, &steps.concat()])
    };
    let shake = |who: u8| vec![SHAKE, who];
    let pass = |millis: u16| [&[PASS][..], &millis.to_be_bytes()].concat();
    let call =
        |flow: u8, what: u8, amount: u16| [&[CALL, flow, what][..], &amount.to_be_bytes()].concat();
    let with = |mut step: Vec<u8>, options: &[u8], payload: u8| {
        step.truncate(9);
        step.push(options.len() as u8);
        step.extend(options);
        step.extend([payload, 0]);
        step
    };
    let batch = |mut step: Vec<u8>| {
        step[0] |= BATCH;
        step
    };
    let crowd: Vec<_> = (0..16)
        .map(|who| batch(segment(who, SYN, who.into(), 0)))
        .collect();
    vec![
        one(
            "shake-and-finish",
            0,
            &[shake(0), segment(0, FIN | ACK, 0, 0), segment(0, ACK, 0, 0)],
        ),
        one(
            "shake-and-finish-v6-vlan",
            5,
            &[shake(1), segment(1, FIN | ACK, 0, 0), pass(100)],
        ),
        one(
            "shake-and-reset",
            0,
            &[
                shake(0),
                segment(0, RST, 0, 0),
                shake(0),
                segment(0, RST, 77, 0),
            ],
        ),
        one("crowd-of-syns", 0, &crowd),
        one("crowd-of-flows", 0, &(0..16).map(shake).collect::<Vec<_>>()),
        one(
            "out-of-order",
            2,
            &[
                shake(0),
                with(segment(0, ACK, 60, 0), &[], 10),
                with(segment(0, ACK, 0, 0), &[], 5),
                with(segment(0, ACK, 0, 0), &[], 40),
                segment(0, FIN | ACK, 600, 0),
                pass(3000),
            ],
        ),
        one(
            "options",
            0,
            &[
                with(
                    segment(2, SYN, 0, 0),
                    &[
                        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 14,
                    ],
                    0,
                ),
                with(
                    segment(2, ACK, 0, 0),
                    &[5, 10, 0, 0, 0, 1, 0, 0, 0, 9, 1, 1],
                    3,
                ),
                with(segment(3, SYN, 0, 0), &[2, 0, 3, 40, 8], 0),
                with(segment(4, SYN, 0, 0), &[2, 4, 0, 0], 9),
            ],
        ),
        one(
            "window-zero",
            32,
            &[
                shake(0),
                vec![SEGMENT, 0, ACK, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                call(0, 1, 9000),
                pass(60_000),
            ],
        ),
        one(
            "retransmits",
            0,
            &[shake(0), call(0, 1, 5000), pass(1500), pass(65_535)],
        ),
        one(
            "orphans",
            32,
            &[
                [shake(0), shake(2), shake(4), shake(1), shake(3)].concat(),
                [
                    call(0, 1, 3000),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                    call(0, 4, 0),
                ]
                .concat(),
                pass(20_000),
            ],
        ),
        one(
            "calls",
            32,
            &[
                shake(0),
                call(0, 2, 300),
                call(0, 6, 0),
                call(0, 0, 3),
                call(0, 3, 0),
                call(0, 7, 0),
                segment(0, FIN | ACK, 0, 0),
                call(0, 5, 0),
            ],
        ),
        one(
            "connect",
            0,
            &[
                vec![CONNECT, 0],
                pass(10),
                segment(0x80, SYN | ACK, 0, 0),
                segment(0x80, ACK, 1, 0),
                vec![CONNECT, 1],
                pass(10),
                segment(0x81, RST | ACK, 0, 0),
                vec![CONNECT, 2],
                pass(65_535),
            ],
        ),
        one(
            "connect-nobody",
            64,
            &[vec![CONNECT, 0], vec![CONNECT, 1], pass(65_535)],
        ),
        one(
            "arp",
            0,
            &[
                vec![ARP, 0, 1, 1, 0],
                vec![ARP, 2, 1, 2, 0],
                vec![ARP, 0, 9, 3, 1, 0, 9, 7],
            ],
        ),
        one(
            "ndp",
            0,
            &[
                [
                    vec![ICMP, 1, 135, 0, 28, 0, 0, 0, 0],
                    vec![0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
                    vec![1, 1, 2, 0, 0, 0, 2, 1, 0],
                ]
                .concat(),
                vec![ICMP, 1, 128, 0, 6, 1, 2, 3, 4, 5, 6, 0],
            ],
        ),
        one(
            "icmp",
            0,
            &[
                vec![ICMP, 0, 8, 0, 6, 1, 2, 3, 4, 5, 6, 0],
                shake(0),
                call(0, 1, 3000),
                vec![ICMP, 0x80, 3, 4, 4, 0, 0, 2, 0x40, 0],
                vec![ICMP, 0x80, 3, 1, 4, 0, 0, 0, 0, 0],
                shake(1),
                call(1, 1, 3000),
                vec![ICMP, 0x81, 2, 0, 4, 0, 0, 5, 0, 0],
                pass(2000),
            ],
        ),
        one(
            "extension-headers",
            0,
            &[
                [
                    vec![EXTENDED, 1, 0, 6, 1, 4, 0, 0, 0, 0],
                    vec![0, 0, 0, 0, 0, 99, 0, 0, 0],
                ]
                .concat(),
                [vec![EXTENDED, 1, 44, 0], vec![0, 0, 0, 0, 0, 99, 0, 0, 0]].concat(),
                [
                    vec![EXTENDED, 0, 0x20, 4, 1, 1, 1, 0],
                    vec![0, 0, 0, 0, 0, 99, 0, 0, 0],
                ]
                .concat(),
            ],
        ),
        one(
            "again",
            8,
            &[
                shake(0),
                vec![AGAIN, 0, 0],
                vec![AGAIN, 1, 0],
                vec![AGAIN, 1, 0x0b, 0, 30, 1, 0, 40, 2, 0, 50, 3],
                vec![AGAIN, 1, 4, 9],
            ],
        ),
        one(
            "not-accepting",
            0,
            &[vec![ACCEPTING, 1], shake(0), vec![ACCEPTING, 0], shake(2)],
        ),
        one(
            "raw",
            0,
            &[
                vec![RAW, 14, 2, 0, 0, 0, 0, 10, 2, 0, 0, 0, 2, 0, 8, 0],
                vec![RAW, 3, 1, 2, 3],
                vec![RAW, 0],
            ],
        ),
        one(
            "time-wait",
            0,
            &[
                shake(0),
                call(0, 3, 0),
                segment(0, FIN | ACK, 0, 0),
                shake(0),
                pass(30_000),
                shake(0),
            ],
        ),
    ]
}
