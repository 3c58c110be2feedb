//! The codec beside its peers, with criterion: `cargo bench -p hioload-benches`.

#![allow(missing_docs)] // `criterion_group!` generates undocumented items

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use fastwebsockets::{Frame as FastFrame, Payload};
use hioload_benches::decode::{Bench, Fastwebsockets, Ours, Tungstenite};
use hioload_benches::wire::{Content, masked_frames};
use hioload_ws_proto::deflate::{Deflater, Inflater};
use hioload_ws_proto::{MAX_HEADER, OpCode, encode, mask, utf8};
use tungstenite::Bytes;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode as TungsteniteOpCode};

/// One decoder of one group; loading is not timed.
fn decoder(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, mut bench: impl Bench) {
    group.bench_function(name, |b| {
        b.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                bench.load();
                let start = Instant::now();
                black_box(bench.run()).expect("good frames");
                spent += start.elapsed();
            }
            spent
        });
    });
}

fn decode(c: &mut Criterion) {
    for content in [Content::Ascii, Content::Mixed, Content::Binary] {
        // Enough frames that a batch takes much longer than a clock read, and few enough that it fits into L2.
        for (len, frames) in [(16, 256), (128, 64), (1024, 16), (16 * 1024, 4)] {
            let wire: Rc<[u8]> = masked_frames(content, len, frames).into();
            let group = &mut c.benchmark_group(format!("decode {}, {len} B", content.name()));
            group.throughput(Throughput::ElementsAndBytes {
                elements: frames as u64,
                bytes: (len * frames) as u64,
            });
            let shared = || Rc::clone(&wire);
            decoder(group, "hioload, in place", Ours::in_place(shared()));
            decoder(
                group,
                "tungstenite, in place",
                Tungstenite::in_place(shared(), frames),
            );
            decoder(group, "hioload, stream", Ours::from_stream(shared()));
            decoder(
                group,
                "tungstenite, stream",
                Tungstenite::from_stream(shared(), frames),
            );
            decoder(
                group,
                "fastwebsockets, stream",
                Fastwebsockets::from_stream(shared(), frames),
            );
        }
    }
}

fn masking(c: &mut Criterion) {
    let key = [0x5a, 0x13, 0xc7, 0x2e];
    for len in [32, 128, 8 * 1024, 1 << 20] {
        let mut group = c.benchmark_group(format!("mask {len} B"));
        group.throughput(Throughput::Bytes(len as u64));
        let mut buffer = vec![0x55; len];
        let mut out = vec![0; len];
        group.bench_function("hioload", |b| {
            b.iter(|| mask::apply(black_box(&mut buffer), black_box(key), 0));
        });
        group.bench_function("fastwebsockets", |b| {
            b.iter(|| fastwebsockets::unmask(black_box(&mut buffer), black_box(key)));
        });
        group.bench_function("hioload, copying", |b| {
            b.iter(|| mask::copy(black_box(&mut out), black_box(&buffer), black_box(key), 0));
        });
    }
}

fn validating(c: &mut Criterion) {
    for content in [Content::Ascii, Content::Mixed] {
        for len in [16, 128, 4096] {
            let text = content.payload(len);
            let mut group = c.benchmark_group(format!("utf8 {}, {len} B", content.name()));
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function("hioload", |b| b.iter(|| utf8::is_valid(black_box(&text))));
            group.bench_function("simdutf8", |b| {
                b.iter(|| simdutf8::basic::from_utf8(black_box(&text)).is_ok());
            });
            group.bench_function("std", |b| {
                b.iter(|| std::str::from_utf8(black_box(&text)).is_ok());
            });
        }
    }
}

/// Writes a server's binary frame, header and payload, into an existing buffer. The engine writes into a slice of its send
/// buffers.
fn encoding(c: &mut Criterion) {
    for len in [16, 128, 1024, 16 * 1024] {
        let payload = Bytes::from(Content::Binary.payload(len));
        let mut group = c.benchmark_group(format!("encode {len} B"));
        group.throughput(Throughput::Bytes(len as u64));
        let mut out = Vec::with_capacity(len + 32);
        group.bench_function("hioload", |b| {
            b.iter(|| {
                out.clear();
                encode::frame_into(&mut out, OpCode::Binary, black_box(&payload), None);
                black_box(&out);
            });
        });
        group.bench_function("tungstenite", |b| {
            b.iter(|| {
                out.clear();
                let opcode = TungsteniteOpCode::Data(Data::Binary);
                // The clone shares the payload.
                let frame = Frame::message(black_box(&payload).clone(), opcode, true);
                frame.format(&mut out).expect("a Vec takes all");
                black_box(&out);
            });
        });
        let mut buffer = vec![0; len + 32];
        group.bench_function("hioload, into a slice", |b| {
            b.iter(|| {
                let payload = black_box(&payload[..]);
                let mut head = [0; MAX_HEADER];
                let n = encode::header(&mut head, true, false, OpCode::Binary, None, payload.len());
                buffer[..n].copy_from_slice(&head[..n]);
                buffer[n..n + payload.len()].copy_from_slice(payload);
                black_box(&buffer);
            });
        });
        group.bench_function("fastwebsockets", |b| {
            b.iter(|| {
                let mut frame = FastFrame::binary(Payload::Borrowed(black_box(&payload)));
                black_box(frame.write(&mut buffer));
            });
        });
    }
}

/// permessage-deflate, with and without context takeover. Neither of the two peers implements it.
fn deflate(c: &mut Criterion) {
    for len in [256, 1024, 16 * 1024] {
        let plain = Content::Mixed.payload(len);
        let mut group = c.benchmark_group(format!("deflate {len} B"));
        group.throughput(Throughput::Bytes(len as u64));
        for level in [1, 6] {
            let mut deflater = Deflater::new(level, 15, 8);
            let mut out = Vec::with_capacity(len + 64);
            group.bench_function(format!("level {level}, no takeover"), |b| {
                b.iter(|| {
                    out.clear();
                    deflater.reset();
                    deflater
                        .deflate(black_box(&plain), &mut out)
                        .expect("deflated");
                    black_box(&out);
                });
            });
            group.bench_function(format!("level {level}, takeover"), |b| {
                b.iter(|| {
                    out.clear();
                    deflater
                        .deflate(black_box(&plain), &mut out)
                        .expect("deflated");
                    black_box(&out);
                });
            });
        }
        let mut packed = Vec::new();
        Deflater::new(1, 15, 8)
            .deflate(&plain, &mut packed)
            .expect("deflated");
        let mut inflater = Inflater::new(15);
        let mut out = Vec::with_capacity(len);
        group.bench_function("inflate, no takeover", |b| {
            b.iter(|| {
                out.clear();
                inflater
                    .inflate_alone(black_box(&packed), &mut out, len)
                    .expect("inflated");
                black_box(&out);
            });
        });
        group.bench_function("inflate, takeover", |b| {
            b.iter(|| {
                out.clear();
                inflater
                    .inflate(black_box(&packed), &mut out, len)
                    .expect("inflated");
                black_box(&out);
            });
        });
    }
}

/// Short runs: there are many figures, and they are for comparison only.
fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(30)
}

criterion_group! {
    name = benches;
    config = settings();
    targets = decode, masking, validating, encoding, deflate
}
criterion_main!(benches);
