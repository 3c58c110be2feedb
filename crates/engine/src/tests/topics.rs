//! Publishing, on one lcore and across lcores.

use super::*;
use crate::Limits;
use crate::commands::Command;
use hioload_mem::Shared;

#[test]
fn a_subscriber_receives_each_matching_message_once() {
    let mut lab = Lab::new(Config::default());
    let (a, b, c) = (lab.open(), lab.open(), lab.open());
    for pattern in ["news.*", "news.>", "news.eu"] {
        lab.say(a, &format!("sub {pattern}"));
    }
    lab.say(b, "sub news.us");
    lab.log();
    lab.say(c, "pub news.eu hello");
    lab.say(c, "pub news.us howdy");
    assert_eq!(lab.frames(a), ["text hello", "text howdy"]);
    assert_eq!(lab.frames(b), ["text howdy"]);
    assert_eq!(lab.frames(c), [""; 0]);
    assert_eq!(lab.log(), ["pub Ok(1)", "pub Ok(2)"]);
    assert_eq!((lab.totals().published, lab.totals().delivered), (2, 3));
}

#[test]
fn unsubscribing_and_the_end_of_a_connection_stop_delivery() {
    let mut lab = Lab::new(Config::default());
    let (a, b) = (lab.open(), lab.open());
    lab.say(a, "sub t");
    lab.say(b, "sub t");
    lab.say(a, "unsub t");
    lab.say(a, "unsub t");
    lab.log();
    lab.io().reset(b);
    lab.turn();
    lab.say(a, "pub t x");
    assert_eq!(lab.log(), ["close 1006 \"\" by Network", "pub Ok(0)"]);
}

#[test]
fn bad_topics_and_too_many_subscriptions_are_errors() {
    let config = Config::new(Tunables {
        limits: Limits {
            max_subscriptions: 2,
            ..Limits::default()
        },
        ..Tunables::default()
    });
    let mut lab = Lab::new(config);
    let id = lab.open();
    lab.log();
    for command in [
        "sub a",
        "sub a",
        "sub b",
        "sub b",
        "sub c",
        "sub a..b",
        "pub a.* x",
        "unsub a",
        "sub c",
    ] {
        lab.say(id, command);
    }
    assert_eq!(
        lab.log(),
        [
            "sub Ok(true)",
            "sub Ok(false)",
            "sub Ok(true)",
            "sub Ok(false)",
            "sub Err(TooMany)",
            "sub Err(Invalid)",
            "pub Err(Invalid)",
            "unsub Ok(true)",
            "sub Ok(true)"
        ]
    );
    assert_eq!(lab.totals().subscriptions_refused, 1);
}

#[test]
fn messages_cross_lcores_only_to_subscribers() {
    let mut labs = Lab::mesh(3, Config::default());
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    let turn_all = |labs: &mut Vec<Lab>| labs.iter_mut().for_each(Lab::turn);
    labs[1].say(ids[1], "sub x.*");
    turn_all(&mut labs);
    labs[0].say(ids[0], "pub x.y one");
    turn_all(&mut labs);
    assert_eq!(labs[1].frames(ids[1]), ["text one"]);
    // Lcore 2 has no subscriber, so no command is sent to it.
    assert!(labs[2].lcore.app.core.mailbox.is_empty());
    assert_eq!(labs[2].frames(ids[2]), [""; 0]);

    // The first of two subscribers on the same lcore leaves. Delivery ends only when the second has left too.
    let second = labs[1].open();
    labs[1].say(second, "sub x.*");
    labs[1].io().reset(ids[1]);
    turn_all(&mut labs);
    labs[2].say(ids[2], "pub x.z two");
    turn_all(&mut labs);
    assert_eq!(labs[1].frames(second), ["text two"]);
    labs[1].say(second, "unsub x.*");
    turn_all(&mut labs);
    labs[0].say(ids[0], "pub x.y three");
    labs[0].turn();
    assert!(labs[1].lcore.app.core.mailbox.is_empty());
}

#[test]
fn a_full_mailbox_drops_messages_and_counts_them() {
    let mut labs = Lab::mesh(
        2,
        Config {
            mailbox: 4,
            ..Config::default()
        },
    );
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    // More subscriptions than the mailbox has room for commands, while the other lcore sleeps.
    for n in 0..10 {
        labs[1].say(ids[1], &format!("sub t{n}"));
    }
    for _ in 0..10 {
        labs.iter_mut().for_each(Lab::turn);
    }
    for n in 0..10 {
        labs[0].say(ids[0], &format!("pub t{n} {n}"));
        labs[1].turn();
    }
    let expected: Vec<_> = (0..10).map(|n| format!("text {n}")).collect();
    assert_eq!(labs[1].frames(ids[1]), expected);
    // More messages than it holds: the excess is dropped and counted.
    for n in 0..10 {
        labs[0].say(ids[0], &format!("pub t0 {n}"));
    }
    assert_eq!(labs[0].totals().commands_dropped, 6);
}

#[test]
fn large_messages_are_shared_and_arrive_whole() {
    let mut lab = Lab::new(Config::default());
    let ids: Vec<_> = (0..5).map(|_| lab.open()).collect();
    for id in &ids {
        lab.say(*id, "sub big");
    }
    let text = "x".repeat(100_000);
    lab.say(ids[0], &format!("pub big {text}"));
    for id in ids {
        assert_eq!(lab.frames(id), [format!("text {text}")]);
    }
}

#[test]
fn an_lcore_that_ends_wakes_the_lcores_it_has_sent_commands_to() {
    let mut labs = Lab::mesh(2, Config::default());
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    labs.iter_mut().for_each(Lab::turn);
    let (mut first, mut second) = (labs.remove(0), labs.remove(0));
    second.io().woken();
    assert!(second.lcore.app.core.mailbox.prepare_sleep());
    let command = Command::Ping {
        to: ids[1],
        payload: Shared::from(Vec::new()),
    };
    first.lcore.app.core.post(1, command).unwrap();
    first.lcore.finish();
    assert!(!second.lcore.app.core.mailbox.is_empty());
    assert!(
        second.io().woken(),
        "it was not woken although a command waits"
    );
}

#[test]
fn repeated_subscriptions_queue_no_commands_for_other_lcores() {
    let config = Config {
        mailbox: 4,
        ..Config::default()
    };
    let mut labs = Lab::mesh(3, config);
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    for n in 0..1000 {
        labs[0].say(ids[0], &format!("sub t{n}"));
        labs[0].say(ids[0], &format!("unsub t{n}"));
    }
    // No command waits for the other lcores, so none of theirs can find a full mailbox.
    for lab in &labs[1..] {
        assert!(lab.lcore.app.core.mailbox.is_empty());
    }
    labs[0].say(ids[0], "sub t5");
    for (lcore, text) in [(1, "one"), (2, "two")] {
        labs[lcore].say(ids[lcore], &format!("pub t5 {text}"));
        labs[lcore].say(ids[lcore], "pub t6 nobody");
        labs[0].turn();
    }
    assert_eq!(labs[0].frames(ids[0]), ["text one", "text two"]);
    let dropped: Vec<_> = labs
        .iter()
        .map(|lab| lab.totals().commands_dropped)
        .collect();
    assert_eq!(dropped, [0, 0, 0]);
}

#[test]
fn published_memory_bounds_the_shared_messages_and_further_ones_are_copied() {
    let limits = Limits {
        published_memory: 100_000,
        ..Limits::default()
    };
    let mut lab = Lab::new(Config::new(Tunables {
        limits,
        ..Tunables::default()
    }));
    let (slow, other) = (lab.open(), lab.open());
    lab.say(slow, "sub t");
    lab.say(other, "sub t");
    lab.io().set_window(slow, 0);
    let text = "x".repeat(40_000);
    for _ in 0..5 {
        lab.say(other, &format!("pub t {text}"));
    }
    let held = lab.lcore.app.core.published.bytes();
    assert!((80_000..=100_000).contains(&held), "{held} bytes held");
    assert!(lab.totals().published_copied > 0);
    assert_eq!(
        lab.frames(other).len(),
        5,
        "the subscriber that reads receives every message"
    );
    lab.io().set_window(slow, usize::MAX);
    lab.turn();
    assert_eq!(lab.frames(slow).len(), 5);
    assert_eq!(lab.lcore.app.core.published.bytes(), 0);
}
