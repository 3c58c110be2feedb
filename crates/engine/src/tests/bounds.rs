//! The bounds of a turn in work: connections that cost much, and a bystander that must not notice. The lab has no clock, so the
//! estimates are the time, and what is asserted is counted.

use hioload_transport::Connections;
use hioload_ws_proto::deflate::{Deflater, Sharing};

use super::*;
use crate::work::cost;

/// What a turn may do, in nanoseconds, with the bounds of [`bounded`].
const TURN: u64 = 200_000;
/// One step that begins just before the end: a slice that is inflated, or a full receive.
const STEP: u64 = 100_000;
const OFFER: &str = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fn bounded() -> Config {
    let mut config = Config::default();
    config.tunables.turn_time = Duration::from_nanos(TURN);
    config.tunables.visit_time = Duration::from_nanos(TURN / 4);
    config.tunables.limits.max_message = 16 << 20;
    config.tunables.deflate = Some(DeflateConfig::new(Sharing::Shared));
    config
}

fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut small = Vec::new();
    Deflater::new(9, 15, 9)
        .deflate(payload, &mut small)
        .unwrap();
    let mut frame = Vec::new();
    let key = Some([1, 2, 3, 4]);
    encode::fragment_into(&mut frame, true, true, OpCode::Binary, &small, key);
    frame
}

fn text(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    encode::frame_into(
        &mut frame,
        OpCode::Text,
        text.as_bytes(),
        Some([1, 2, 3, 4]),
    );
    frame
}

impl<H: Handler<Event = String>> Lab<H> {
    fn open_compressing(&mut self) -> ConnId {
        let request = String::from_utf8_lossy(REQUEST).replace("\r\n\r\n", OFFER);
        let id = self.dial(request.as_bytes());
        assert!(self.text(id).contains("permessage-deflate"));
        id
    }

    /// Opens `count` connections that subscribe to `t`.
    fn open_subscribers(&mut self, count: usize) -> Vec<ConnId> {
        let mut subscribers = Vec::with_capacity(count);
        for _ in 0..count {
            let id = self.open();
            self.say(id, "sub t");
            subscribers.push(id);
        }
        subscribers
    }

    /// One turn; returns the work that it did.
    fn one_turn(&mut self) -> u64 {
        let before = self.lcore.app.core.work.spent();
        self.lcore.io.wait(Some(Duration::ZERO)).unwrap();
        self.lcore.turn(self.now);
        self.lcore.app.core.work.spent() - before
    }

    /// Turns until the peer of `id` has received something; returns their number and the work of the longest one.
    fn turns_until_answered(&mut self, id: ConnId) -> (usize, u64) {
        let (mut turns, mut most) = (0, 0);
        while self.io().peek_sent(id).is_empty() {
            most = most.max(self.one_turn());
            turns += 1;
            assert!(turns < 1000, "no answer");
        }
        (turns, most)
    }
}

#[test]
fn a_message_that_inflates_to_much_takes_many_turns_and_a_bystander_one() {
    let mut lab = Lab::new(bounded());
    let (attacker, bystander) = (lab.open_compressing(), lab.open());
    let bomb = compressed(&vec![0; 4 << 20]);
    assert!(bomb.len() < 5_000);
    lab.io().set_window(attacker, 0);
    for round in 0..5 {
        lab.io().deliver(attacker, &bomb);
        let (inflating, waiting) = (lab.one_turn(), lab.one_turn());
        assert!(
            inflating.max(waiting) <= TURN + STEP,
            "{inflating}, {waiting}"
        );
        lab.io()
            .deliver(bystander, &text(&format!("count {round}")));
        let (turns, most) = lab.turns_until_answered(bystander);
        assert!(turns <= 2, "{turns} turns in round {round}");
        assert!(most <= TURN + STEP, "{most} in round {round}");
        lab.io().clear_sent(bystander);
    }
    assert_eq!(lab.totals().messages_too_big, 0);
    // One after the other is inflated after all.
    let mut turns = 0;
    while lab.totals().messages_in < 6 {
        // The handler sends it back in one piece.
        assert!(lab.one_turn() <= TURN + STEP + cost::of_bytes(4 << 20));
        turns += 1;
    }
    assert!(turns > 20, "{turns}");
}

#[test]
fn what_is_inflated_counts_in_the_reassembly_memory_and_is_given_back() {
    let mut config = bounded();
    // A connection may have 2 MiB of it, and large messages together 6 MiB.
    config.tunables.limits.reassembly_memory = 8 << 20;
    let mut lab = Lab::new(config);
    let bomb = compressed(&vec![0; 3 << 19]);
    let ids: Vec<_> = (0..8).map(|_| lab.open_compressing()).collect();
    for id in &ids {
        lab.io().deliver(*id, &bomb);
    }
    lab.one_turn();
    while lab.lcore.has_work() {
        lab.one_turn();
        assert!(lab.lcore.app.assembler.stats().bytes <= 8 << 20);
    }
    let totals = lab.totals();
    assert!(totals.reassembly_exhausted > 0);
    assert!(totals.messages_in > 0, "the others are received");
    assert_eq!(totals.messages_in + totals.reassembly_exhausted, 8);
    assert_eq!(lab.lcore.app.assembler.stats().bytes, 0);
    // A connection that ends in the middle of a message gives it back too.
    let id = lab.open_compressing();
    lab.io().deliver(id, &bomb);
    lab.one_turn();
    lab.one_turn();
    assert!(lab.lcore.app.assembler.stats().bytes > 0);
    lab.io().reset(id);
    lab.turn();
    lab.io().abort(id);
    lab.turn();
    assert_eq!(lab.lcore.app.assembler.stats().bytes, 0);
}

#[test]
fn connections_that_always_have_messages_share_the_turns_with_a_bystander() {
    let mut lab = Lab::new(bounded());
    let attackers: Vec<_> = (0..4).map(|_| lab.open()).collect();
    let bystander = lab.open();
    let flood = text("x").repeat(20_000);
    for id in &attackers {
        lab.io().set_window(*id, usize::MAX);
        lab.io().deliver(*id, &flood);
    }
    for round in 0..20 {
        assert!(lab.one_turn() <= TURN + TURN / 3 + STEP);
        lab.io().deliver(bystander, &text("count"));
        let (turns, most) = lab.turns_until_answered(bystander);
        assert!(turns <= 3, "{turns} turns in round {round}");
        assert!(most <= TURN + TURN / 3 + STEP, "{most} in round {round}");
        lab.io().clear_sent(bystander);
    }
    assert!(lab.totals().turns_cut > 0);
    while lab.lcore.has_work() {
        lab.one_turn();
    }
    // No message is lost, and each connection has its answers in order.
    for id in attackers {
        let answers = lab.frames(id);
        assert_eq!(answers.len(), 20_000);
        assert!(answers.iter().all(|answer| answer == "text x"));
    }
}

#[test]
fn a_published_message_is_sent_over_several_turns_and_answers_do_not_wait_for_it() {
    const SUBSCRIBERS: usize = 900;
    let mut lab = Lab::new(bounded());
    let subscribers = lab.open_subscribers(SUBSCRIBERS);
    let (publisher, bystander) = (lab.open(), lab.open());
    lab.log();
    lab.io().deliver(publisher, &text("pub t hello"));
    lab.one_turn();
    assert_eq!(lab.log(), [format!("pub Ok({SUBSCRIBERS})")]);
    assert!(lab.lcore.io.has_unflushed() && lab.lcore.has_work());
    lab.io().deliver(bystander, &text("count"));
    let (turns, most) = lab.turns_until_answered(bystander);
    assert_eq!(turns, 1);
    assert!(most <= TURN + TURN / 3 + STEP, "{most}");
    assert!(lab.lcore.io.has_unflushed());
    let mut turns = 0;
    while lab.lcore.has_work() {
        lab.one_turn();
        turns += 1;
    }
    assert!(turns > 5, "{turns}");
    for id in subscribers {
        assert_eq!(lab.frames(id), ["text hello"]);
    }
}

#[test]
fn publishers_wait_until_what_they_published_is_sent() {
    const SUBSCRIBERS: usize = 300;
    let mut config = bounded();
    config.tunables.limits.send_queue = 64 << 10;
    let mut lab = Lab::new(config);
    let subscribers = lab.open_subscribers(SUBSCRIBERS);
    let (publisher, bystander) = (lab.open(), lab.open());
    let message = format!("pub t {}", "m".repeat(4000));
    lab.io().deliver(publisher, &text(&message).repeat(100));
    let (mut answered, mut turns) = (0, 0);
    while lab.totals().delivered < 100 * SUBSCRIBERS as u64 || lab.lcore.io.has_unflushed() {
        turns += 1;
        assert!(turns < 2000, "publishers wait for ever");
        lab.io().deliver(bystander, &text("count"));
        lab.one_turn();
        answered += usize::from(!lab.io().peek_sent(bystander).is_empty());
        lab.io().clear_sent(bystander);
        // No queue of a subscriber that reads comes near the bound at which it counts as slow.
        let fullest = subscribers.iter().map(|id| lab.lcore.io.queued(*id)).max();
        assert!(fullest < Some(32 << 10), "{fullest:?}");
    }
    assert!(
        answered > 20,
        "the bystander is served in every turn: {answered}"
    );
    let totals = lab.totals();
    assert_eq!((totals.closed_slow, totals.send_queue_full), (0, 0));
    assert_eq!(totals.delivered, 100 * SUBSCRIBERS as u64);
    for id in subscribers {
        assert_eq!(lab.frames(id).len(), 100);
    }
}

#[test]
fn publishers_do_not_wait_for_ever_while_others_publish_in_every_turn() {
    const SUBSCRIBERS: usize = 400;
    let mut config = bounded();
    config.tunables.limits.send_queue = 64 << 10;
    let mut lab = Lab::new(config);
    for _ in 0..SUBSCRIBERS {
        let id = lab.open();
        lab.say(id, "sub t");
    }
    let publisher = lab.open();
    let message = format!("pub t {}", "m".repeat(2000));
    lab.io().deliver(publisher, &text(&message).repeat(50));
    let (mut turns, mut always) = (0, true);
    while lab.lcore.app.core.counters.messages_in.get() < SUBSCRIBERS as u64 + 50 {
        // As a timer of the application does it.
        let Lcore { io, app, .. } = &mut lab.lcore;
        app.core.publish(io, "t", Kind::Binary, b"tick").unwrap();
        lab.one_turn();
        turns += 1;
        always &= lab.lcore.io.has_unflushed();
        assert!(turns < 2000, "the publisher waits for ever");
    }
    assert!(always, "there is always something to send");
    assert_eq!(lab.totals().closed_slow + lab.totals().send_queue_full, 0);
}

#[test]
fn commands_are_taken_as_the_turn_has_time_for_them() {
    let mut labs = Lab::mesh(2, bounded());
    let ids: Vec<_> = labs.iter_mut().map(Lab::open).collect();
    let bystander = labs[1].open();
    for _ in 0..40 {
        let id = labs[1].open();
        labs[1].say(id, "sub t");
    }
    labs[1].turn();
    labs[0].say(ids[0], "pub t warm");
    labs[1].turn();
    labs[0].io().deliver(ids[0], &text("pub t x").repeat(2000));
    while labs[0].lcore.has_work() || labs[0].io().unread(ids[0]) > 0 {
        labs[0].one_turn();
    }
    labs[1].io().deliver(bystander, &text("count"));
    let (turns, most) = labs[1].turns_until_answered(bystander);
    assert_eq!(turns, 1);
    assert!(most <= TURN + TURN / 3 + STEP, "{most}");
    assert!(!labs[1].lcore.app.core.mailbox.is_empty(), "the rest waits");
    while labs[1].lcore.has_work() {
        assert!(labs[1].one_turn() <= TURN + TURN / 3 + STEP);
    }
    assert_eq!(labs[1].totals().delivered, 40 * 2001);
}

#[test]
fn timers_fire_as_the_turn_has_time_for_them() {
    let mut lab = Lab::new(bounded());
    let (id, bystander) = (lab.open(), lab.open());
    for _ in 0..50 {
        lab.io().deliver(id, &text("timer 5").repeat(100));
        lab.turn();
    }
    lab.log();
    lab.now += Duration::from_millis(20);
    lab.io().deliver(bystander, &text("count"));
    let (turns, most) = lab.turns_until_answered(bystander);
    assert_eq!(turns, 1);
    assert!(most <= TURN + TURN / 3 + STEP, "{most}");
    let fired = lab.log().len();
    assert!(fired > 0 && fired < 5000, "{fired}");
    assert_eq!(
        lab.lcore.next_timer(),
        Some(Duration::ZERO),
        "the rest is due"
    );
    let mut turns = 0;
    while lab.lcore.next_timer() == Some(Duration::ZERO) {
        lab.one_turn();
        turns += 1;
    }
    assert_eq!(fired + lab.log().len(), 5000);
    assert!(turns > 3, "{turns}");
}

#[test]
fn a_drain_visits_connections_over_several_turns() {
    let mut config = bounded();
    config.tunables.drain_jitter = Duration::ZERO;
    let mut labs = Lab::build(1, config, |probe| probe, 2100);
    let lab = &mut labs[0];
    let ids: Vec<_> = (0..2100).map(|_| lab.open()).collect();
    lab.lcore.app.core.drain();
    assert!(lab.lcore.app.core.has_unvisited() && lab.lcore.has_work());
    let given = |lab: &Lab| {
        let sessions = &lab.lcore.app.core.sessions;
        let has = |s: &&crate::session::Session| s.has(crate::session::SessionFlags::DRAINING);
        sessions.iter().filter(has).count()
    };
    assert_eq!(given(lab), 1024);
    lab.one_turn();
    assert_eq!(given(lab), 2048);
    lab.pass(100);
    for id in ids {
        assert_eq!(
            lab.frames(id),
            ["close 1001 server is shutting down"],
            "{id}"
        );
    }
    assert_eq!(lab.totals().drained, 2100);
}

#[test]
fn a_message_longer_than_deflate_max_is_sent_as_it_is_and_counted() {
    let mut config = bounded();
    let mut deflate = DeflateConfig::new(Sharing::Shared);
    deflate.max = 5000;
    config.tunables.deflate = Some(deflate);
    let mut lab = Lab::new(config);
    let id = lab.open_compressing();
    let mut spent = Vec::new();
    for (len, skipped) in [(5000, 0), (5001, 1), (5000, 1)] {
        let before = lab.lcore.app.core.work.spent();
        lab.send(id, OpCode::Binary, &vec![7; len]);
        spent.push(lab.lcore.app.core.work.spent() - before);
        let sent = lab.io().sent(id);
        assert_eq!(sent[0] & 0x40 == 0, len > 5000, "RSV1 of {len} bytes");
        assert_eq!(lab.totals().deflate_skipped, skipped);
    }
    assert!(
        spent[0] > spent[1] + cost::of_compressing(4000),
        "{spent:?}"
    );
    // It changes while the lcore runs.
    let mut new = (*lab.lcore.app.core.tunables).clone();
    if let Some(deflate) = &mut new.deflate {
        deflate.max = 10_000;
    }
    lab.lcore.reconfigure(new).unwrap();
    lab.send(id, OpCode::Binary, &vec![7; 5001]);
    assert_ne!(lab.io().sent(id)[0] & 0x40, 0);
}
