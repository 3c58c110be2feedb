//! The messages of failed expectations.

use std::panic::{AssertUnwindSafe, catch_unwind};

use hioload_engine::Remote;

use super::*;

/// The message of a panic.
fn message(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("it fails");
    *panic.downcast::<String>().expect("a formatted message")
}

#[test]
fn a_failure_shows_what_the_client_has_received() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    let name = alice.id();
    assert_eq!(
        message(|| drop(alice.next_text())),
        format!(
            "expected a text message on connection {name}: it is open and has received nothing"
        )
    );
    alice.send_text("one").send_binary(b"\0two").ping(b"p");
    assert_eq!(alice.next_text(), "one");
    assert_eq!(
        message(|| drop(alice.next_ping())),
        format!(
            "expected a Ping on connection {name}: it has received text \"one\" (taken), binary \"\\x00two\", pong \"p\""
        )
    );
    alice.cut();
    let text = message(|| drop(alice.next_text()));
    assert!(
        text.starts_with("expected a text message before binary \"\\x00two\""),
        "{text}"
    );
    assert!(text.ends_with("; TCP is reset"), "{text}");
}

#[test]
fn a_failure_shows_the_response_to_the_request() {
    let (mut net, _) = network(1);
    let refused = net.connect("/refuse");
    let text = message(|| drop(refused.expect_open()));
    assert!(text.contains("expected an open WebSocket"), "{text}");
    assert!(text.contains("HTTP status 403 \"not you\\n\""), "{text}");
    let silent = net.dial(0);
    let text = message(|| drop(silent.expect_refused()));
    assert!(text.contains("no response to its request"), "{text}");
    let open = net.connect("/");
    let text = message(|| drop(open.expect_refused()));
    assert!(
        text.contains("it is open and has received nothing"),
        "{text}"
    );
}

#[test]
fn long_payloads_and_long_histories_are_cut() {
    let (mut net, _) = network(1);
    let mut alice = net.connect("/").expect_open();
    for _ in 0..20 {
        alice.send_binary(&[b'x'; 100]);
    }
    let text = message(|| alice.expect_nothing());
    assert!(
        text.contains("it has received 4 events, then binary"),
        "{text}"
    );
    assert!(text.contains("and 36 bytes more"), "{text}");
}

#[test]
fn timers_of_zero_and_jobs_leave_the_network_at_rest() {
    struct Hasty;
    impl Handler for Hasty {
        type Conn = ();
        type Event = ();
        fn new_conn(&mut self) {}
        fn on_message(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>, _: Message<'_>) {
            let _ = cx.spawn_lcore(|| ());
            cx.set_timer(Duration::ZERO, 0);
        }
        fn on_timer(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>, _: u64) {
            let _ = cx.send(Kind::Text, b"again");
        }
    }
    // A timer of zero fires a millisecond later, and a job waits for the test: neither keeps the network busy.
    let mut net = Network::new(Config::default(), 1, |_| Hasty);
    let mut alice = net.connect("/").expect_open();
    alice.send_text("go");
    net.run_jobs();
    net.advance(Duration::from_millis(2));
    assert_eq!(alice.next_text(), "again");
}

#[test]
fn a_handler_with_turns_may_always_have_work() {
    struct Busy(u64);
    impl Handler for Busy {
        type Conn = ();
        type Event = ();
        const TURNS: bool = true;
        fn new_conn(&mut self) {}
        fn on_turn(&mut self, _: &mut impl LcoreContext<Event = ()>) -> bool {
            self.0 += 1;
            true
        }
        fn on_message(
            &mut self,
            (): &mut (),
            cx: &mut impl Context<Event = ()>,
            message: Message<'_>,
        ) {
            let _ = cx.send(message.kind(), message.as_bytes());
        }
    }
    let mut net = Network::new(Config::default(), 1, |_| Busy(0));
    let mut alice = net.connect("/").expect_open();
    alice.send_text("hello");
    assert_eq!(alice.next_text(), "hello");
    assert!(net.with_handler(0, |busy| busy.0) > 1);
}

#[test]
fn a_handler_that_posts_to_itself_for_ever_fails_the_test() {
    struct Restless(Option<Remote<()>>);
    impl Handler for Restless {
        type Conn = ();
        type Event = ();
        fn new_conn(&mut self) {}
        fn on_message(&mut self, (): &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}
        fn on_lcore_event(&mut self, _: &mut impl LcoreContext<Event = ()>, (): ()) {
            let _ = self.0.as_ref().expect("it was given").post(0, ());
        }
    }
    let mut net = Network::new(Config::default(), 1, |_| Restless(None));
    let remote = net.remote();
    net.with_handler(0, |handler| handler.0 = Some(remote));
    let text = message(|| net.post(0, ()));
    assert!(
        text.starts_with("the lcores still have work after"),
        "{text}"
    );
}
