//! File descriptors exhausted. The test has a process of its own, because the limit applies to the process.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::fs::File;

use hioload_lcore::Time;
use hioload_transport::Connections;
use hioload_transport::Transport;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use suite::over_sockets::{IPV4, SocketHarness};
use suite::world::{Harness, Note, Setup, World};

#[test]
fn without_descriptors_accepting_pauses_and_resumes() {
    let mut world = World::<SocketHarness<{ IPV4 }>>::new(Setup::default());
    let (_open, open) = world.dial();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            maximum: limit.maximum,
        },
    )
    .unwrap();
    let _waiting: Vec<_> = (0..3).map(|_| world.net.dial()).collect();
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(!hoard.is_empty());

    world.until("the error is counted", |world| {
        world.io().stats().accept_errors > 0
    });
    // Accepting rests: `wait` sleeps, and `more` does not ask for another turn.
    world.until("a turn that sleeps and tries nothing", |world| {
        let before = world.io().stats();
        let more = world.turn().more;
        let after = world.io().stats();
        !more && after.sleeps > before.sleeps && after.accept_errors == before.accept_errors
    });

    // A wait without limit returns to try again. Once descriptors are available, every waiting connection is accepted,
    // although the listener reports no new edge.
    hoard.clear();
    let budget = world.budget;
    while world.io().stats().accepted < 4 {
        let World { net, script, .. } = &mut world;
        net.io().wait(None).unwrap();
        net.io().dispatch(script, budget, Time::ZERO);
    }

    // A connection that closes ends the pause of accepting at once.
    let hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let errors = world.io().stats().accept_errors;
    setrlimit(Resource::Nofile, limit).unwrap();
    let _waiting = world.net.dial();
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(64),
            maximum: limit.maximum,
        },
    )
    .unwrap();
    world.until("the error is counted again", |world| {
        world.io().stats().accept_errors > errors
    });
    world.io().abort(open);
    // One turn reports the close, and the descriptor is free for the next.
    world.turns(2);
    assert_eq!(world.io().stats().accepted, 5);
    assert!(
        world
            .script
            .log
            .iter()
            .any(|note| matches!(note, Note::Closed(id, _) if *id == open))
    );
    drop(hoard);
    setrlimit(Resource::Nofile, limit).unwrap();
}
