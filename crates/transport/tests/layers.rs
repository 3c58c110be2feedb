//! What a layer sees of its connections.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::ErrorKind;

use hioload_mem::{LocalShared, Shared};
use hioload_transport::layer::Bytes;
use hioload_transport::{Connections, Endpoint};
use suite::layers::ThroughLayer;
use suite::over_script::FakeHarness;
use suite::receiving::echo_all;
use suite::world::{Harness, Note, Setup, World, all, write};

type Layered = World<FakeHarness<true, ThroughLayer>>;

fn shared(bytes: &[u8]) -> LocalShared {
    Shared::from(bytes.to_vec()).local()
}

#[test]
fn every_byte_of_both_directions_goes_through_the_layer() {
    let mut world = Layered::new(Setup::default());
    world.script.on_data = Box::new(echo_all);
    let (mut wire, id) = world.dial();
    for _ in 0..10 {
        world.send(&mut wire, &[7; 300]);
        assert_eq!(world.recv(&mut wire, 300).len(), 300);
    }
    let both = Bytes {
        received: 3000,
        sent: 3000,
    };
    assert_eq!(world.io().layer().bytes(id), Some(both));
    world.net.end(&mut wire);
    world.io().close(id);
    world.turns(2);
    assert_eq!(world.io().layer().bytes(id), None);
    assert_eq!(world.io().layer().bytes_of_all(), both);
    assert_eq!(world.io().layer().connections(), 0);
}

#[test]
fn a_call_outside_of_a_dispatch_goes_through_the_layer() {
    let mut world = Layered::new(Setup::default());
    let (mut wire, id) = world.dial();
    world.net.refuse(&mut wire);
    write(world.io(), id, b"written");
    world.io().send_shared(id, shared(&[1; 600]), true).unwrap();
    assert_eq!(world.io().drop_oldest(id), Some(600));
    let sent = world.io().layer().bytes(id).unwrap().sent;
    assert_eq!(sent, 7, "a payload taken back was not sent");
}

#[test]
fn the_layer_keeps_state_of_exactly_the_open_connections() {
    let mut world = Layered::new(Setup::default());
    world.script.on_data = Box::new(|_, _, data| all(data));
    let (wire, _) = world.dial();
    world.script.welcome = false;
    world.net.dial();
    world.turns(2);
    assert_eq!(world.io().layer().connections(), 1, "one was refused");

    let to = Endpoint::Tcp("192.0.2.1:80".parse().unwrap());
    let failing = world.io().connect(&to).unwrap();
    assert_eq!(world.io().layer().connections(), 2);
    world
        .io()
        .below()
        .connect_outcome(failing, Err(ErrorKind::ConnectionRefused));
    world.turns(2);
    assert!(world.has(&Note::Connect(failing, Err(ErrorKind::ConnectionRefused))));
    assert_eq!(world.io().layer().connections(), 1);

    world.net.reset(wire);
    world.turns(2);
    assert_eq!(world.io().layer().connections(), 0);
}
