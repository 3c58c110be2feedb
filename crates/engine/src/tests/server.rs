//! A server of real threads: what only they can show.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::{Lcores, RunError, Server, ServerOptions};

struct Nothing;

impl Handler for Nothing {
    type Conn = ();
    type Event = ();

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<()>, Response> {
        Ok(Accept::new(()))
    }

    fn on_message(&mut self, (): &mut (), _: &mut impl Context<Event = ()>, _: Message<'_>) {}
}

#[test]
fn a_handler_that_cannot_be_made_ends_the_server() {
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || {
        let server = Server::bind(ServerOptions {
            listen: Vec::new(),
            lcores: Lcores::Count(2),
            config: Config::default(),
            sockets: Default::default(),
        })
        .unwrap();
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
