//! Virtual time.

use super::*;

#[test]
fn timers_fire_at_their_own_time_within_one_advance() {
    let (mut net, _) = network(2);
    let mut alice = net.connect_to(0, "/").expect_open();
    let mut bob = net.connect_to(1, "/").expect_open();
    alice.send_text("timer 1500").send_text("timer 10");
    bob.send_text("timer 3600000");
    net.advance(Duration::from_millis(9));
    alice.expect_nothing();
    net.advance(Duration::from_secs(2));
    assert_eq!(alice.next_text(), "timer 7 at 1010");
    assert_eq!(alice.next_text(), "timer 7 at 2500");
    net.advance(Duration::from_secs(3600));
    assert_eq!(bob.next_text(), "timer 7 at 3601000");
    assert_eq!(net.now().as_millis(), 1000 + 9 + 2000 + 3_600_000);
}

#[test]
fn a_silent_client_is_pinged_and_stays_if_it_answers() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let mut bob = net.connect("/").expect_open();
    bob.answer(false);
    net.advance(Duration::from_secs(100));
    assert_eq!(alice.closed(), None);
    alice.expect_nothing();
    assert_eq!(alice.received().len(), 3);
    assert_eq!(bob.closed().unwrap().0, CloseCode::GOING_AWAY);
    assert_eq!(net.totals().idle_timeouts, 1);
}

#[test]
fn throttled_accepts_wait_for_their_time() {
    let mut config = Config::default();
    config.tunables.limits.accept_rate = 2;
    let (mut net, _) = with(1, config);
    let clients: Vec<Client> = (0..4).map(|_| net.connect("/")).collect();
    assert!(clients[3].response().is_none());
    net.advance(Duration::from_secs(3));
    for client in clients {
        client.expect_open();
    }
}
