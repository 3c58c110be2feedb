//! The queue against a plain byte vector.

use std::io::IoSlice;

use hioload_mem::{LocalShared, Pool, PoolOptions, Shared};
use proptest::prelude::*;

use super::{SendQueue, room_when_empty};
use crate::SendError;

fn pool(buffers: usize, buffer_size: usize) -> Pool {
    Pool::new(&PoolOptions::new(buffers, buffer_size)).unwrap()
}

fn payload(bytes: &[u8]) -> LocalShared {
    Shared::from_slices(&[bytes]).local()
}

/// Writes all of `bytes` as a driver does; the number written before the queue was full.
fn write(queue: &mut SendQueue, pool: &Pool, bound: usize, bytes: &[u8]) -> usize {
    let mut done = 0;
    while done < bytes.len() {
        let Ok(space) = queue.space(pool, bytes.len() - done, bound) else {
            break;
        };
        let n = space.len().min(bytes.len() - done);
        space[..n].copy_from_slice(&bytes[done..done + n]);
        queue.commit(n);
        done += n;
    }
    done
}

/// What the next gathered write of at most `slices` pieces would send.
fn front(queue: &SendQueue, slices: usize) -> Vec<u8> {
    let mut parts = vec![IoSlice::new(&[]); slices];
    let (count, bytes) = queue.gather(&mut parts);
    let joined: Vec<u8> = parts[..count]
        .iter()
        .flat_map(|part| part.iter().copied())
        .collect();
    assert_eq!(joined.len(), bytes);
    assert!(parts[..count].iter().all(|part| !part.is_empty()));
    joined
}

#[test]
fn small_writes_share_a_chunk_around_a_shared_payload() {
    let pool = pool(4, 4096);
    let mut queue = SendQueue::default();
    let big = payload(&[7; 1000]);
    assert_eq!(write(&mut queue, &pool, 1 << 20, b"before"), 6);
    assert_eq!(queue.single(), Some(&b"before"[..]));
    queue
        .push_shared(&pool, big.clone(), false, 1 << 20)
        .unwrap();
    assert_eq!(write(&mut queue, &pool, 1 << 20, b"after"), 5);
    assert_eq!(pool.available(), 3, "one chunk for both writes");
    assert_eq!(big.strong_count(), 2, "referred to, not copied");
    assert_eq!(queue.single(), None);
    let expected = [&b"before"[..], &[7; 1000], b"after"].concat();
    assert_eq!(front(&queue, 8), expected);
    queue.consume(10);
    assert_eq!(front(&queue, 8), expected[10..]);
    queue.consume(expected.len() - 10);
    assert!(queue.is_empty());
    assert_eq!(
        (pool.available(), big.strong_count()),
        (4, 1),
        "all is given back"
    );
}

#[test]
fn a_small_payload_is_copied_unless_droppable() {
    let pool = pool(2, 4096);
    let mut queue = SendQueue::default();
    let small = payload(b"tick");
    queue
        .push_shared(&pool, small.clone(), false, 1 << 20)
        .unwrap();
    assert_eq!(small.strong_count(), 1);
    queue
        .push_shared(&pool, small.clone(), true, 1 << 20)
        .unwrap();
    assert_eq!(small.strong_count(), 2);
    assert_eq!(front(&queue, 8), b"ticktick");
}

#[test]
fn a_copy_that_finds_no_chunk_becomes_a_reference() {
    let pool = pool(1, 64);
    let mut queue = SendQueue::default();
    assert_eq!(write(&mut queue, &pool, 1 << 20, &[1; 60]), 60);
    let small = payload(b"eight by");
    queue
        .push_shared(&pool, small.clone(), false, 1 << 20)
        .unwrap();
    assert_eq!(small.strong_count(), 2);
    assert_eq!(front(&queue, 8)[60..], *b"eight by");
}

#[test]
fn drop_oldest_takes_whole_unsent_droppable_payloads_in_order() {
    let pool = pool(2, 4096);
    let mut queue = SendQueue::default();
    for (byte, droppable) in [(1u8, true), (2, true), (3, false), (4, true)] {
        let len = 600 + usize::from(byte);
        queue
            .push_shared(&pool, payload(&vec![byte; len]), droppable, 1 << 20)
            .unwrap();
    }
    queue.consume(1);
    assert_eq!(
        queue.drop_oldest(),
        Some(602),
        "the first has begun to leave"
    );
    assert_eq!(queue.drop_oldest(), Some(604), "the third must stay");
    assert_eq!(queue.drop_oldest(), None);
    assert_eq!(queue.len(), 600 + 603);
    assert_eq!(front(&queue, 8), [vec![1; 600], vec![3; 603]].concat());
}

#[test]
fn the_mark_moves_with_the_bytes_that_are_sent_or_dropped_before_it() {
    let pool = pool(4, 4096);
    let mut queue = SendQueue::default();
    let push = |queue: &mut SendQueue, byte: u8, droppable| {
        queue
            .push_shared(&pool, payload(&[byte; 1000]), droppable, 1 << 20)
            .unwrap();
    };
    push(&mut queue, 1, false);
    push(&mut queue, 2, true);
    queue.set_mark(usize::MAX);
    push(&mut queue, 3, true);
    assert_eq!(queue.before_mark(), 2000);
    queue.consume(100);
    assert_eq!(queue.before_mark(), 1900);
    assert_eq!(queue.drop_oldest(), Some(1000));
    assert_eq!(queue.before_mark(), 900);
    assert_eq!(queue.drop_oldest(), Some(1000), "behind the mark");
    assert_eq!(queue.before_mark(), 900);
    queue.consume(900);
    assert_eq!((queue.before_mark(), queue.len()), (0, 0));
    // A mark within a message.
    push(&mut queue, 4, false);
    push(&mut queue, 5, true);
    queue.set_mark(1200);
    assert_eq!(queue.drop_oldest(), Some(1000));
    assert_eq!(queue.before_mark(), 1000);
    queue.clear();
    assert_eq!(queue.before_mark(), 0);
}

#[test]
fn a_blocked_connection_leaves_a_quarter_to_others() {
    let pool = pool(8, 64);
    let mut queue = SendQueue::default();
    assert_eq!(write(&mut queue, &pool, 1000, &[1; 64]), 64);
    let mut others = SendQueue::default();
    assert_eq!(write(&mut others, &pool, 1000, &[1; 256]), 256);
    queue.set_blocked();
    assert!((1..=64).contains(&queue.room(&pool, 1000)));
    assert_eq!(write(&mut queue, &pool, 1000, &[2; 200]), 64);
    assert_eq!((pool.available(), queue.room(&pool, 1000)), (2, 0));
    // A small payload that would be copied into one is queued as it is.
    let small = payload(b"small");
    queue
        .push_shared(&pool, small.clone(), false, 1000)
        .unwrap();
    assert_eq!((pool.available(), small.strong_count()), (2, 2));
    // After `clear`, a write can use the last chunks too.
    queue.clear();
    assert_eq!(write(&mut queue, &pool, 1000, &[3; 300]), 256);
    assert_eq!(pool.available(), 0);
}

#[test]
fn a_few_queues_cannot_take_the_pool() {
    const BOUND: usize = 1 << 20;
    let pool = pool(1024, 64);
    // None is blocked yet: each is given more than it may hold.
    let mut queues: Vec<_> = (0..40).map(|_| SendQueue::default()).collect();
    let much = [0; 512 * 64];
    let taken: Vec<usize> = queues
        .iter_mut()
        .map(|queue| write(queue, &pool, BOUND, &much) / 64)
        .collect();
    assert_eq!(taken[0], 256, "a quarter of the pool");
    assert!(taken.is_sorted_by(|one, next| one >= next), "{taken:?}");
    assert!(taken[39] >= 4, "{taken:?}");
    assert!(pool.available() >= 1024 / 8, "{taken:?}");
    // The reserve is for those that need little.
    let mut small = SendQueue::default();
    assert_eq!(write(&mut small, &pool, BOUND, &[0; 200]), 200);
}

#[test]
fn the_bound_and_the_pool_are_the_limits() {
    let pool = pool(2, 64);
    let mut queue = SendQueue::default();
    assert_eq!(write(&mut queue, &pool, 100, &[5; 200]), 100);
    assert_eq!(queue.space(&pool, 1, 100).unwrap_err(), SendError::Full);
    assert_eq!(
        queue.push_shared(&pool, payload(b"x"), true, 100),
        Err(SendError::Full)
    );
    assert_eq!(
        write(&mut queue, &pool, 1000, &[5; 200]),
        28,
        "the pool has 128 bytes"
    );
    queue
        .push_shared(&pool, payload(&[6; 600]), false, 1000)
        .unwrap();
    assert_eq!(
        queue.push_shared(&pool, payload(&[6; 600]), false, 1000),
        Err(SendError::Full)
    );
    queue.clear();
    assert_eq!(pool.available(), 2);
}

#[test]
fn one_byte_payloads_cannot_make_the_table_grow_without_bound() {
    let pool = pool(1, 64);
    let mut queue = SendQueue::default();
    let byte = payload(b"x");
    let taken =
        (0..10_000).take_while(|_| queue.push_shared(&pool, byte.clone(), true, 64_000).is_ok());
    assert_eq!(taken.count(), 64 + 1000);
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    Abandon(usize),
    Shared(usize, bool),
    Send(usize, usize),
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0usize..700).prop_map(Step::Write),
        1 => (0usize..700).prop_map(Step::Abandon),
        2 => (0usize..1200, any::<bool>()).prop_map(|(n, droppable)| Step::Shared(n, droppable)),
        4 => (1usize..6, 0usize..2000).prop_map(|(slices, n)| Step::Send(slices, n)),
        1 => Just(Step::Drop),
    ]
}

/// The model: segments as plain vectors, with what `drop_oldest` needs to know of them.
struct Model(Vec<(Vec<u8>, bool)>);

impl Model {
    fn bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(bytes, _)| bytes.iter().copied())
            .collect()
    }
    fn consume(&mut self, mut n: usize) {
        while n > 0 {
            let (bytes, droppable) = &mut self.0[0];
            let taken = n.min(bytes.len());
            bytes.drain(..taken);
            *droppable = false;
            n -= taken;
            if bytes.is_empty() {
                self.0.remove(0);
            }
        }
    }
    fn drop_oldest(&mut self) -> Option<usize> {
        let at = self.0.iter().position(|(_, droppable)| *droppable)?;
        Some(self.0.remove(at).0.len())
    }
}

proptest! {
    #[test]
    fn same_bytes_as_the_model(
        steps in prop::collection::vec(step(), 1..80),
        bound in 1usize..6000,
        buffers in 1usize..8,
        buffer_size in 16usize..600,
    ) {
        let pool = pool(buffers, buffer_size);
        let mut queue = SendQueue::default();
        let mut model = Model(Vec::new());
        let mut next = 0u8;
        let mut fresh = |n: usize| -> Vec<u8> {
            (0..n).map(|_| { next = next.wrapping_add(1); next }).collect()
        };
        prop_assert!(room_when_empty(&pool, bound) <= bound);
        for step in steps {
            match step {
                Step::Write(n) => {
                    // A writer that looks at the room first is never cut off.
                    let room = queue.room(&pool, bound);
                    let n = if n % 3 == 0 { n } else { n.min(room) };
                    let bytes = fresh(n);
                    let done = write(&mut queue, &pool, bound, &bytes);
                    prop_assert!(done == n || n > room, "room {room}, asked {n}, took {done}");
                    if done > 0 {
                        model.0.push((bytes[..done].to_vec(), false));
                    }
                }
                Step::Abandon(n) => {
                    if let Ok(space) = queue.space(&pool, n, bound) {
                        prop_assert!(space.len() >= n.clamp(1, buffer_size / 4));
                        queue.commit(0);
                    }
                }
                Step::Shared(n, droppable) => {
                    let bytes = fresh(n);
                    let fits = n <= bound.saturating_sub(queue.len());
                    let result = queue.push_shared(&pool, payload(&bytes), droppable, bound);
                    prop_assert_eq!(result.is_ok(), fits);
                    if fits && n > 0 {
                        model.0.push((bytes, droppable));
                    }
                }
                Step::Send(slices, n) => {
                    let sending = front(&queue, slices);
                    prop_assert!(model.bytes().starts_with(&sending));
                    prop_assert_eq!(sending.is_empty(), queue.is_empty());
                    if let Some(single) = queue.single() {
                        prop_assert_eq!(single, &model.bytes()[..]);
                    }
                    let n = n.min(sending.len());
                    queue.consume(n);
                    model.consume(n);
                }
                Step::Drop => prop_assert_eq!(queue.drop_oldest(), model.drop_oldest()),
            }
            prop_assert_eq!(queue.len(), model.bytes().len());
        }
        queue.clear();
        prop_assert_eq!(pool.available(), buffers);
    }
}
