//! New tunables while connections are open: every field, on one lcore and on several.

use super::server::Nothing;
use super::*;
use crate::session::Extra;
use crate::{Limits, ReconfigureError, SendPolicy};
use hioload_lcore::Idle;
use hioload_ws_proto::Deflation;
use hioload_ws_proto::deflate::Sharing;

fn lab() -> Lab {
    Lab::new(Config::default())
}

/// Changes some of the lab's tunables between two turns.
fn change(lab: &mut Lab, change: impl FnOnce(&mut Tunables)) {
    let mut new = (*lab.lcore.app.core.tunables).clone();
    change(&mut new);
    lab.lcore.reconfigure(new).unwrap();
    lab.turn();
}

fn limit(lab: &mut Lab, limit: impl FnOnce(&mut Limits)) {
    change(lab, |tunables| limit(&mut tunables.limits));
}

fn answered(lab: &mut Lab, request: &[u8], status: &str) -> ConnId {
    let id = lab.dial(request);
    let answer = lab.text(id);
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{answer}"
    );
    id
}

#[test]
fn max_connections_is_lowered_and_raised_up_to_the_value_at_start() {
    let mut config = Config::default();
    config.tunables.limits.max_connections = 3;
    let mut lab = Lab::new(config);
    let (a, b) = (lab.open(), lab.open());
    limit(&mut lab, |l| l.max_connections = 1);
    assert!(lab.io().is_open(a) && lab.io().is_open(b), "both stay");
    answered(&mut lab, b"", "503");
    lab.io().reset(a);
    lab.turn();
    answered(&mut lab, b"", "503");
    lab.io().reset(b);
    lab.turn();
    lab.open();
    limit(&mut lab, |l| l.max_connections = 3);
    lab.open();
    lab.open();
    answered(&mut lab, b"", "503");

    let mut new = Tunables::default();
    new.limits.max_connections = 4;
    new.turn_messages = 1;
    let error = lab.lcore.reconfigure(new).unwrap_err();
    assert_eq!(
        error,
        ReconfigureError::MaxConnections { asked: 4, most: 3 }
    );
    assert_eq!(
        error.to_string(),
        "cannot raise max_connections to 4 while running: the tables were made for 3"
    );
    assert_ne!(lab.lcore.app.core.tunables.turn_messages, 1, "unchanged");
}

#[test]
fn max_connections_per_source_counts_the_connections_that_were_open_before() {
    let mut lab = lab();
    let a = lab.open();
    lab.open();
    limit(&mut lab, |l| l.max_connections_per_source = 2);
    answered(&mut lab, REQUEST, "503");
    lab.io().reset(a);
    lab.turn();
    lab.open();
    limit(&mut lab, |l| l.max_connections_per_source = 0);
    lab.open();
}

#[test]
fn accept_rate_holds_for_connections_that_wait() {
    let mut lab = lab();
    limit(&mut lab, |l| l.accept_rate = 10);
    lab.pass(1000);
    for _ in 0..30 {
        lab.io().accept(peer(1));
    }
    lab.turn();
    assert_eq!(lab.totals().accepted, 10);
    limit(&mut lab, |l| l.accept_rate = 0);
    assert_eq!(lab.totals().accepted, 30);
}

#[test]
fn max_handshake_holds_for_an_incomplete_request() {
    let mut lab = lab();
    let id = lab.dial(&[b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; 300]].concat());
    limit(&mut lab, |l| l.max_handshake = 200);
    lab.io().deliver(id, b"a");
    lab.turn();
    assert!(lab.text(id).starts_with("HTTP/1.1 431"));
}

#[test]
fn handshake_timeout_holds_for_connections_without_a_complete_request() {
    let mut lab = lab();
    let id = lab.dial(b"GET /");
    lab.pass(50);
    limit(&mut lab, |l| {
        l.handshake_timeout = Duration::from_millis(100);
    });
    lab.pass(45);
    assert_eq!(lab.text(id), "");
    lab.pass(10);
    assert!(lab.text(id).starts_with("HTTP/1.1 408"));
}

#[test]
fn limits_of_messages_hold_for_open_connections() {
    let mut lab = lab();
    let (a, b, c) = (lab.open(), lab.open(), lab.open());
    limit(&mut lab, |l| l.max_message = 100);
    lab.send(a, OpCode::Binary, &[0; 101]);
    assert_eq!(lab.frames(a), ["close 1009 frame too big"]);
    limit(&mut lab, |l| l.max_message = 1000);
    lab.send(b, OpCode::Binary, &[0; 1000]);
    assert_eq!(lab.frames(b), ["binary 1000"]);

    let mut parts = Vec::new();
    encode::fragment_into(&mut parts, false, false, OpCode::Binary, b"1", Some([0; 4]));
    lab.io().deliver(b, &parts);
    lab.turn();
    limit(&mut lab, |l| l.max_fragments = 1);
    let mut last = Vec::new();
    encode::fragment_into(
        &mut last,
        true,
        false,
        OpCode::Continuation,
        b"2",
        Some([0; 4]),
    );
    lab.io().deliver(b, &last);
    lab.turn();
    assert_eq!(lab.frames(b), ["close 1008 too many fragments"]);

    limit(&mut lab, |l| l.reassembly_memory = 100);
    lab.io().deliver(c, &parts);
    lab.turn();
    assert_eq!(lab.frames(c), ["close 1013 too many unfinished messages"]);
}

#[test]
fn published_memory_and_max_subscriptions_hold_for_open_connections() {
    let mut lab = lab();
    let (slow, other) = (lab.open(), lab.open());
    lab.say(slow, "sub t");
    limit(&mut lab, |l| {
        (l.published_memory, l.max_subscriptions) = (10, 1);
    });
    lab.io().set_window(slow, 0);
    for _ in 0..2 {
        lab.say(other, "pub t a message of more than ten bytes");
    }
    assert_eq!(lab.totals().published_copied, 2);
    lab.say(slow, "sub u");
    assert_eq!(lab.totals().subscriptions_refused, 1);
    assert!(lab.lcore.app.core.topics.contains("t", slow.index));
}

#[test]
fn send_queue_and_send_policy_hold_for_open_connections() {
    let mut lab = lab();
    let (a, b) = (lab.open(), lab.open());
    limit(&mut lab, |l| l.send_queue = 5_000);
    lab.io().set_window(a, 0);
    lab.say(a, "flood 10");
    assert_eq!(lab.totals().closed_slow, 1);
    limit(&mut lab, |l| l.send_policy = SendPolicy::DropNew);
    lab.io().set_window(b, 0);
    lab.say(b, "flood 10");
    assert_eq!(lab.totals().dropped_new, 5);
    // A connection with a full queue is not read until the limit is raised and the queue is empty.
    limit(&mut lab, |l| l.send_queue = 50_000);
    lab.io().set_window(b, usize::MAX);
    lab.turn();
    lab.io().set_window(b, 0);
    lab.say(b, "flood 10");
    assert_eq!(lab.totals().dropped_new, 5);

    let mut new = Tunables::default();
    new.limits.send_queue = 1 << 40;
    let error = lab.lcore.reconfigure(new).unwrap_err();
    assert!(matches!(error, ReconfigureError::SendQueue { asked, .. } if asked == 1 << 40));
}

#[test]
fn message_rate_holds_for_open_connections_and_reduces_their_saved_burst() {
    let mut lab = lab();
    let (a, b) = (lab.open(), lab.open());
    limit(&mut lab, |l| l.message_rate = 1000);
    lab.pass(1000);
    lab.say(a, "the bucket holds 1000");
    limit(&mut lab, |l| l.message_rate = 5);
    for id in [a, b] {
        for _ in 0..6 {
            lab.say(id, "x");
        }
        let last = lab.frames(id).pop().unwrap();
        assert_eq!(last, "close 1008 too many messages");
    }
    let c = lab.open();
    limit(&mut lab, |l| l.message_rate = 0);
    for _ in 0..100 {
        lab.say(c, "x");
    }
    assert_eq!(lab.frames(c).len(), 100);
}

#[test]
fn time_limits_hold_for_open_connections() {
    let mut config = Config::default();
    config.tunables.limits.ping_interval = Duration::ZERO;
    config.tunables.limits.idle_timeout = Duration::ZERO;
    let mut lab = Lab::new(config);
    let id = lab.open();
    lab.pass(500);
    assert_eq!(lab.lcore.next_timer(), None, "no timer is set");
    limit(&mut lab, |l| l.ping_interval = Duration::from_millis(600));
    lab.pass(99);
    assert_eq!(lab.frames(id), [""; 0]);
    lab.pass(5);
    assert_eq!(lab.frames(id), ["ping "]);
    limit(&mut lab, |l| {
        l.ping_interval = Duration::ZERO;
        l.idle_timeout = Duration::from_millis(700);
    });
    lab.pass(150);
    assert_eq!(lab.frames(id), ["close 1001 idle"]);

    limit(&mut lab, |l| l.idle_timeout = Duration::ZERO);
    let id = lab.open();
    lab.pass(2_500);
    limit(&mut lab, |l| l.max_lifetime = Duration::from_secs(2));
    lab.pass(1);
    assert_eq!(lab.frames(id), ["close 1001 connection is too old"]);
    // A lower close_timeout holds for a connection that is closing.
    assert!(lab.io().is_open(id));
    limit(&mut lab, |l| l.close_timeout = Duration::from_millis(20));
    lab.pass(20);
    assert!(!lab.io().is_open(id));
}

#[test]
fn a_lowered_idle_timeout_closes_connections_that_were_silent_for_longer() {
    let mut lab = lab();
    let (silent, alive) = (lab.open(), lab.open());
    lab.pass(5_000);
    lab.say(alive, "hi");
    limit(&mut lab, |l| l.idle_timeout = Duration::from_secs(4));
    lab.pass(1);
    assert_eq!(lab.frames(silent), ["close 1001 idle"]);
    assert_eq!(lab.frames(alive), ["text hi"]);
}

const COMPRESSED_REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

fn is_compressed(frame: &[u8]) -> bool {
    frame[0] & 0x40 != 0
}

#[test]
fn deflate_holds_for_later_handshakes_and_not_for_open_connections() {
    let mut lab = lab();
    let text = "compress me ".repeat(50);
    let plain = lab.dial(COMPRESSED_REQUEST);
    assert!(!lab.text(plain).contains("permessage-deflate"));
    change(&mut lab, |t| t.deflate = Some(DeflateConfig::default()));
    let small = lab.dial(COMPRESSED_REQUEST);
    assert!(lab.text(small).contains("permessage-deflate"));
    let sent = |lab: &mut Lab, id| {
        lab.say(id, &text);
        lab.io().sent(id)
    };
    assert!(is_compressed(&sent(&mut lab, small)));
    assert!(!is_compressed(&sent(&mut lab, plain)));
    // The threshold holds for all connections of the lcore.
    change(&mut lab, |t| {
        t.deflate.as_mut().unwrap().threshold = 1 << 20;
    });
    assert!(!is_compressed(&sent(&mut lab, small)));
    change(&mut lab, |t| t.deflate.as_mut().unwrap().threshold = 0);
    change(&mut lab, |t| t.deflate = None);
    assert!(is_compressed(&sent(&mut lab, small)));
    let later = lab.dial(COMPRESSED_REQUEST);
    assert!(!lab.text(later).contains("permessage-deflate"));
}

#[test]
fn drop_oldest_replaces_a_compressor_with_context_by_a_shared_one() {
    let mut config = Config::default();
    config.tunables.deflate = Some(DeflateConfig::new(Sharing::Own));
    let mut lab = Lab::new(config);
    let id = lab.dial(COMPRESSED_REQUEST);
    assert!(lab.text(id).contains("permessage-deflate"));
    let deflation = |lab: &mut Lab| match lab.lcore.app.core.sessions[id.index as usize].extra() {
        Extra {
            deflate: Some(Deflation::Own { .. }),
            ..
        } => "own",
        Extra {
            deflate: Some(Deflation::Shared { .. }),
            ..
        } => "shared",
        _ => "none",
    };
    let text = "0123456789abcdefghijklmnopqrstuvwxyz".repeat(10);
    lab.say(id, &text);
    let first = lab.io().sent(id);
    lab.say(id, &text);
    let again = lab.io().sent(id);
    assert!(again.len() < first.len(), "it refers to the first message");
    assert_eq!(deflation(&mut lab), "own");
    limit(&mut lab, |l| l.send_policy = SendPolicy::DropOldest);
    lab.say(id, &text);
    assert_eq!(
        lab.io().sent(id).len(),
        first.len(),
        "it refers to no earlier message"
    );
    assert_eq!(deflation(&mut lab), "shared");
    limit(&mut lab, |l| l.send_policy = SendPolicy::Close);
    lab.say(id, &text);
    assert_eq!(lab.io().sent(id).len(), first.len());
}

/// Connects with compression offered.
struct Dialer(Rc<RefCell<Vec<bool>>>);

impl Handler for Dialer {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let endpoint = Endpoint::Tcp(([127, 0, 0, 1], 80).into());
        cx.connect(Connect::new(endpoint).deflate(true)).unwrap();
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<()> {
        self.0.borrow_mut().push(outcome.is_ok());
        Some(())
    }

    fn on_message(&mut self, (): &mut (), _: &mut impl Context<Event = ()>, message: Message<'_>) {
        assert_eq!(message.as_text(), Some("Hello"));
        self.0.borrow_mut().push(true);
    }
}

#[test]
fn a_client_accepts_the_extension_that_it_offered_before_the_change() {
    let outcomes = Rc::new(RefCell::new(Vec::new()));
    let mut config = Config::default();
    config.tunables.deflate = Some(DeflateConfig::default());
    let io = Fake::new(&FakeOptions::default()).unwrap();
    let now = Time::from_millis(1000);
    let mut lcore = Lcore::alone(io, Dialer(Rc::clone(&outcomes)), config, now);
    let (id, _) = lcore.io.connecting().remove(0);
    lcore.io.connect_outcome(id, Ok(()));
    lcore.io.wait(Some(Duration::ZERO)).unwrap();
    lcore.turn(now);
    let request = String::from_utf8(lcore.io.sent(id)).unwrap();
    assert!(request.contains("permessage-deflate"), "{request}");
    lcore.reconfigure(Tunables::default()).unwrap();

    let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap();
    let key = key.split('\r').next().unwrap();
    let accept = hioload_ws_proto::handshake::accept_key(key);
    let reply = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
        std::str::from_utf8(&accept).unwrap()
    );
    // With the compressed "Hello" of RFC 7692 §7.2.3.1.
    let hello = [0xc1, 0x07, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    lcore.io.deliver(id, &[reply.as_bytes(), &hello].concat());
    lcore.io.wait(Some(Duration::ZERO)).unwrap();
    lcore.turn(now);
    assert_eq!(*outcomes.borrow(), [true, true]);
}

#[test]
fn idle_and_the_bounds_of_a_turn_hold_from_the_next_turn_on() {
    let mut lab = lab();
    change(&mut lab, |t| {
        t.idle = Idle::Busy;
        t.turn_messages = 1;
        t.turn_events = 2;
    });
    assert_eq!(lab.lcore.idle.idle(), Idle::Busy);
    let ids: Vec<_> = (0..6).map(|_| lab.open()).collect();
    let mut two = Vec::new();
    for _ in 0..2 {
        encode::frame_into(&mut two, OpCode::Text, b"x", Some([3; 4]));
    }
    for id in &ids {
        lab.io().deliver(*id, &two);
    }
    let before = lab.totals().messages_in;
    for turn in 1..=6 {
        lab.lcore.io.wait(Some(Duration::ZERO)).unwrap();
        lab.lcore.turn(lab.now);
        assert_eq!(lab.totals().messages_in - before, 2 * turn);
    }
}

#[test]
fn drain_times_hold_only_for_a_drain_that_begins_later() {
    let mut lab = lab();
    let id = lab.open();
    change(&mut lab, |t| {
        t.drain_jitter = Duration::ZERO;
        t.drain_deadline = Duration::from_millis(100);
    });
    lab.lcore.app.core.drain();
    lab.pass(1);
    assert_eq!(lab.frames(id), ["close 1001 server is shutting down"]);
    change(&mut lab, |t| t.drain_deadline = Duration::from_secs(100));
    lab.pass(100);
    assert!(lab.lcore.is_done() && !lab.io().is_open(id));
}

#[test]
fn a_change_visits_at_most_1024_connections_a_turn() {
    let now = Time::from_millis(1000);
    let options = FakeOptions::default().max_connections(4000);
    let io = Fake::new(&options).unwrap();
    let mut lcore = Lcore::alone(io, Nothing, Config::default(), now);
    for n in 0..3000 {
        let id = lcore.io.accept(peer(n));
        lcore.io.deliver(id, REQUEST);
    }
    while lcore.connections() < 3000 {
        lcore.io.wait(Some(Duration::ZERO)).unwrap();
        lcore.turn(now);
    }
    let mut new = Tunables::default();
    new.limits.idle_timeout = Duration::from_millis(1);
    lcore.reconfigure(new).unwrap();
    for turn in 1..=4u64 {
        lcore.io.wait(Some(Duration::ZERO)).unwrap();
        lcore.turn(now + Duration::from_millis(10 + turn));
        let unvisited = [Some(1024), Some(2048), None, None][turn as usize - 1];
        assert_eq!(lcore.app.core.unvisited, unvisited, "after turn {turn}");
    }
    // They are closed as the turns have time for their timers.
    for turn in 0..40u64 {
        lcore.turn(now + Duration::from_millis(20 + turn));
    }
    assert_eq!(lcore.totals().idle_timeouts, 3000);
}

fn group(lcores: usize, mailbox: usize) -> crate::Group<Fake, Nothing> {
    let config = Config {
        mailbox,
        ..Config::default()
    };
    let fakes = (0..lcores).map(|_| Fake::new(&FakeOptions::default()).unwrap());
    Lcore::group(fakes, |_| Nothing, config, Time::from_millis(1000))
}

#[test]
fn every_lcore_applies_the_latest_tunables_also_with_a_full_mailbox() {
    let mut group = group(3, 1);
    // No lcore turns, so the mailboxes are full.
    for lcore in 0..3 {
        group.remote.post(lcore, ()).unwrap();
        assert!(group.remote.post(lcore, ()).is_err());
    }
    for max_message in [100, 200, 300] {
        let mut new = Tunables::default();
        new.limits.max_message = max_message;
        new.limits.max_connections = 1;
        group.remote.reconfigure(new.clone()).unwrap();
        assert_eq!(*group.remote.tunables(), new);
    }
    for lcore in &mut group.lcores {
        assert_eq!(lcore.app.core.tunables.limits.max_message, 1 << 20);
        lcore.turn(Time::from_millis(1001));
        assert_eq!(lcore.app.core.tunables.limits.max_message, 300);
        assert_eq!(lcore.app.assembler.limits().max_message, 300);
    }
    // max_connections is for all lcores together.
    for (n, lcore) in group.lcores.iter_mut().enumerate() {
        let id = lcore.io.accept(peer(1));
        lcore.io.deliver(id, REQUEST);
        for _ in 0..2 {
            lcore.io.wait(Some(Duration::ZERO)).unwrap();
            lcore.turn(Time::from_millis(1002));
        }
        let answer = lcore.io.sent(id);
        let expected: &[u8] = if n == 0 {
            b"HTTP/1.1 101"
        } else {
            b"HTTP/1.1 503"
        };
        assert!(answer.starts_with(expected));
    }
    let mut wrong = Tunables::default();
    wrong.limits.max_connections += 1;
    assert!(group.remote.reconfigure(wrong).is_err());
}

#[test]
fn an_lcore_that_sleeps_is_woken_to_apply_new_tunables() {
    let mut group = group(2, 16);
    let lcore = &mut group.lcores[1];
    lcore.io.woken();
    assert!(lcore.app.core.mailbox.prepare_sleep());
    group.remote.reconfigure(Tunables::default()).unwrap();
    assert!(lcore.io.woken());
}
