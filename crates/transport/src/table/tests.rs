use hioload_mem::{Pool, PoolOptions};

use super::*;
use crate::SendError;

fn table() -> Table<u32> {
    let pool = Pool::new(&PoolOptions::new(64, 1024)).unwrap();
    Table::new(Vec::with_capacity(8), pool, 4096)
}

fn id(index: u32, generation: u32) -> ConnId {
    ConnId { index, generation }
}

fn write(table: &mut Table<u32>, id: ConnId, n: usize) {
    let space = table.send_space(id, n).unwrap().len();
    table.commit(id, n.min(space));
}

#[test]
fn an_entry_with_4_bytes_of_the_transport_is_16_bytes() {
    assert_eq!(size_of::<Entry<u32>>(), 16);
}

#[test]
fn an_old_id_is_stale_and_slots_may_be_used_in_any_order() {
    let mut table = table();
    table.open(id(5, 1), 7, 0);
    assert!(table.get(id(5, 1)).is_some() && table.get(id(5, 0)).is_none());
    assert!(table.get(id(4, 0)).is_none() && table.id_at(4).is_none());
    assert_eq!(table.id_at(5), Some(id(5, 1)));
    assert_eq!(table.close(id(5, 1)), Some(7));
    assert_eq!(table.close(id(5, 1)), None);
    assert!(table.get(id(5, 1)).is_none());
    assert_eq!(table.next_id(5), id(5, 2));
    table.open(id(5, 2), 0, 0);
    assert_eq!(table.close(id(5, 1)), None);
    assert!(table.get(id(5, 2)).is_some());
}

#[test]
#[cfg(target_os = "linux")]
fn an_idle_table_returns_the_memory_of_a_peak_step_by_step_and_then_sleeps() {
    let pool = Pool::new(&PoolOptions::new(400, 4096)).unwrap();
    let mut table: Table<u32> = Table::new(Vec::new(), pool, 4096);
    assert_eq!(table.until_trim(None), None);
    drop(
        (0..400)
            .map_while(|_| table.pool().get())
            .collect::<Vec<_>>(),
    );
    let (mut now, mut steps) = (Time::ZERO, 0);
    while let Some(wait) = table.until_trim(None) {
        assert_eq!(wait, TRIM_INTERVAL);
        let soon = Duration::from_millis(1);
        assert_eq!(table.until_trim(Some(soon)), Some(soon));
        table.trim(now);
        now += wait;
        steps += 1;
    }
    // The first step begins the time in which they are free, and the last 64 stay.
    assert_eq!(steps, 1 + (400_usize - 64).div_ceil(TRIMMED));
}

#[test]
fn numbers_are_dense_reused_and_bounded() {
    let mut numbers = Numbers::new(2);
    assert_eq!((numbers.take(), numbers.take()), (Some(0), Some(1)));
    assert!(numbers.is_full() && numbers.take().is_none());
    numbers.give_back(0);
    assert!(!numbers.is_full());
    assert_eq!((numbers.take(), numbers.take()), (Some(0), None));
}

#[test]
fn staged_bytes_survive_the_making_of_a_queue_and_count_in_its_bound() {
    let mut table = table();
    for index in 0..3 {
        let id = id(index, 0);
        table.open(id, 0, 0);
        table.stage(id, 100, false);
        assert_eq!(table.queued(id), 100);
        assert_eq!(table.send_room(id), 3996);
        write(&mut table, id, 50);
        assert_eq!((table.staged(id), table.queued(id)), (100, 150));
        assert_eq!(table.take_staged(id), 100);
        assert_eq!(table.queued(id), 50);
        table.drop_queue(id);
        assert_eq!(table.queued(id), 0);
        assert_eq!(table.queues.count(), (0, 1), "the queue is reused");
    }
}

#[test]
fn a_queue_goes_with_its_connection() {
    let mut table = table();
    for (n, end) in [(0, "close"), (1, "dead"), (2, "open again without a close")] {
        table.open(id(n, 0), 0, 0);
        write(&mut table, id(n, 0), 10);
        match n {
            0 => drop(table.close(id(n, 0))),
            1 => assert!(table.mark_dead(id(n, 0), Closed::Flushed).is_some()),
            _ => table.open(id(n, 1), 0, 0),
        }
        assert_eq!(table.queues.count(), (0, 1), "{end}");
    }
    assert_eq!(table.pool.available(), table.pool.capacity());
}

#[test]
fn a_connection_is_flushed_once_and_dies_once() {
    let mut table = table();
    let id = id(0, 0);
    table.open(id, 0, 0);
    write(&mut table, id, 10);
    write(&mut table, id, 10);
    table.mark_dirty(id, flag::FINISH);
    assert_eq!(table.dirty, [id]);
    assert_eq!(table.send_space(id, 1), Err(SendError::Closed));
    assert!(table.mark_dead(id, Closed::Aborted).is_some());
    assert!(table.mark_dead(id, Closed::Flushed).is_none());
    assert_eq!(table.ended, [(id, Closed::Aborted)]);
    table.mark_dirty(id, flag::CLOSE);
    assert!(!table.get(id).unwrap().flags.any(flag::CLOSE));
}

#[test]
fn a_blocked_connection_reports_progress_once_and_is_writable_when_drained() {
    let mut table = table();
    let id = id(0, 0);
    table.open(id, 0, 0);
    write(&mut table, id, 100);
    assert!(table.blocked(id, true));
    assert!(table.is_blocked(id) && !table.has_moved(id));
    assert!(!table.blocked(id, false), "it was blocked before");
    assert!(!table.has_moved(id));
    table.blocked(id, true);
    assert!(table.has_moved(id) && !table.has_moved(id));
    table.mark_dirty(id, flag::FINISH);
    let drained = table.drained(id).unwrap();
    assert!(drained.writable && drained.finish && !drained.close);
    assert_eq!(table.queued(id), 0);
    let again = table.drained(id).unwrap();
    assert!(!again.writable && !again.finish, "{again:?}");
}

#[test]
fn a_paused_connection_is_listed_when_it_resumes_with_something_to_present() {
    let mut table = table();
    for (n, flags) in [(0, 0), (1, flag::READABLE), (2, flag::LATER)] {
        table.open(id(n, 0), 0, flags);
        table.pause(id(n, 0));
        table.resume(id(n, 0));
        table.resume(id(n, 0));
    }
    assert_eq!(table.ready, [id(1, 0), id(2, 0)]);
}
