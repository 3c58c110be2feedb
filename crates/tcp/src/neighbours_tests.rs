use proptest::prelude::*;

use super::*;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn ip(n: u8) -> IpAddr {
    [10, 77, 0, n].into()
}

fn ms(millis: u64) -> Time {
    Time::from_millis(millis)
}

#[test]
fn three_requests_a_second_apart_then_unreachable() {
    let mut table = Neighbours::new(8);
    assert_eq!(table.deadline(), None);
    assert_eq!(table.lookup(ip(1), ms(5000)), Lookup::Pending);
    for second in 5..8 {
        let now = ms(second * 1000);
        assert!(table.deadline().is_some_and(|due| due <= now));
        assert_eq!(table.step(now), Some(Step::Ask(ip(1), None)));
        assert_eq!(table.step(now), None);
        assert_eq!(table.lookup(ip(1), now), Lookup::Pending);
        assert_eq!(table.deadline(), Some(now + RETRY));
    }
    assert_eq!(table.step(ms(7999)), None);
    assert_eq!(table.step(ms(8000)), Some(Step::Lost(ip(1))));
    assert_eq!(table.lookup(ip(1), ms(8000)), Lookup::Unreachable);
    assert_eq!(table.deadline(), None);
    // After HOLD it is requested again.
    assert_eq!(table.lookup(ip(1), ms(11_000)), Lookup::Pending);
    assert_eq!(table.step(ms(11_000)), Some(Step::Ask(ip(1), None)));
}

fn known(table: &mut Neighbours, n: u8, mac: [u8; 6], now: Time) {
    assert_eq!(table.lookup(ip(n), now), Lookup::Pending);
    assert_eq!(table.step(now), Some(Step::Ask(ip(n), None)));
    assert!(table.answered(ip(n), mac, now));
    assert_eq!(table.lookup(ip(n), now), Lookup::Known(mac));
}

#[test]
fn only_answers_to_requests_set_an_entry() {
    let mut table = Neighbours::new(8);
    assert!(!table.answered(ip(1), B, ms(0)));
    table.heard(ip(1), B, ms(0));
    assert_eq!(table.len(), 0);
    assert_eq!(table.lookup(ip(1), ms(0)), Lookup::Pending);
    assert!(!table.answered(ip(1), B, ms(0)), "before the request");
    assert_eq!(table.step(ms(0)), Some(Step::Ask(ip(1), None)));
    assert!(table.answered(ip(1), A, ms(1)));
    // The second answer is too late, and the retry is no longer due.
    assert!(!table.answered(ip(1), B, ms(2)));
    assert_eq!(table.step(ms(10_000)), None);
    assert_eq!(table.lookup(ip(1), ms(10_000)), Lookup::Known(A));
}

#[test]
fn old_answers_are_used_and_requested_again() {
    let mut table = Neighbours::new(8);
    known(&mut table, 1, A, ms(0));
    assert_eq!(table.lookup(ip(1), ms(31_000)), Lookup::Known(A));
    // The host itself is asked, and with the last request all.
    assert_eq!(table.step(ms(31_000)), Some(Step::Ask(ip(1), Some(A))));
    assert_eq!(table.lookup(ip(1), ms(31_500)), Lookup::Known(A));
    assert_eq!(table.step(ms(32_000)), Some(Step::Ask(ip(1), Some(A))));
    assert_eq!(table.step(ms(33_000)), Some(Step::Ask(ip(1), None)));
    assert!(table.answered(ip(1), B, ms(33_001)));
    assert_eq!(table.lookup(ip(1), ms(33_001)), Lookup::Known(B));
    // An unsolicited confirmation keeps it fresh.
    table.heard(ip(1), B, ms(60_000));
    assert_eq!(table.lookup(ip(1), ms(89_000)), Lookup::Known(B));
    assert_eq!(table.step(ms(89_000)), None);
    // An expired answer is not used.
    assert_eq!(table.lookup(ip(1), ms(700_000)), Lookup::Pending);
    assert_eq!(table.lookup(ip(1), ms(700_000)), Lookup::Pending);
    assert_eq!(table.step(ms(700_000)), Some(Step::Ask(ip(1), None)));
}

#[test]
fn a_contrary_claim_causes_a_request_and_is_no_answer() {
    let mut table = Neighbours::new(8);
    known(&mut table, 1, A, ms(0));
    table.heard(ip(1), B, ms(500));
    assert_eq!(table.step(ms(500)), None, "answered less than RETRY ago");
    table.heard(ip(1), B, ms(2000));
    assert!(!table.answered(ip(1), B, ms(2000)), "before the request");
    assert_eq!(table.lookup(ip(1), ms(2000)), Lookup::Known(A));
    assert_eq!(table.step(ms(2000)), Some(Step::Ask(ip(1), None)));
    table.heard(ip(1), B, ms(2001));
    assert_eq!(table.step(ms(2001)), None);
    assert!(table.answered(ip(1), A, ms(2002)));
    assert_eq!(table.lookup(ip(1), ms(2002)), Lookup::Known(A));
}

#[test]
fn the_table_is_bounded_and_keeps_the_entries_in_use() {
    let mut table = Neighbours::new(4);
    known(&mut table, 1, A, ms(0));
    for n in 2..200 {
        let now = ms(u64::from(n) * 10);
        table.lookup(ip(n), now);
        assert_eq!(table.lookup(ip(1), now), Lookup::Known(A));
        assert!(table.len() <= 4);
        while table.step(now).is_some() {}
    }
    assert_eq!(table.evicted(), 198 - 3);
    // Without calls of step the queue is bounded as well.
    for n in 2..200 {
        table.lookup(ip(n), ms(9000));
    }
    assert!(table.urgent.len() <= 9);
    while table.step(ms(20_000)).is_some() {}
    assert!(table.waiting.len() <= 4);
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_index_and_the_entries_consistent(
        steps in proptest::collection::vec((0u8..6, 0u8..10, any::<bool>(), 0u64..40_000), 0..300),
    ) {
        let mut table = Neighbours::new(4);
        let mut now = ms(0);
        for (what, n, which, later) in steps {
            let mac = if which { A } else { B };
            match what {
                0 | 1 => {
                    table.lookup(ip(n), now);
                }
                2 => {
                    table.answered(ip(n), mac, now);
                }
                3 => table.heard(ip(n), mac, now),
                4 => now += Duration::from_millis(later),
                _ => while let Some(step) = table.step(now) {
                    if let Step::Lost(ip) = step {
                        prop_assert_eq!(table.find(ip).map(|entry| entry.mac), Some(None));
                    }
                },
            }
            prop_assert!(table.entries.len() <= 4);
            prop_assert_eq!(table.index.len(), table.entries.len());
            for (ip, &slot) in &table.index {
                prop_assert_eq!(table.entries[slot as usize].ip, *ip);
            }
            prop_assert!(table.waiting.iter().is_sorted_by_key(|&(due, ..)| due));
        }
        // Without lookups nothing is due in the end.
        for _ in 0..5 {
            while table.step(now).is_some() {}
            now += RETRY;
        }
        prop_assert!(table.entries.iter().all(|entry| !matches!(entry.state, State::Asking(..))));
        prop_assert_eq!(table.deadline(), None);
    }
}
