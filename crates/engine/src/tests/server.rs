//! A server with real threads.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::{LcorePlacement, Lcores, MakeTransport, RunError, Server, ServerOptions, StartError};

/// Accepts every connection, and ignores all messages.
pub(super) struct Nothing;

impl Handler for Nothing {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, (): &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}
}

#[test]
fn a_panic_while_a_handler_is_made_ends_the_server() {
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let server = Server::bind(ServerOptions::new().lcores(2)).unwrap();
        let running = server
            .start(|lcore| {
                assert!(lcore == 0, "no handler for this one");
                Nothing
            })
            .unwrap();
        done.send(running.join()).unwrap();
    });
    let outcome = outcome.recv_timeout(Duration::from_secs(10));
    assert!(
        matches!(outcome, Ok(Err(RunError::Panic(1)))),
        "{outcome:?}"
    );
}

/// Does not finish its turn until the test lets it, at an event.
struct Blocks(mpsc::Receiver<()>);

impl Handler for Blocks {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, (): &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}

    fn on_lcore_event(&mut self, _: &mut impl LcoreContext<Event = ()>, (): ()) {
        let _ = self.0.recv();
    }
}

#[test]
fn an_lcore_that_does_not_finish_its_turn_is_stalled_until_it_does() {
    let (release, held) = mpsc::channel();
    let held = std::sync::Mutex::new(Some(held));
    let mut config = Config::default();
    config.tunables.watchdog = Duration::from_millis(200);
    config.tunables.idle = hioload_lcore::Idle::Block;
    let server = Server::bind(ServerOptions::new().lcores(2).config(config)).unwrap();
    let counters = server.counters();
    let running = server
        .start(move |lcore| {
            let held = (lcore == 1).then(|| held.lock().unwrap().take()).flatten();
            Blocks(held.unwrap_or_else(|| mpsc::channel().1))
        })
        .unwrap();
    let becomes = |count: usize| {
        let seen = (0..10_000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            counters.stalled() == count
        });
        assert!(seen, "{count} stalled lcores");
    };
    // The other lcore sleeps, and is not stalled.
    for times in 1..=2 {
        running.remote().post(1, ()).unwrap();
        becomes(1);
        assert_eq!(counters.each().nth(1).unwrap().stalls, times);
        release.send(()).unwrap();
        becomes(0);
    }
    // It can be turned off while the server runs.
    let mut tunables = (*running.remote().tunables()).clone();
    tunables.watchdog = Duration::ZERO;
    running.remote().reconfigure(tunables).unwrap();
    running.remote().stop_now();
    drop(release);
    running.join().unwrap();
}

#[test]
fn a_server_runs_on_the_transports_that_it_is_given() {
    let (made_tx, made) = mpsc::channel();
    let fakes = (0..2).map(|_| {
        let made_tx = made_tx.clone();
        let make = move |placement: LcorePlacement| {
            let fake = Fake::new(&FakeOptions::default()).unwrap();
            made_tx.send((placement.lcore, fake.waker())).unwrap();
            Ok(fake)
        };
        Box::new(make) as MakeTransport<Fake>
    });
    let endpoint = hioload_transport::Endpoint::Tcp(([10, 0, 0, 1], 80).into());
    let server = Server::on(
        Config::default(),
        &Lcores::Count(2),
        vec![endpoint.clone()],
        fakes.collect(),
    )
    .unwrap();
    assert_eq!((server.lcores(), server.endpoints()), (2, &[endpoint][..]));
    let running = server.start(|_| Nothing).unwrap();
    let mut lcores: Vec<u16> = made.iter().take(2).map(|(lcore, _)| lcore).collect();
    lcores.sort_unstable();
    assert_eq!(lcores, [0, 1]);
    running.remote().stop_now();
    running.join().unwrap();
}

#[test]
fn an_error_of_a_transport_is_the_error_of_the_start() {
    let good: MakeTransport<Fake> = Box::new(|_| Ok(Fake::new(&FakeOptions::default()).unwrap()));
    let bad: MakeTransport<Fake> = Box::new(|_| Err(StartError::transport("no such interface")));
    let start = |transports| {
        Server::on(Config::default(), &Lcores::Count(2), Vec::new(), transports)?.start(|_| Nothing)
    };
    let error = start(vec![good, bad]).unwrap_err();
    assert_eq!(error.to_string(), "no such interface");
    let one: MakeTransport<Fake> = Box::new(|_| Err(StartError::transport("")));
    assert!(matches!(start(vec![one]), Err(StartError::LcoreCount(1))));
}
