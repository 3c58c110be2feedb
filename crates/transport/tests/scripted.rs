//! The fake itself, and random scripts on it: whatever the splits, the budgets, the pauses and the windows, the driver and
//! the peer receive each stream complete and in order.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::ErrorKind;
use std::time::Duration;

use hioload_lcore::Time;
use hioload_transport::fake::{Fake, FakeEnd, FakeOptions};
use hioload_transport::{
    Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, Rest, Taken, Transport,
};
use proptest::prelude::*;
use suite::over_script::FakeHarness;
use suite::world::{Harness, Note, Setup, World, write};

#[test]
fn connects_have_the_scripted_outcome() {
    let mut world = World::<FakeHarness<true>>::new(Setup::default());
    let to = Endpoint::Tcp("192.0.2.1:9001".parse().unwrap());
    let good = world.io().connect(&to).unwrap();
    let bad = world.io().connect(&to).unwrap();
    let given_up = world.io().connect(&to).unwrap();
    assert_eq!(
        world.io().connecting(),
        [good, bad, given_up].map(|id| (id, to.clone()))
    );
    write(world.io(), good, b"early");
    world.io().abort(given_up);
    world.turns(2);
    assert!(world.io().connect_outcome(good, Ok(())));
    assert!(world.io().connect_outcome(bad, Err(ErrorKind::TimedOut)));
    world.io().deliver(good, b"hello");
    world.turns(2);
    assert_eq!(
        world.script.log,
        [
            Note::Connect(given_up, Err(ErrorKind::ConnectionAborted)),
            Note::Connect(good, Ok(())),
            Note::Connect(bad, Err(ErrorKind::TimedOut)),
            Note::Data(good, b"hello".to_vec()),
        ]
    );
    assert_eq!(world.io().sent(good), b"early");
    assert!(world.io().connecting().is_empty());
}

#[test]
fn bytes_delivered_before_the_accept_are_presented_after_it() {
    let mut world = World::<FakeHarness<true>>::new(Setup::default());
    let id = world.io().accept(Peer::Unix);
    world.io().deliver(id, b"eager");
    world.io().end(id);
    world.turns(3);
    let expected = [
        Note::Accept(id, Peer::Unix),
        Note::Data(id, b"eager".to_vec()),
        Note::End(id),
    ];
    assert_eq!(world.script.log, expected);
    assert!(world.io().is_open(id) && !world.io().finished(id));
    world.io().close(id);
    world.turn();
    assert_eq!(world.io().closed(id), Some(FakeEnd::Closed));
    assert!(!world.io().deliver(id, b"too late"));
}

#[test]
fn accept_errors_are_skipped_or_pause_accepting() {
    let mut world = World::<FakeHarness<true>>::new(Setup::default());
    world.io().fail_accept(ErrorKind::ConnectionAborted);
    world.io().accept(Peer::Unix);
    world.turn();
    assert_eq!(
        (world.script.log.len(), world.io().stats().accept_errors),
        (1, 0)
    );
    world.io().fail_accept(ErrorKind::OutOfMemory);
    world.io().accept(Peer::Unix);
    world.until("the error", |world| world.io().stats().accept_errors == 1);
    world.until("accepted after the rest", |world| {
        // The fake does not sleep: the rest is real time.
        std::thread::sleep(Duration::from_millis(1));
        world.script.log.len() == 2
    });
}

#[test]
fn wakes_and_waits_are_recorded() {
    let mut fake = Fake::new(&FakeOptions::default()).unwrap();
    assert!(!fake.woken() && fake.last_wait().is_none());
    fake.waker().wake();
    assert!(fake.woken() && !fake.woken());
    let mut world = World::<FakeHarness<true>>::new(Setup::default());
    world.turn();
    world.io().wait(None).unwrap();
    let budget = world.budget;
    world
        .net
        .io()
        .dispatch(&mut world.script, budget, Time::ZERO);
    assert_eq!(world.io().last_wait(), Some(None), "a dispatch is no wait");
    let features = world.io().features();
    assert_eq!((features.name, features.max_connections), ("fake", 64));
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(usize, Vec<u8>),
    End(usize),
    Window(usize, usize),
    Resume(usize),
    Turn(usize),
}

fn step(connections: usize) -> impl Strategy<Value = Step> {
    let at = 0..connections;
    prop_oneof![
        6 => (at.clone(), prop::collection::vec(any::<u8>(), 1..60)).prop_map(|(i, b)| Step::Deliver(i, b)),
        1 => at.clone().prop_map(Step::End),
        2 => (at.clone(), 0usize..40).prop_map(|(i, n)| Step::Window(i, n)),
        2 => at.prop_map(Step::Resume),
        6 => (1usize..5).prop_map(Step::Turn),
    ]
}

/// Echoes as many bytes as a random sequence tells it to.
struct Random {
    choices: Vec<u8>,
    at: usize,
    consumed: Vec<Vec<u8>>,
    /// Bytes left unconsumed: the next presentation must begin with them.
    left: Vec<Vec<u8>>,
    ended: Vec<bool>,
    paused: Vec<bool>,
}

impl Random {
    fn choice(&mut self) -> u8 {
        self.at += 1;
        self.choices[self.at % self.choices.len()]
    }
}

impl Driver for Random {
    fn on_accept<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Peer) -> bool {
        true
    }
    fn on_connect<C: Connections>(&mut self, _: &mut C, _: ConnId, _: std::io::Result<()>) {}
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        let i = id.index as usize;
        assert!(!data.is_empty() && !self.ended[i] && !self.paused[i]);
        assert!(data.starts_with(&self.left[i]), "the rest comes first");
        let choice = self.choice();
        let mut bytes = data.len() * usize::from(choice % 5).min(4) / 4;
        bytes = bytes.min(io.send_room(id));
        write(io, id, &data[..bytes]);
        self.consumed[i].extend(&data[..bytes]);
        self.left[i] = data[bytes..].to_vec();
        data[..bytes].fill(0);
        if choice.is_multiple_of(7) || bytes == 0 {
            io.pause(id);
            self.paused[i] = true;
        }
        let rest = if choice.is_multiple_of(2) {
            Rest::Later
        } else {
            Rest::NeedsMore
        };
        Taken { bytes, rest }
    }
    fn on_end<C: Connections>(&mut self, _: &mut C, id: ConnId) {
        assert!(!self.ended[id.index as usize]);
        self.ended[id.index as usize] = true;
    }
    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        assert_eq!(io.queued(id), 0);
    }
    fn on_closed<C: Connections>(&mut self, _: &mut C, _: ConnId, why: Closed) {
        panic!("{why:?}");
    }
}

proptest! {
    #[test]
    fn every_stream_arrives_complete_and_in_order(
        steps in prop::collection::vec(step(3), 1..120),
        choices in prop::collection::vec(any::<u8>(), 1..40),
        rx_buffer in 1usize..40,
        send_queue in 20usize..200,
        short_means_drained in any::<bool>(),
    ) {
        let options = FakeOptions::default()
            .rx_buffer(rx_buffer)
            .send_queue(send_queue)
            .short_means_drained(short_means_drained)
            .tx_chunk(64)
            .tx_chunks(64)
            .window(10);
        let mut fake = Fake::new(&options).unwrap();
        let ids: Vec<_> = (0..3).map(|_| fake.accept(Peer::Unix)).collect();
        let mut driver = Random {
            choices,
            at: 0,
            consumed: vec![Vec::new(); 3],
            left: vec![Vec::new(); 3],
            ended: vec![false; 3],
            paused: vec![false; 3],
        };
        let mut delivered = vec![Vec::new(); 3];
        let mut ended = [false; 3];
        let mut sent = vec![Vec::new(); 3];
        let mut turn = |fake: &mut Fake, driver: &mut Random, events: usize| {
            fake.wait(Some(Duration::ZERO)).unwrap();
            let activity = fake.dispatch(driver, Budget { events, accepts: 2 }, Time::ZERO);
            fake.flush(driver);
            for (i, id) in ids.iter().enumerate() {
                sent[i].extend(fake.sent(*id));
            }
            activity
        };
        for step in steps {
            match step {
                Step::Deliver(i, bytes) if !ended[i] => {
                    fake.deliver(ids[i], &bytes);
                    delivered[i].extend(bytes);
                }
                Step::Deliver(..) => {}
                Step::End(i) => {
                    fake.end(ids[i]);
                    ended[i] = true;
                }
                Step::Window(i, n) => { fake.set_window(ids[i], n); }
                Step::Resume(i) => {
                    driver.paused[i] = false;
                    fake.resume(ids[i]);
                }
                Step::Turn(events) => { turn(&mut fake, &mut driver, events); }
            }
        }
        // Now let everything through: a driver that takes all of it.
        driver.choices = vec![4];
        for id in &ids {
            fake.set_window(*id, 1000);
        }
        for _ in 0..2000 {
            for (i, id) in ids.iter().enumerate() {
                if std::mem::take(&mut driver.paused[i]) {
                    fake.resume(*id);
                }
            }
            turn(&mut fake, &mut driver, 3);
        }
        // A rest left as NeedsMore is presented again only with more.
        for i in 0..3 {
            let taken = driver.consumed[i].len();
            prop_assert_eq!(&driver.consumed[i][..], &delivered[i][..taken]);
            prop_assert_eq!(&driver.left[i][..], &delivered[i][taken..]);
            prop_assert_eq!(&sent[i], &driver.consumed[i]);
            prop_assert_eq!(driver.ended[i], ended[i]);
        }
    }
}
