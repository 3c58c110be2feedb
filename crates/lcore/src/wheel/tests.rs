use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: u64 = TICK_NANOS;

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn fired<K: Copy>(wheel: &mut TimerWheel<K>, now: Time) -> Vec<K> {
    std::iter::from_fn(|| wheel.poll(now)).collect()
}

#[test]
fn a_timer_is_small() {
    assert_eq!(size_of::<Entry<u64>>(), 32);
    assert_eq!(size_of::<Entry<(u32, u32)>>(), 32);
    assert_eq!(size_of::<Entry<u32>>(), 24);
    assert_eq!(size_of::<Option<TimerId>>(), 8);
}

#[test]
fn fires_once_not_early_and_within_a_tick() {
    let mut wheel = TimerWheel::new(ms(10));
    wheel.insert(Time::from_nanos(15 * MS + 1), 'a');
    assert_eq!(wheel.next_deadline(), Some(ms(16)));
    assert!(fired(&mut wheel, Time::from_nanos(16 * MS - 1)).is_empty());
    assert_eq!(fired(&mut wheel, ms(16)), ['a']);
    assert!(fired(&mut wheel, ms(100)).is_empty());
    assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
}

#[test]
fn fires_in_order_of_ticks_across_levels_after_a_long_sleep() {
    let deadlines = [
        1,
        63,
        64,
        65,
        4095,
        4096,
        4097,
        262_144,
        86_400_000,
        40 * 86_400_000,
    ];
    let mut wheel = TimerWheel::new(Time::ZERO);
    for &at in deadlines.iter().rev() {
        wheel.insert(ms(at), at);
    }
    assert_eq!(fired(&mut wheel, ms(u64::from(u32::MAX))), deadlines);
}

#[test]
fn a_cancelled_timer_never_fires_and_its_id_is_stale() {
    let mut wheel = TimerWheel::new(Time::ZERO);
    let a = wheel.insert(ms(5), 'a');
    let b = wheel.insert(ms(5), 'b');
    assert_eq!(wheel.deadline(a), Some(ms(5)));
    assert_eq!(wheel.cancel(a), Some('a'));
    assert_eq!((wheel.cancel(a), wheel.deadline(a)), (None, None));
    // The entry is reused: the old id must not name the new timer.
    let c = wheel.insert(ms(6), 'c');
    assert_eq!(wheel.cancel(a), None);
    assert_eq!(fired(&mut wheel, ms(6)), ['b', 'c']);
    assert_eq!((wheel.cancel(b), wheel.cancel(c)), (None, None));
}

#[test]
fn a_due_timer_can_still_be_cancelled() {
    let mut wheel = TimerWheel::new(Time::ZERO);
    let ids = [
        wheel.insert(ms(5), 0),
        wheel.insert(ms(5), 1),
        wheel.insert(ms(5), 2),
    ];
    let first = wheel.poll(ms(5)).expect("one is due");
    let (other, last) = ((first + 1) % 3, (first + 2) % 3);
    assert_eq!(wheel.next_deadline(), Some(ms(5)));
    assert_eq!(wheel.cancel(ids[other]), Some(other));
    assert_eq!(fired(&mut wheel, ms(5)), [last]);
}

#[test]
fn a_timer_that_sets_itself_again_at_once_does_not_block_the_loop() {
    let mut wheel = TimerWheel::new(Time::ZERO);
    wheel.insert(Time::ZERO, ());
    for now in [10_000, 10_001, 20_000] {
        let mut times = 0;
        while wheel.poll(ms(now)).is_some() {
            times += 1;
            wheel.insert(Time::ZERO, ());
        }
        assert_eq!(times, 1);
        assert_eq!(wheel.next_deadline(), Some(ms(now + 1)));
    }
}

#[test]
fn the_ends_of_the_scale_are_ordinary_deadlines() {
    let mut wheel = TimerWheel::new(Time::ZERO);
    let never = wheel.insert(Time::MAX, 'z');
    assert!(fired(&mut wheel, Time::from_nanos(u64::MAX / 2)).is_empty());
    assert_eq!(wheel.cancel(never), Some('z'));
    wheel.insert(Time::from_nanos(u64::MAX - MS), 'y');
    assert_eq!(fired(&mut wheel, Time::MAX), ['y']);
    wheel.insert(Time::ZERO, 'x');
    assert!(fired(&mut wheel, Time::MAX).is_empty());
    assert!(wheel.next_deadline().is_some());
}

#[test]
fn time_that_goes_back_changes_nothing() {
    let mut wheel = TimerWheel::new(ms(1000));
    wheel.insert(ms(1010), ());
    assert!(wheel.poll(ms(1009)).is_none());
    assert!(wheel.poll(ms(3)).is_none());
    assert!(wheel.poll(ms(1010)).is_some());
}

#[test]
fn entries_are_used_again_and_capacity_is_enough() {
    let mut wheel = TimerWheel::with_capacity(Time::ZERO, 100);
    let capacity = wheel.entries.capacity();
    for round in 0..50 {
        for key in 0..100_u32 {
            wheel.insert(ms(round * 10 + u64::from(key) % 10), key);
        }
        assert_eq!(fired(&mut wheel, ms(round * 10 + 10)).len(), 100);
    }
    assert_eq!(
        (wheel.entries.len(), wheel.entries.capacity()),
        (100, capacity)
    );
}

/// A single timer wakes a sleeper once for each level that it moves down, not once for each turn of a level.
#[test]
fn a_far_timer_wakes_a_sleeper_few_times() {
    let mut wheel = TimerWheel::new(ms(12_345));
    let at = 12_345 + 30 * 86_400_000;
    wheel.insert(ms(at), ());
    let mut wakes = 0;
    let mut now = Time::ZERO;
    while let Some(next) = wheel.next_deadline() {
        assert!(next > now && next <= ms(at));
        now = next;
        wakes += 1;
        wheel.poll(now);
    }
    assert_eq!(now, ms(at));
    assert!(wakes <= LEVELS, "{wakes} wake-ups");
}

/// With more timers in one slot than may move at once, they move down in several series, and none is lost or early.
#[test]
fn a_crowded_slot_is_emptied_in_several_series() {
    const TIMERS: u64 = 5 * MOVES as u64;
    let mut wheel = TimerWheel::new(Time::ZERO);
    let ids: Vec<_> = (0..TIMERS)
        .map(|k| wheel.insert(ms(4096 + k % 64), k))
        .collect();
    let (mut series, mut fired_keys) = (0, Vec::new());
    while wheel.next_deadline().is_some_and(|next| next <= ms(4200)) {
        series += 1;
        fired_keys.extend(fired(&mut wheel, ms(4200)));
        if series == 2 {
            // Timers are set and cancelled while the slot is partly emptied.
            assert_eq!(wheel.cancel(ids[0]), Some(0));
            assert_eq!(wheel.cancel(ids[TIMERS as usize - 1]), Some(TIMERS - 1));
            wheel.insert(ms(4100), TIMERS);
        }
        assert!(series < 20);
    }
    assert!(series >= 5, "{series} series");
    fired_keys.sort_unstable();
    assert_eq!(fired_keys, (1..TIMERS - 1).collect::<Vec<_>>());
    assert_eq!((wheel.len(), wheel.next_deadline()), (1, Some(ms(4201))));
    assert_eq!(fired(&mut wheel, ms(4201)), [TIMERS]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert { after_nanos: u64 },
    InsertPast,
    Cancel { pick: usize },
    Advance { nanos: u64 },
    AdvanceToNext,
}

/// From below a tick to hundreds of days, with all magnitudes equally likely.
fn span() -> impl Strategy<Value = u64> {
    (0_u32..55, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(|after_nanos| Step::Insert { after_nanos }),
        1 => Just(Step::InsertPast),
        3 => any::<usize>().prop_map(|pick| Step::Cancel { pick }),
        3 => span().prop_map(|nanos| Step::Advance { nanos }),
        3 => Just(Step::AdvanceToNext),
    ]
}

/// The model: a sorted map from (tick, key) to id.
struct Model {
    timers: BTreeMap<(u64, u32), TimerId>,
    now: u64,
}

impl Model {
    fn tick_for(&self, deadline: u64) -> u64 {
        deadline.div_ceil(MS).max(self.now / MS + 1)
    }

    fn due(&mut self) -> Vec<(u64, u32)> {
        let later = self.timers.split_off(&(self.now / MS + 1, 0));
        std::mem::replace(&mut self.timers, later)
            .into_keys()
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn behaves_as_a_sorted_map(
        start in span(),
        moves_each in prop_oneof![Just(MOVES), 1_usize..4],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut wheel = TimerWheel::new(Time::from_nanos(start));
        (wheel.moves, wheel.moves_each) = (moves_each, moves_each);
        let mut model = Model { timers: BTreeMap::new(), now: start };
        let mut stale = Vec::new();
        for (key, step) in (0_u32..).zip(steps) {
            match step {
                Step::Insert { .. } | Step::InsertPast => {
                    let deadline = match step {
                        Step::Insert { after_nanos } => model.now + after_nanos,
                        _ => model.now / 2,
                    };
                    let id = wheel.insert(Time::from_nanos(deadline), key);
                    model.timers.insert((model.tick_for(deadline), key), id);
                    prop_assert_eq!(wheel.deadline(id), Some(ms(model.tick_for(deadline))));
                }
                Step::Cancel { pick } => {
                    let chosen = model.timers.keys().nth(pick % model.timers.len().max(1)).copied();
                    if let Some(chosen) = chosen {
                        let id = model.timers.remove(&chosen).expect("just found");
                        prop_assert_eq!(wheel.cancel(id), Some(chosen.1));
                        stale.push(id);
                    }
                }
                Step::Advance { .. } | Step::AdvanceToNext => {
                    model.now = match (step, wheel.next_deadline()) {
                        (Step::Advance { nanos }, _) => model.now + nanos,
                        (_, Some(next)) => next.as_nanos(),
                        (_, None) => model.now,
                    };
                    let now = Time::from_nanos(model.now);
                    let due = model.due();
                    let mut fired = fired(&mut wheel, now);
                    // With few moves per series more timers may be due; with many there must be none.
                    while wheel.next_deadline().is_some_and(|next| next <= now) {
                        prop_assert!(moves_each < MOVES);
                        fired.extend(std::iter::from_fn(|| wheel.poll(now)));
                    }
                    // The same timers, in the order of ticks; within a tick any order is allowed.
                    let tick_of = |key| due.iter().find(|timer| timer.1 == key).map(|timer| timer.0);
                    let ticks: Vec<_> = fired.iter().map(|&key| tick_of(key)).collect();
                    prop_assert!(ticks.is_sorted() && !ticks.contains(&None));
                    prop_assert_eq!(fired.len(), due.len());
                }
            }
            prop_assert_eq!(wheel.len(), model.timers.len());
            // Never later than the first deadline, and always in the future.
            let first = model.timers.first_key_value().map(|(&(tick, _), _)| ms(tick));
            match (wheel.next_deadline(), first) {
                (None, None) => {}
                (Some(next), Some(first)) => prop_assert!(next <= first && next.as_nanos() > model.now),
                (next, first) => prop_assert!(false, "{:?} but the first is due at {:?}", next, first),
            }
            for &id in &stale {
                prop_assert_eq!(wheel.cancel(id), None);
            }
        }
    }
}

#[test]
fn a_place_names_the_timer_that_is_set_in_it() {
    let mut wheel = TimerWheel::new(Time::ZERO);
    let first = wheel.insert(Time::from_millis(5), 1);
    assert_eq!(wheel.set_in(first.place()), Some(first));
    assert_eq!(wheel.cancel(first), Some(1));
    assert_eq!(wheel.set_in(first.place()), None);
    let second = wheel.insert(Time::from_millis(7), 2);
    assert_eq!(second.place(), first.place());
    assert_eq!(wheel.set_in(first.place()), Some(second));
    assert_eq!(wheel.set_in(99), None);
}
