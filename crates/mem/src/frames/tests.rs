use std::thread;

use super::*;

fn arena(chunks: usize) -> Arc<FrameArena> {
    FrameArena::new(&FrameArenaOptions::new(chunks, 2048)).expect("an arena")
}

#[test]
fn frames_come_from_and_go_back_to_their_pool() {
    let pool = arena(3).pool(3).expect("three chunks");
    let held: Vec<_> = (0..3).map_while(|_| pool.alloc()).collect();
    assert_eq!((held.len(), pool.available()), (3, 0));
    assert!(pool.alloc().is_none());
    assert_eq!(pool.exhausted(), 1);
    drop(held);
    assert_eq!(pool.available(), 3);
}

#[test]
fn chunks_are_disjoint_to_their_last_byte() {
    let pool = arena(4).pool(4).expect("four chunks");
    let mut held: Vec<_> = (0..4).map_while(|_| pool.alloc()).collect();
    for (n, frame) in held.iter_mut().enumerate() {
        frame.grow_front(HEADROOM);
        frame.set_len(2048);
        frame.bytes_mut().fill(n as u8 + 1);
    }
    for (n, frame) in held.iter().enumerate() {
        assert!(frame.bytes().iter().all(|&byte| byte == n as u8 + 1));
        assert_eq!(frame.len(), 2048);
    }
}

#[test]
fn an_arena_gives_each_chunk_to_one_pool() {
    let arena = arena(5);
    let (a, b) = (arena.pool(2).expect("two"), arena.pool(3).expect("three"));
    assert!(arena.pool(1).is_none());
    let mut seen: Vec<_> = (0..2)
        .map_while(|_| a.take())
        .map(|chunk| chunk.index())
        .collect();
    seen.extend((0..3).map_while(|_| b.take()).map(|chunk| chunk.index()));
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn the_beginning_and_the_end_move() {
    let pool = arena(1).pool(1).expect("one chunk");
    let mut frame = pool.alloc().expect("a frame");
    assert_eq!(
        (frame.headroom(), frame.room(), frame.is_empty()),
        (HEADROOM, 2048 - HEADROOM, true)
    );
    frame.set_len(4);
    frame.bytes_mut().copy_from_slice(b"data");
    frame.grow_front(2);
    frame.bytes_mut()[..2].copy_from_slice(b"h:");
    assert_eq!(frame.bytes(), b"h:data");
    frame.shrink_front(3);
    assert_eq!(
        (frame.bytes(), frame.headroom()),
        (&b"ata"[..], HEADROOM + 1)
    );
}

#[test]
#[should_panic(expected = "beyond its chunk")]
fn a_frame_cannot_grow_beyond_its_chunk() {
    let pool = arena(1).pool(1).expect("one chunk");
    pool.alloc().expect("a frame").set_len(2048 - HEADROOM + 1);
}

#[test]
#[should_panic(expected = "before its chunk")]
fn a_frame_cannot_begin_before_its_chunk() {
    let pool = arena(1).pool(1).expect("one chunk");
    pool.alloc().expect("a frame").grow_front(HEADROOM + 1);
}

#[test]
#[should_panic(expected = "another arena")]
fn chunks_of_two_arenas_do_not_mix() {
    let (a, b) = (
        arena(1).pool(1).expect("a pool"),
        arena(1).pool(1).expect("a pool"),
    );
    b.put(a.take().expect("a chunk"));
}

#[test]
fn a_chunk_crosses_threads_with_its_bytes() {
    let arena = arena(2);
    let here = arena.pool(1).expect("a pool");
    let mut frame = here.alloc().expect("a frame");
    frame.set_len(5);
    frame.bytes_mut().copy_from_slice(b"hello");
    frame.set_tx_mark(TxMark {
        start: 34,
        offset: 16,
    });
    let parts = frame.into_parts();
    assert_eq!(here.available(), 0, "it has left");
    let back = thread::spawn(move || {
        let there = arena.pool(1).expect("a pool");
        let frame = there.frame(parts.chunk, parts.start, parts.len, RxMark::Good);
        assert_eq!(
            (frame.bytes(), frame.rx_mark(), parts.tx.offset),
            (&b"hello"[..], RxMark::Good, 16)
        );
        drop(frame);
        assert_eq!(there.available(), 2, "it has moved in");
        there.take().expect("a chunk")
    })
    .join()
    .expect("no panic");
    here.put(back);
    assert_eq!(here.available(), 1);
}

#[test]
fn impossible_sizes_are_refused() {
    for (chunks, chunk_size) in [
        (0, 2048),
        (1, 1000),
        (1, 512),
        (1, 65536),
        (usize::MAX, 2048),
    ] {
        let options = FrameArenaOptions::new(chunks, chunk_size);
        let error = FrameArena::new(&options).expect_err("no arena");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
