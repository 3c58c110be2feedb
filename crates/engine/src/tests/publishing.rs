//! What a publisher can do to subscribers and to other lcores: nothing beyond the messages that they miss.

use super::*;
use crate::commands::Command;
use crate::{Limits, SendPolicy};
use hioload_mem::Shared;
use hioload_transport::Connections;

fn limited(change: impl FnOnce(&mut Limits)) -> Config {
    let mut config = Config::default();
    change(&mut config.tunables.limits);
    config
}

/// Text of `n` digits that begins with `from`.
fn digits(from: usize, n: usize) -> String {
    format!("{from:0>n$}")
}

#[test]
fn a_publication_that_no_queue_could_hold_is_refused_to_its_publisher() {
    let mut labs = Lab::mesh(2, limited(|l| l.send_queue = 5000));
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    let publisher = labs[0].open();
    for (lab, id) in labs.iter_mut().zip(&ids) {
        lab.say(*id, "sub t");
        lab.log();
    }
    labs[0].say(publisher, &format!("pub t {}", digits(0, 4996)));
    labs[0].say(publisher, &format!("pub t {}", digits(0, 4997)));
    labs[0].say(publisher, &format!("pub nobody {}", digits(0, 4997)));
    labs[1].turn();
    assert_eq!(
        labs[0].log(),
        ["pub Ok(1)", "pub Err(TooLarge)", "pub Err(TooLarge)"]
    );
    assert_eq!(labs[0].totals().publishes_refused, 2);
    for (lab, id) in labs.iter_mut().zip(ids) {
        assert_eq!(lab.frames(id), [format!("text {}", digits(0, 4996))]);
        assert_eq!(lab.totals().closed, 0);
    }
}

#[test]
fn what_compresses_well_is_refused_too_if_it_is_too_large_without() {
    let mut config = limited(|l| l.send_queue = 20_000);
    config.tunables.deflate = Some(DeflateConfig::default());
    let mut lab = Lab::new(config);
    let mut request = String::from_utf8(REQUEST.to_vec()).unwrap();
    request.insert_str(
        request.len() - 2,
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    );
    let id = lab.dial(request.as_bytes());
    assert!(lab.text(id).contains("permessage-deflate"));
    lab.say(id, "sub t");
    lab.log();
    lab.say(id, &format!("pub t {}", digits(0, 50_000)));
    assert_eq!(lab.log(), ["pub Err(TooLarge)"]);
    assert!(lab.io().is_open(id) && lab.totals().closed_slow == 0);
}

#[test]
fn a_subscriber_that_is_behind_misses_messages_and_stays() {
    for policy in [SendPolicy::DropOldest, SendPolicy::DropNew] {
        let mut lab = Lab::new(limited(|l| {
            l.send_queue = 5000;
            l.publish_policy = policy;
        }));
        let (behind, bystander, publisher) = (lab.open(), lab.open(), lab.open());
        for id in [behind, bystander] {
            lab.say(id, "sub t");
        }
        lab.io().set_window(behind, 0);
        for n in 0..50 {
            lab.say(publisher, &format!("pub t {}", digits(n, 900)));
        }
        assert_eq!(lab.frames(bystander).len(), 50);
        lab.io().set_window(behind, usize::MAX);
        lab.turn();
        let got = lab.frames(behind);
        let newest = format!("text {}", digits(49, 900));
        assert_eq!(got.contains(&newest), policy == SendPolicy::DropOldest);
        let totals = lab.totals();
        let dropped = totals.dropped_oldest + totals.dropped_new;
        assert_eq!(got.len() as u64 + dropped, 50);
        assert_eq!((totals.closed_slow, totals.closed), (0, 0));
    }
    // An operator may prefer that a client that is behind connects again.
    let mut lab = Lab::new(limited(|l| {
        l.send_queue = 5000;
        l.publish_policy = SendPolicy::Close;
    }));
    let (behind, publisher) = (lab.open(), lab.open());
    lab.say(behind, "sub t");
    lab.io().set_window(behind, 0);
    for n in 0..10 {
        lab.say(publisher, &format!("pub t {}", digits(n, 900)));
    }
    assert_eq!(lab.totals().closed_slow, 1);
}

#[test]
fn published_messages_give_way_to_those_sent_to_the_connection_itself() {
    let mut lab = Lab::new(limited(|l| l.send_queue = 5000));
    let (id, publisher) = (lab.open(), lab.open());
    lab.say(id, "sub t");
    lab.io().set_window(id, 0);
    for n in 0..20 {
        lab.say(publisher, &format!("pub t {}", digits(n, 900)));
    }
    assert!(lab.io().queued(id) >= 5000 - 904);
    for n in 0..4 {
        let Lcore { io, app, .. } = &mut lab.lcore;
        let sent = app
            .core
            .send_message(io, id, Kind::Text, digits(n, 900).as_bytes());
        assert_eq!(sent, Ok(()), "the policy for it is to close");
    }
    lab.io().set_window(id, usize::MAX);
    lab.turn();
    let frames = lab.frames(id);
    let own: Vec<_> = (0..4).map(|n| format!("text {}", digits(n, 900))).collect();
    assert_eq!(frames[frames.len() - 4..], own);
    assert_eq!(lab.totals().closed_slow, 0);
}

#[test]
fn a_publisher_fills_a_mailbox_in_bytes_and_no_other() {
    let mut labs = Lab::mesh(3, limited(|l| l.mailbox_bytes = 10_000));
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    for (lab, id) in labs.iter_mut().zip(&ids) {
        lab.say(*id, "sub t");
    }
    for n in 0..40 {
        labs[0].say(ids[0], &format!("pub t {}", digits(n, 1000)));
        labs[2].turn();
    }
    // The topic and the header count too. While fewer than 10,000 bytes wait, one more is taken.
    assert_eq!(labs[0].totals().commands_dropped, 30);
    assert_eq!(labs[1].lcore.totals().mailbox_bytes, 10 * 1005);
    assert_eq!(labs[2].frames(ids[2]).len(), 40, "its mailbox is not full");
    for _ in 0..3 {
        labs[1].turn();
    }
    assert_eq!(labs[1].frames(ids[1]).len(), 10);
    assert_eq!(labs[1].lcore.totals().mailbox_bytes, 0);
    labs[0].say(ids[0], "pub t again");
    labs[1].turn();
    assert_eq!(labs[1].frames(ids[1]), ["text again"]);
}

#[test]
fn messages_pings_and_reasons_for_another_lcore_count_and_the_sender_is_told() {
    let mut labs = Lab::mesh(2, limited(|l| l.mailbox_bytes = 100));
    let to = labs[1].open();
    let payload = Shared::from_slices(&[&[7; 60]]);
    let commands: [fn(ConnId, Shared) -> Command<String>; 3] = [
        |to, payload| Command::Send {
            to,
            kind: Kind::Binary,
            payload,
        },
        |to, payload| Command::Ping { to, payload },
        |to, payload| Command::Close {
            to,
            code: CloseCode(4000),
            reason: "r".repeat(payload.len()).into(),
        },
    ];
    for command in commands {
        let core = &mut labs[0].lcore.app.core;
        assert_eq!(core.post(1, command(to, payload.clone())), Ok(()));
        assert_eq!(core.post(1, command(to, payload.clone())), Ok(()));
        let third = core.post(1, command(to, payload.clone()));
        assert_eq!(third, Err(SendError::Full));
        labs[1].turn();
    }
    assert_eq!(labs[0].totals().commands_dropped, 3);
    let frames = labs[1].frames(to);
    assert_eq!(frames[..2], ["binary 60", "binary 60"]);
    assert!(frames.last().unwrap().starts_with("close 4000 rrr"));
}
