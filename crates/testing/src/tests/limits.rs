//! Limits: counters, close codes, full queues.

use super::*;

#[test]
fn a_client_that_does_not_read_fills_its_queue_and_is_closed() {
    let (mut net, log) = network(1);
    let mut bob = net.connect("/").expect_open();
    bob.stall().send_text("flood 2000");
    assert_eq!(net.totals().closed_slow, 1);
    bob.expect_nothing();
    bob.resume();
    // 1 MiB of messages, each of 1,004 bytes, and the Close.
    assert_eq!(bob.received().len(), 1045 + 1);
    assert_eq!(bob.closed().unwrap().0, CloseCode::TRY_AGAIN_LATER);
    assert!(log.borrow()[0].starts_with("close 1013"), "{log:?}");
}

#[test]
fn a_full_queue_drops_the_newest_message_if_the_policy_says_so() {
    let mut config = Config::default();
    config.tunables.limits.send_queue = 10_000;
    config.tunables.limits.send_policy = SendPolicy::DropNew;
    let (mut net, _) = with(1, config);
    let mut bob = net.connect("/").expect_open();
    bob.stall().send_text("flood 100");
    assert_eq!(net.totals().dropped_new, 1);
    bob.resume();
    let arrived = bob.received().len();
    assert!((9..=11).contains(&arrived), "{arrived}");
    assert_eq!(bob.closed(), None);
}

#[test]
fn connections_over_the_limit_are_answered_503() {
    let mut config = Config::default();
    config.tunables.limits.max_connections = 2;
    let (mut net, _) = with(2, config);
    let first = net.connect_to(0, "/").expect_open();
    let _second = net.connect_to(1, "/").expect_open();
    assert_eq!(net.connect_to(1, "/").expect_refused().status, 503);
    assert_eq!(net.totals().rejected_connections, 1);
    let mut first = first;
    first.close(CloseCode::NORMAL, "");
    let _third = net.connect_to(1, "/").expect_open();
}

#[test]
fn a_message_over_the_limit_is_closed_with_1009() {
    let mut config = Config::default();
    config.tunables.limits.max_message = 100;
    let (mut net, _) = with(1, config);
    let mut alice = net.connect("/").expect_open();
    alice.send_binary(&[0; 101]);
    assert_eq!(alice.closed().unwrap().0, CloseCode::TOO_BIG);
    assert_eq!(net.totals().messages_too_big, 1);
}

#[test]
fn tunables_change_while_the_network_runs() {
    let (mut net, _) = network(2);
    let mut alice = net.connect_to(1, "/").expect_open();
    let mut tunables = (*net.remote().tunables()).clone();
    tunables.limits.max_message = 10;
    net.reconfigure(tunables.clone()).unwrap();
    alice.send_text("more than ten bytes");
    assert_eq!(alice.closed().unwrap().0, CloseCode::TOO_BIG);
    tunables.limits.max_connections = usize::MAX;
    assert!(net.reconfigure(tunables).is_err());
}

#[test]
fn subscriptions_are_limited() {
    let mut config = Config::default();
    config.tunables.limits.max_subscriptions = 1;
    let (mut net, _) = with(1, config);
    let mut alice = net.connect("/").expect_open();
    alice.send_text("sub a").send_text("sub b");
    let reason = "too many subscriptions";
    assert_eq!(alice.closed(), Some((CloseCode::POLICY_VIOLATION, reason)));
    assert_eq!(net.totals().subscriptions_refused, 1);
}
