//! Several lcores: topics, events, jobs, panics, and the end.

use super::*;
use crate::TcpState;

#[test]
fn topics_reach_every_lcore() {
    let (mut net, _) = network(3);
    let mut clients: Vec<Client> = (0..3)
        .map(|n| net.connect_to(n, "/").expect_open())
        .collect();
    for client in &mut clients[1..] {
        client.send_text("sub news.*");
    }
    clients[0].send_text("pub news.today hello");
    for client in &mut clients[1..] {
        assert_eq!(client.next_text(), "hello");
    }
    clients[0].expect_nothing();
    assert_eq!((net.totals().published, net.totals().delivered), (1, 2));
    assert_eq!(net.totals_of(2).delivered, 1);
    assert_eq!((net.connections(0), net.connections(2)), (1, 1));
}

#[test]
fn events_arrive_from_the_test_and_from_other_threads() {
    let (mut net, log) = network(2);
    net.post(1, "posted".to_owned());
    let remote = net.remote();
    std::thread::spawn(move || remote.post(0, "sent".to_owned()))
        .join()
        .unwrap()
        .unwrap();
    net.settle();
    assert_eq!(*log.borrow(), ["event posted on 1", "event sent on 0"]);
}

#[test]
fn jobs_run_when_the_test_says_so_in_their_order() {
    let (mut net, _) = network(2);
    let mut alice = net.connect_to(1, "/").expect_open();
    alice.send_text("job one").send_text("job two");
    alice.expect_nothing();
    assert_eq!(net.jobs_waiting(), 2);
    assert_eq!(net.run_jobs(), 2);
    assert_eq!(
        (alice.next_text(), alice.next_text()),
        ("one".into(), "two".into())
    );
    alice.send_text("job panic");
    assert_eq!(net.run_jobs(), 1);
    assert_eq!(
        alice.closed(),
        Some((CloseCode::INTERNAL_ERROR, "internal error"))
    );
}

#[test]
fn a_full_executor_refuses_jobs() {
    let mut config = Config::default();
    config.executor_queue = 2;
    let (mut net, _) = with(1, config);
    let mut alice = net.connect("/").expect_open();
    alice
        .send_text("job 1")
        .send_text("job 2")
        .send_text("job 3");
    assert_eq!(net.totals().executor_busy, 1);
    assert_eq!(net.run_jobs(), 2);
}

#[test]
fn a_panic_ends_one_connection_and_no_other() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let mut bob = net.connect("/").expect_open();
    alice.send_text("panic");
    assert_eq!(
        alice.closed(),
        Some((CloseCode::INTERNAL_ERROR, "internal error"))
    );
    assert_eq!(net.totals().handler_panics, 1);
    bob.send_text("still here");
    assert_eq!(bob.next_text(), "still here");
}

#[test]
fn a_drain_closes_every_connection_and_ends_the_lcores() {
    let (mut net, log) = network(2);
    let mut alice = net.connect_to(0, "/").expect_open();
    let mut bob = net.connect_to(1, "/").expect_open();
    bob.answer(false);
    net.drain();
    assert_eq!(net.connect("/").expect_refused().status, 503);
    net.advance(Duration::from_secs(1));
    let goodbye = (CloseCode::GOING_AWAY, "server is shutting down");
    assert_eq!(alice.closed(), Some(goodbye));
    assert_eq!(bob.closed(), Some(goodbye));
    assert_eq!((alice.tcp(), bob.tcp()), (TcpState::Closed, TcpState::Open));
    assert!(!net.has_ended(0), "lcore 1 has a connection");
    net.advance(Duration::from_secs(10));
    assert!(net.has_ended(0) && net.has_ended(1));
    assert_ne!(bob.tcp(), TcpState::Open);
    assert_eq!(log.borrow().len(), 2);
}

#[test]
fn a_stop_ends_all_lcores_and_a_handler_its_own() {
    let (mut net, log) = network(2);
    let mut alice = net.connect_to(0, "/").expect_open();
    alice.send_text("stop");
    assert!(net.has_ended(0) && !net.has_ended(1));
    assert_eq!(alice.closed(), Some((CloseCode::ABNORMAL, "")));
    let bob = net.connect_to(1, "/").expect_open();
    net.stop();
    assert!(net.has_ended(1));
    assert_eq!(bob.tcp(), TcpState::Closed);
    assert_eq!(log.borrow().len(), 2);
}

#[test]
fn the_handler_can_be_inspected() {
    let (mut net, log) = network(1);
    net.with_handler(0, |handler| handler.log.borrow_mut().push("seen".into()));
    assert_eq!(*log.borrow(), ["seen"]);
}
