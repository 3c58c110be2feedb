//! One handler that obeys its clients, and what the network makes of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use hioload_engine::{
    Accept, Closure, Config, Context, Handler, LcoreContext, Response, SendPolicy,
};
use hioload_transport::Peer;
use hioload_ws_proto::handshake::server::Request;
use hioload_ws_proto::{CloseCode, Kind, Message};

use crate::{Client, Network, Upgrade};

mod clients;
mod failures;
mod lcores;
mod limits;
mod requests;
mod time;
mod upstreams;

type Log = Rc<RefCell<Vec<String>>>;

/// Does what its clients say. Everything that a client cannot see is in the log.
struct Obedient {
    log: Log,
}

impl Handler for Obedient {
    type Conn = ();
    type Event = String;

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = String>,
        peer: Peer,
        request: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        match request.path() {
            "/refuse" => Err(Response::text(403, "not you\n").header("X-Why", "because")),
            "/panic" => panic!("on_open"),
            "/peer" => Ok(Accept::new(()).header("X-Peer", peer.to_string())),
            "/chat" => Ok(Accept::new(()).protocol("chat.v1")),
            _ => Ok(Accept::new(())),
        }
    }

    fn on_message(
        &mut self,
        (): &mut (),
        cx: &mut impl Context<Event = String>,
        message: Message<'_>,
    ) {
        let text = message.as_text().unwrap_or_default();
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let _ = match (verb, rest.split_once(' ')) {
            ("sub", _) => cx
                .subscribe(rest)
                .map_err(|e| cx.close(CloseCode::POLICY_VIOLATION, &e.to_string()))
                .is_ok(),
            ("pub", Some((topic, text))) => cx.publish(topic, Kind::Text, text.as_bytes()).is_ok(),
            ("timer", _) => {
                cx.set_timer(Duration::from_millis(rest.parse().unwrap_or(0)), 7);
                true
            }
            ("job", _) => {
                let result = rest.to_owned();
                cx.spawn(move || {
                    if result == "panic" {
                        panic!("job")
                    } else {
                        result
                    }
                })
                .is_ok()
            }
            ("ping", _) => cx.ping(rest.as_bytes()).is_ok(),
            ("flood", _) => {
                (0..rest.parse().unwrap_or(0)).all(|_| cx.send(Kind::Binary, &[7; 1000]).is_ok())
            }
            ("panic", _) => panic!("on_message"),
            ("stop", _) => {
                cx.stop();
                true
            }
            _ => cx.send(message.kind(), message.as_bytes()).is_ok(),
        };
    }

    fn on_timer(&mut self, (): &mut (), cx: &mut impl Context<Event = String>, token: u64) {
        let text = format!("timer {token} at {}", cx.now().as_millis());
        let _ = cx.send(Kind::Text, text.as_bytes());
    }

    fn on_event(&mut self, (): &mut (), cx: &mut impl Context<Event = String>, event: String) {
        let _ = cx.send(Kind::Text, event.as_bytes());
    }

    fn on_close(
        &mut self,
        (): (),
        _: &mut impl LcoreContext<Event = String>,
        closure: Closure<'_>,
    ) {
        let Closure {
            code, reason, by, ..
        } = closure;
        self.log
            .borrow_mut()
            .push(format!("close {code} {reason:?} by {by:?}"));
    }

    fn on_lcore_event(&mut self, cx: &mut impl LcoreContext<Event = String>, event: String) {
        self.log
            .borrow_mut()
            .push(format!("event {event} on {}", cx.lcore()));
    }
}

fn network(lcores: usize) -> (Network<Obedient>, Log) {
    with(lcores, Config::default())
}

fn with(lcores: usize, config: Config) -> (Network<Obedient>, Log) {
    let log = Log::default();
    let net = Network::new(config, lcores, |_| Obedient {
        log: Rc::clone(&log),
    });
    (net, log)
}
