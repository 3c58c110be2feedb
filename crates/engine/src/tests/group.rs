//! A group of lcores that the test turns by hand. They share topics, counters and jobs, as the lcores of a server do.

use super::*;
use crate::{Group, Jobs};

type Log = Rc<RefCell<Vec<String>>>;

fn group(lcores: usize, config: Config) -> (Group<Fake, Probe>, Log) {
    let log = Log::default();
    let fakes = (0..lcores).map(|_| Fake::new(&FakeOptions::default()).unwrap());
    let probe = |_| Probe {
        log: Rc::clone(&log),
    };
    let group = Lcore::group(fakes, probe, config, Time::from_millis(1000));
    (group, log)
}

fn turn_all(group: &mut Group<Fake, Probe>, now: Time) {
    for _ in 0..3 {
        for lcore in &mut group.lcores {
            lcore.transport().wait(Some(Duration::ZERO)).unwrap();
            lcore.turn(now);
        }
    }
}

fn open(group: &mut Group<Fake, Probe>, lcore: usize, now: Time) -> ConnId {
    let io = group.lcores[lcore].transport();
    let id = io.accept(peer(1));
    io.deliver(id, REQUEST);
    turn_all(group, now);
    let answer = group.lcores[lcore].transport().sent(id);
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    id
}

fn send_text(group: &mut Group<Fake, Probe>, lcore: usize, id: ConnId, text: &str) {
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Text, text.as_bytes(), Some([1; 4]));
    group.lcores[lcore].transport().deliver(id, &frame);
}

fn frames(group: &mut Group<Fake, Probe>, lcore: usize, id: ConnId) -> Vec<String> {
    let bytes = group.lcores[lcore].transport().sent(id);
    parse(Role::Client, &bytes)
}

#[test]
fn the_lcores_of_a_group_share_topics_counters_and_the_remote() {
    let now = Time::from_millis(1000);
    let (mut group, log) = group(2, Config::default());
    let a = open(&mut group, 0, now);
    let b = open(&mut group, 1, now);
    send_text(&mut group, 1, b, "sub t");
    turn_all(&mut group, now);
    send_text(&mut group, 0, a, "pub t hello");
    turn_all(&mut group, now);
    assert_eq!(frames(&mut group, 1, b), ["text hello"]);
    assert_eq!(group.remote.counters().opened, 2);
    assert_eq!(group.lcores[0].totals().opened, 1);

    log.borrow_mut().clear();
    group.remote.post(1, "from afar".to_owned()).unwrap();
    turn_all(&mut group, now);
    assert_eq!(*log.borrow(), ["event from afar"]);
}

#[test]
fn jobs_run_only_when_the_caller_runs_them() {
    let now = Time::from_millis(1000);
    let (mut group, _) = group(1, Config::default());
    let id = open(&mut group, 0, now);
    send_text(&mut group, 0, id, "job one");
    send_text(&mut group, 0, id, "job two");
    turn_all(&mut group, now);
    assert_eq!(frames(&mut group, 0, id), [""; 0]);
    assert_eq!(group.jobs.waiting(), 2);
    assert_eq!(group.jobs.run(), 2);
    turn_all(&mut group, now);
    assert_eq!(frames(&mut group, 0, id), ["text one", "text two"]);
    send_text(&mut group, 0, id, "job panic");
    turn_all(&mut group, now);
    assert_eq!(group.jobs.run(), 1);
    turn_all(&mut group, now);
    assert_eq!(frames(&mut group, 0, id), ["close 1011 internal error"]);
}

#[test]
fn results_of_jobs_wait_for_room_in_the_mailbox() {
    let now = Time::from_millis(1000);
    let config = Config {
        mailbox: 1,
        ..Config::default()
    };
    let (mut group, _) = group(1, config);
    let id = open(&mut group, 0, now);
    for n in 0..3 {
        send_text(&mut group, 0, id, &format!("job {n}"));
    }
    turn_all(&mut group, now);
    assert_eq!(group.jobs.run(), 3);
    for n in 0..3 {
        turn_all(&mut group, now);
        assert_eq!(frames(&mut group, 0, id), [format!("text {n}")]);
        assert_eq!(Jobs::run(&mut group.jobs), 0);
    }
}

#[test]
fn results_of_jobs_and_events_of_threads_count_in_bytes() {
    let now = Time::from_millis(1000);
    let mut config = Config::default();
    config.tunables.limits.mailbox_bytes = 100;
    let (mut group, log) = group(1, config);
    let id = open(&mut group, 0, now);
    let result = "r".repeat(80);
    for _ in 0..3 {
        send_text(&mut group, 0, id, &format!("job {result}"));
    }
    turn_all(&mut group, now);
    // The first is below the bound, so that the second is taken too. The third waits.
    assert_eq!(group.jobs.run(), 3);
    assert_eq!(group.remote.post(0, "event".into()), Err("event".into()));
    turn_all(&mut group, now);
    let text = format!("text {result}");
    assert_eq!(frames(&mut group, 0, id), [text.clone(), text.clone()]);
    assert_eq!(group.jobs.run(), 0);
    turn_all(&mut group, now);
    assert_eq!(frames(&mut group, 0, id), [text]);
    assert_eq!(group.remote.post(0, "event".into()), Ok(()));
    turn_all(&mut group, now);
    assert_eq!(log.borrow().last().unwrap(), "event event");
    let totals = group.lcores[0].totals();
    assert_eq!((totals.posts_refused, totals.mailbox_bytes), (1, 0));
}

#[test]
fn a_group_without_executor_threads_refuses_jobs() {
    let now = Time::from_millis(1000);
    let config = Config {
        executor_threads: 0,
        ..Config::default()
    };
    let (mut group, _) = group(1, config);
    let id = open(&mut group, 0, now);
    send_text(&mut group, 0, id, "job one");
    turn_all(&mut group, now);
    assert_eq!(group.remote.counters().executor_busy, 1);
    assert_eq!((group.jobs.waiting(), group.jobs.run()), (0, 0));
}

#[test]
fn a_drained_group_is_done_when_all_its_lcores_are() {
    let mut now = Time::from_millis(1000);
    let mut config = Config::default();
    config.tunables.drain_jitter = Duration::ZERO;
    let (mut group, log) = group(2, config);
    let id = open(&mut group, 1, now);
    group.remote.drain();
    turn_all(&mut group, now);
    now += Duration::from_millis(1);
    turn_all(&mut group, now);
    assert_eq!(
        frames(&mut group, 1, id),
        ["close 1001 server is shutting down"]
    );
    assert!(
        !group.lcores.iter().any(Lcore::is_done),
        "lcore 1 still has a connection"
    );
    let mut frame = Vec::new();
    encode::frame_into(&mut frame, OpCode::Close, &[0x03, 0xe9], Some([1; 4]));
    group.lcores[1].transport().deliver(id, &frame);
    let next = group.lcores[1].next_timer().unwrap();
    assert!(next <= Duration::from_secs(10));
    now += Duration::from_millis(1);
    turn_all(&mut group, now);
    assert!(group.lcores.iter().all(Lcore::is_done));
    for lcore in group.lcores {
        lcore.finish();
    }
    assert_eq!(log.borrow().last().unwrap(), "close 1001 \"\" by Engine");
}
