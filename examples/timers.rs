//! Timers and slow work: a job on the executor counts the primes below each number that a client sends. A timer sends a tick every
//! second.
//!
//! ```sh
//! cargo run --example timers
//! hioload connect ws://127.0.0.1:9001/       # in another terminal; then type a number
//! cargo test --example timers
//! ```

use std::time::Duration;

use hioload_ws::{Context, Handler, Kind, Message, Server, ServerOptions};

struct Primes;

const TICK: u64 = 1;
const RETRY: u64 = 2;

/// Slow work: trial division.
fn count_primes(below: u16) -> usize {
    let is_prime = |n: &u16| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    (2..below).filter(is_prime).count()
}

impl Handler for Primes {
    type Conn = Option<u16>; // the number that comes next
    type Event = usize; // the result of a job

    fn new_conn(&mut self) -> Option<u16> {
        None
    }

    fn on_ready(&mut self, _: &mut Self::Conn, cx: &mut impl Context<Event = usize>) {
        cx.set_timer(Duration::from_secs(1), TICK);
    }

    fn on_message(
        &mut self,
        next: &mut Self::Conn,
        cx: &mut impl Context<Event = usize>,
        message: Message<'_>,
    ) {
        *next = message.as_text().and_then(|text| text.trim().parse().ok());
        self.on_timer(next, cx, RETRY);
    }

    fn on_timer(
        &mut self,
        next: &mut Self::Conn,
        cx: &mut impl Context<Event = usize>,
        token: u64,
    ) {
        if token == TICK {
            let _ = cx.send(Kind::Text, b"tick");
            cx.set_timer(Duration::from_secs(1), TICK);
            return;
        }
        let Some(number) = *next else {
            let _ = cx.send(Kind::Text, b"not a number below 65536");
            return;
        };
        // The job runs on another thread. This lcore serves its other connections meanwhile.
        match cx.spawn(move || count_primes(number)) {
            Ok(()) => cx.resume(),
            Err(_) => {
                cx.pause(); // the client's next message waits until the executor has room for this one
                cx.set_timer(Duration::from_millis(50), RETRY);
            }
        }
    }

    fn on_event(&mut self, _: &mut Self::Conn, cx: &mut impl Context<Event = usize>, n: usize) {
        let _ = cx.send(Kind::Text, n.to_string().as_bytes());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = Server::bind(ServerOptions::new().listen("127.0.0.1:9001")?)?;
    println!("listening on ws://{}/", server.endpoints()[0]);
    println!("{}", server.start(|_lcore| Primes)?.join()?);
    Ok(())
}

#[test]
fn a_full_executor_delays_answers_but_not_ticks() {
    let mut config = hioload_ws::Config::default();
    config.executor_queue = 1;
    let mut net = hioload_ws::testing::Network::new(config, 1, |_| Primes);
    let mut alice = net.connect("/").expect_open();
    alice.send_text("10").send_text("1000");
    net.advance(Duration::from_secs(1));
    assert_eq!(alice.next_text(), "tick");
    net.run_jobs();
    assert_eq!(alice.next_text(), "4");
    net.advance(Duration::from_millis(60)); // the next retry
    net.run_jobs();
    assert_eq!(alice.next_text(), "168");
}
