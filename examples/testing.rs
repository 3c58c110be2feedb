//! Testing a handler: virtual time, clients that misbehave, and no network.
//!
//! ```sh
//! cargo test --example testing
//! cargo run --example testing            # plays an auction and prints what a bidder receives
//! ```
//!
//! The documentation of `hioload_ws::testing` explains each step. Everything that a call causes has happened when it returns, so a
//! test waits for nothing.

use std::time::Duration;

use hioload_ws::testing::Network;
use hioload_ws::{Config, Context, Handler, Kind, LcoreContext, Message};

/// An auction on one lcore. Each higher bid is published. The auction ends 30 s after the last one.
#[derive(Default)]
struct Auction {
    highest: u64,
}

impl Handler for Auction {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_ready(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>) {
        let _ = cx.subscribe("auction");
    }

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        let bid = message.as_text().and_then(|text| text.parse().ok());
        let Some(bid) = bid.filter(|bid| *bid > self.highest) else {
            let _ = cx.send(Kind::Text, b"too low");
            return;
        };
        self.highest = bid;
        cx.set_lcore_timer(Duration::from_secs(30), bid);
        let _ = cx.publish("auction", Kind::Text, format!("{bid} is bid").as_bytes());
    }

    fn on_lcore_timer(&mut self, cx: &mut impl LcoreContext<Event = ()>, bid: u64) {
        if bid == self.highest {
            let _ = cx.publish("auction", Kind::Text, format!("sold for {bid}").as_bytes());
        }
    }
}

fn main() {
    let mut net = Network::new(Config::default(), 1, |_lcore| Auction::default());
    let mut bidder = net.connect("/").expect_open();
    bidder.send_text("10").send_text("25").send_text("12");
    net.advance(Duration::from_secs(30));
    for event in bidder.received() {
        println!("{event}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_auction_ends_30_s_after_the_last_higher_bid() {
        let mut net = Network::new(Config::default(), 1, |_| Auction::default());
        let mut alice = net.connect("/").expect_open();
        let mut bob = net.connect("/").expect_open();
        alice.send_text("10");
        assert_eq!(bob.next_text(), "10 is bid");
        net.advance(Duration::from_secs(29));
        alice.send_text("12").send_text("11");
        net.advance(Duration::from_millis(29_999));
        assert_eq!(bob.next_text(), "12 is bid");
        bob.expect_nothing();
        net.advance(Duration::from_millis(1));
        assert_eq!(bob.next_text(), "sold for 12");
    }

    #[test]
    fn a_bidder_that_does_not_read_misses_bids_and_the_auction_goes_on() {
        let mut config = Config::default();
        config.tunables.limits.send_queue = 1000;
        let mut net = Network::new(config, 1, |_| Auction::default());
        let mut alice = net.connect("/").expect_open();
        let mut bob = net.connect("/").expect_open();
        bob.stall();
        for bid in 1..=100 {
            alice.send_text(&bid.to_string());
        }
        assert_eq!(alice.received().len(), 100);
        let missed = net.totals().dropped_oldest as usize; // `publish_policy`
        let seen = bob.resume().received();
        assert_eq!(seen.len() + missed, 100);
        assert!(missed > 0 && seen.last().unwrap().to_string().contains("100 is bid"));
    }
}
