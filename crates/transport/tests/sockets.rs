//! Tests of sockets alone: listeners, connects to real addresses, full tables, sleeping.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::ErrorKind;
use std::net::SocketAddr;

use hioload_lcore::Time;
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{Closed, ConnId, Connections, Endpoint, Peer, Transport};
use suite::over_sockets::{IPV4, IPV6, SocketHarness, UNIX, any_port, dial};
use suite::world::{Harness, Note, Seen, Setup, World, write};

type Ipv4 = SocketHarness<{ IPV4 }>;

fn tcp(endpoint: &Endpoint) -> SocketAddr {
    match endpoint {
        Endpoint::Tcp(addr) => *addr,
        Endpoint::Unix(path) => panic!("{}", path.display()),
    }
}

fn connect(world: &mut World<Ipv4>, to: &Endpoint) -> (ConnId, Result<(), ErrorKind>) {
    let id = world.io().connect(to).unwrap();
    let mut outcome = None;
    world.until("the outcome", |world| {
        outcome = world.script.log.iter().find_map(|note| match note {
            Note::Connect(of, result) if *of == id => Some(*result),
            _ => None,
        });
        outcome.is_some()
    });
    (id, outcome.unwrap())
}

#[test]
fn connects_and_talks_over_each_family() {
    for family in [IPV4, IPV6, UNIX] {
        let listener = BoundListener::bind(&any_port(family), false, 16).unwrap();
        let to = listener.local().unwrap();
        let mut server = World::<Ipv4>::new(Setup::default());
        let mut world = World::<Ipv4>::new(Setup::default());
        let mut far = Sockets::new(&SocketOptions::default(), vec![listener]).unwrap();
        let (id, outcome) = connect(&mut world, &to);
        assert_eq!(outcome, Ok(()), "{to}");
        write(world.io(), id, b"hello");
        world.turn();
        // Of the other world, only the driver is used.
        server.script.on_data = Box::new(suite::receiving::echo_all);
        world.until("the echo", |world| {
            far.wait(Some(std::time::Duration::from_millis(1))).unwrap();
            far.dispatch(&mut server.script, server.budget, Time::ZERO);
            far.flush(&mut server.script);
            world.data(id).concat() == b"hello"
        });
        let peer = match &to {
            Endpoint::Tcp(addr) => Peer::Ip(*addr),
            Endpoint::Unix(_) => Peer::Unix,
        };
        assert_eq!(world.io().peer(id), Some(peer));
        assert_eq!(world.io().stats().connected, 1);
    }
}

#[test]
fn a_refused_connect_is_reported_once_and_its_id_is_stale() {
    let listener = BoundListener::bind(&any_port(IPV4), false, 16).unwrap();
    let to = listener.local().unwrap();
    drop(listener);
    let mut world = World::<Ipv4>::new(Setup {
        max_connections: 1,
        ..Setup::default()
    });
    for _ in 0..3 {
        assert_eq!(
            connect(&mut world, &to).1,
            Err(ErrorKind::ConnectionRefused)
        );
    }
    world.turns(2);
    assert_eq!(world.script.log.len(), 3);
    assert_eq!(world.io().stats().connected, 0);
}

#[test]
fn a_connect_that_is_aborted_fails() {
    let listener = BoundListener::bind(&any_port(IPV4), false, 16).unwrap();
    let mut world = World::<Ipv4>::new(Setup::default());
    let id = world.io().connect(&listener.local().unwrap()).unwrap();
    world.io().abort(id);
    world.turns(2);
    assert_eq!(
        world.script.log,
        [Note::Connect(id, Err(ErrorKind::ConnectionAborted))]
    );
}

#[test]
fn bytes_queued_while_connecting_are_sent_once_connected() {
    let listener = BoundListener::bind(&any_port(IPV4), false, 16).unwrap();
    let to = listener.local().unwrap();
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    drop((listener, to));
    let mut world = World::<Ipv4>::new(Setup::default());
    let id = world
        .io()
        .connect(&Endpoint::Tcp(plain.local_addr().unwrap()))
        .unwrap();
    write(world.io(), id, b"early");
    world.io().close(id);
    world.until("closed", |world| {
        world.has(&Note::Closed(id, Closed::Flushed))
    });
    assert_eq!(world.script.log[0], Note::Connect(id, Ok(())));
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut plain.accept().unwrap().0, &mut got).unwrap();
    assert_eq!(got, b"early");
}

#[test]
fn a_full_table_leaves_connections_in_the_backlog() {
    let mut world = World::<Ipv4>::new(Setup {
        max_connections: 2,
        ..Setup::default()
    });
    let (_first, id) = world.dial();
    let (_second, _) = world.dial();
    let mut third = world.net.dial();
    world.turns(3);
    assert_eq!(world.io().stats().accepted, 2);
    assert_eq!(world.io().stats().accept_errors, 1, "counted once");
    assert!(world.io().connect(&any_port(IPV4)).is_err());
    let mut got = Vec::new();
    assert_eq!(world.net.recv(&mut third, &mut got), Seen::Open, "it waits");
    world.io().close(id);
    world.until("the third has the free slot", |world| {
        world.io().stats().accepted == 3
    });
    world.send(&mut third, b"hi");
    world.until("it is served", |world| {
        world
            .script
            .log
            .iter()
            .any(|note| matches!(note, Note::Data(_, data) if data == b"hi"))
    });
}

#[test]
fn a_waker_ends_a_sleep_and_is_not_lost_before_it() {
    let mut io = Sockets::new(&SocketOptions::default(), Vec::new()).unwrap();
    let mut world = World::<Ipv4>::new(Setup::default());
    io.dispatch(&mut world.script, world.budget, Time::ZERO);
    let waker = io.waker();
    waker.wake();
    io.wait(None).unwrap();
    let thread = std::thread::spawn(move || waker.wake());
    io.wait(None).unwrap();
    thread.join().unwrap();
    assert_eq!(io.stats().sleeps, 2);
}

#[test]
fn wait_does_not_sleep_while_work_is_left() {
    let mut world = World::<Ipv4>::new(Setup {
        rx_buffer: 4,
        ..Setup::default()
    });
    let (mut wire, id) = world.dial();
    world.send(&mut wire, b"12345678");
    world.until("the first part", |world| !world.data(id).is_empty());
    let sleeps = world.io().stats().sleeps;
    world.io().wait(None).unwrap();
    assert_eq!(world.io().stats().sleeps, sleeps);
}

#[test]
fn binding_a_port_in_use_fails_with_addr_in_use() {
    let held = BoundListener::bind(&any_port(IPV4), false, 16).unwrap();
    let to = held.local().unwrap();
    assert_ne!(tcp(&to).port(), 0);
    for result in [
        BoundListener::bind(&to, false, 16).map(|_| ()),
        BoundListener::bind_many(&to, 2, 16).map(|_| ()),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    // Even if the other listener would share it.
    let shared = BoundListener::bind(&any_port(IPV4), true, 16).unwrap();
    let result = BoundListener::bind_many(&shared.local().unwrap(), 2, 16);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn several_lcores_listen_on_one_address_and_each_connection_goes_to_one() {
    for family in [IPV4, IPV6, UNIX] {
        let listeners = BoundListener::bind_many(&any_port(family), 3, 16).unwrap();
        let to = listeners[0].local().unwrap();
        assert!(
            listeners
                .iter()
                .all(|listener| listener.local().unwrap() == to)
        );
        let new = |listener| Sockets::new(&SocketOptions::default(), vec![listener]).unwrap();
        let mut lcores: Vec<_> = listeners.into_iter().map(new).collect();
        let _wires: Vec<_> = (0..12).map(|_| dial(&to, None)).collect();
        let mut world = World::<Ipv4>::new(Setup::default());
        let mut accepted = 0;
        for _ in 0..1000 {
            accepted = 0;
            for io in &mut lcores {
                // Each lcore has its own driver in life; here ids of different lcores would meet in one.
                world.script = World::<Ipv4>::new(Setup::default()).script;
                io.wait(Some(std::time::Duration::from_millis(1))).unwrap();
                io.dispatch(&mut world.script, world.budget, Time::ZERO);
                accepted += io.stats().accepted;
            }
            if accepted == 12 {
                break;
            }
        }
        assert_eq!(accepted, 12, "{to}");
    }
}

#[test]
fn both_families_can_bind_the_same_port() {
    let v4 = BoundListener::bind(&Endpoint::Tcp("0.0.0.0:0".parse().unwrap()), false, 16).unwrap();
    let port = tcp(&v4.local().unwrap()).port();
    let v6 = Endpoint::Tcp(SocketAddr::new("::".parse().unwrap(), port));
    let v6 = BoundListener::bind(&v6, false, 16).unwrap();
    let mut io = Sockets::new(&SocketOptions::default(), vec![v4, v6]).unwrap();
    let mut world = World::<Ipv4>::new(Setup::default());
    let _wires = ["127.0.0.1", "::1"].map(|ip| {
        dial(
            &Endpoint::Tcp(SocketAddr::new(ip.parse().unwrap(), port)),
            None,
        )
    });
    for _ in 0..1000 {
        if io.stats().accepted == 2 {
            break;
        }
        io.wait(Some(std::time::Duration::from_millis(1))).unwrap();
        io.dispatch(&mut world.script, world.budget, Time::ZERO);
    }
    let families = world.script.log.iter().filter_map(|note| match note {
        Note::Accept(_, Peer::Ip(addr)) => Some(addr.is_ipv4()),
        _ => None,
    });
    let mut families: Vec<_> = families.collect();
    families.sort_unstable();
    assert_eq!(families, [false, true]);
}

#[cfg(unix)]
mod files {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_file_is_removed_with_its_last_listener() {
        let to = any_port(UNIX);
        let Endpoint::Unix(path) = &to else { panic!() };
        let first = BoundListener::bind(&to, false, 16).unwrap();
        let clone = first.try_clone().unwrap();
        assert_eq!(
            BoundListener::bind(&to, false, 16).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        drop(first);
        assert!(path.exists());
        let mut io = Sockets::new(&SocketOptions::default(), vec![clone]).unwrap();
        assert!(path.exists());
        io.stop_listening();
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_that_of_a_successor_is_kept() {
        let to = any_port(UNIX);
        let Endpoint::Unix(path) = &to else { panic!() };
        // The standard library leaves the file behind.
        drop(UnixListener::bind(path).unwrap());
        assert!(path.exists());
        let ours = BoundListener::bind(&to, false, 16).unwrap();
        std::fs::remove_file(path).unwrap();
        let successor = UnixListener::bind(path).unwrap();
        drop(ours);
        assert!(path.exists(), "it is not ours any more");
        drop(successor);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_is_not_a_socket_is_not_removed() {
        let to = any_port(UNIX);
        let Endpoint::Unix(path) = &to else { panic!() };
        std::fs::write(path, "precious").unwrap();
        assert_eq!(
            BoundListener::bind(&to, false, 16).unwrap_err().kind(),
            ErrorKind::AddrInUse
        );
        assert_eq!(std::fs::read(path).unwrap(), b"precious");
        std::fs::remove_file(path).unwrap();
    }
}
