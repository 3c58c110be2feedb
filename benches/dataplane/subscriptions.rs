//! The memory of subscriptions: two lcores on a scripted network, and connections of the first that subscribe as real ones do.

use std::time::Duration;

use hioload_engine::{Config, Context, Handler, Lcore};
use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeOptions};
use hioload_transport::{Peer, Transport};
use hioload_ws_proto::{Message, OpCode, encode};

use crate::client::Failure;
use crate::report::{self, Row};
use crate::world::REQUEST;

const CONNECTIONS: usize = 1000;
const EACH: usize = 100;

/// The pattern of connection `c` for its subscription `n`.
type Pattern = fn(c: usize, n: usize) -> String;

/// The patterns, and the most bytes that a subscription to one should have on its lcore.
const TYPICAL: [(&str, Option<f64>, Pattern); 3] = [
    (
        "a topic of each user (user.N.inbox)",
        Some(200.0),
        |c, n| format!("user.{}.inbox", c * EACH + n),
    ),
    ("rooms that all share (room.N)", Some(200.0), |_, n| {
        format!("room.{n}")
    }),
    (
        "four tokens of its own (org.N.device.*.status)",
        None,
        |c, n| format!("org.{}.device.*.status", c * EACH + n),
    ),
];

/// Subscribes to the text of each message.
struct Subscriber;

impl Handler for Subscriber {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, (): &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        if let Some(pattern) = message.as_text() {
            // A refusal is seen in the counters.
            let _ = cx.subscribe(pattern);
        }
    }
}

/// Bytes for each subscription: of the index, and of the process.
pub fn measure() -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (what, most, pattern) in TYPICAL {
        let (counted, resident) = cost(pattern)?;
        let name = format!("a subscription to {what}: bytes on its lcore");
        rows.push(match most {
            Some(most) => Row::at_most(name, counted, "B", most),
            None => Row::at_least(name, counted, "B", 0.0),
        });
        let name = "  RSS of the process, two lcores";
        rows.push(Row::at_least(name, resident, "B", 0.0));
    }
    Ok(rows)
}

fn cost(pattern: Pattern) -> Result<(f64, f64), Failure> {
    let mut config = Config::default();
    config.tunables.limits.subscription_bytes = usize::MAX;
    let fakes = (0..2).map(|_| Fake::new(&FakeOptions::default()));
    let fakes = fakes
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("cannot make a network: {e}"))?;
    let mut now = Time::from_millis(1);
    let mut group = Lcore::group(fakes, |_| Subscriber, config, now);
    let mut turn = |group: &mut hioload_engine::Group<Fake, Subscriber>| {
        now += Duration::from_millis(1);
        for lcore in &mut group.lcores {
            lcore
                .transport()
                .wait(Some(Duration::ZERO))
                .map_err(|e| format!("the network failed: {e}"))?;
            lcore.turn(now);
        }
        Ok::<_, Failure>(())
    };
    let open: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let io = group.lcores[0].transport();
            let id = io.accept(Peer::Unix);
            io.deliver(id, REQUEST);
            id
        })
        .collect();
    let subscribe = |group: &mut hioload_engine::Group<Fake, Subscriber>, c: usize, text: &str| {
        let mut frame = Vec::new();
        encode::fragment_into(
            &mut frame,
            true,
            false,
            OpCode::Text,
            text.as_bytes(),
            Some([0; 4]),
        );
        group.lcores[0].transport().deliver(open[c], &frame);
    };
    // The first subscription of each connection makes what every connection with one has. It is not counted.
    for c in 0..CONNECTIONS {
        subscribe(&mut group, c, &format!("first.{c}"));
    }
    for _ in 0..200 {
        turn(&mut group)?;
    }
    let counted = |group: &hioload_engine::Group<Fake, Subscriber>| -> u64 {
        let all = group.lcores.iter();
        all.map(|lcore| lcore.totals().subscription_bytes).sum()
    };
    let before = (counted(&group), report::resident()?);
    for n in 0..EACH {
        for c in 0..CONNECTIONS {
            subscribe(&mut group, c, &pattern(c, n));
        }
        for _ in 0..70 {
            turn(&mut group)?;
        }
    }
    let totals = group.remote.counters();
    let all = (CONNECTIONS * (EACH + 1)) as u64;
    if totals.messages_in != all || totals.subscriptions_refused > 0 {
        return Err(format!(
            "{} of {all} subscriptions, {} refused",
            totals.messages_in, totals.subscriptions_refused
        ));
    }
    let after = (counted(&group), report::resident()?);
    let each =
        |before: u64, after: u64| (after as f64 - before as f64) / (CONNECTIONS * EACH) as f64;
    Ok((each(before.0, after.0), each(before.1, after.1)))
}
