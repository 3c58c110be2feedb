//! Tests of sockets alone: listeners, connects to real addresses, full tables, sleeping.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::ErrorKind;
use std::net::SocketAddr;

use hioload_lcore::Time;
use hioload_transport::sockets::{BoundListener, Listen, SocketOptions, Sockets};
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

/// The families that this machine has.
fn families() -> impl Iterator<Item = u8> {
    let has = |family: &u8| *family != IPV6 || hioload_testkit::has_ipv6();
    [IPV4, IPV6, UNIX].into_iter().filter(has)
}

/// Accepts from `io` until it has accepted `count` connections, and returns their peers.
fn accept(io: &mut Sockets, count: usize) -> Vec<Peer> {
    let mut world = World::<Ipv4>::new(Setup::default());
    for _ in 0..1000 {
        if io.stats().accepted == count as u64 {
            break;
        }
        io.wait(Some(std::time::Duration::from_millis(1))).unwrap();
        io.dispatch(&mut world.script, world.budget, Time::ZERO);
    }
    let peers = world.script.log.iter().filter_map(|note| match note {
        Note::Accept(_, peer) => Some(*peer),
        _ => None,
    });
    peers.collect()
}

#[test]
fn connects_and_talks_over_each_family() {
    for family in families() {
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

fn bind_two(to: &Endpoint) -> std::io::Result<()> {
    Listen::from(to.clone())
        .bind(2, &SocketOptions::default())
        .map(drop)
}

#[test]
fn binding_a_port_in_use_fails_with_addr_in_use() {
    let held = BoundListener::bind(&any_port(IPV4), false, 16).unwrap();
    let to = held.local().unwrap();
    assert_ne!(tcp(&to).port(), 0);
    for result in [
        BoundListener::bind(&to, false, 16).map(|_| ()),
        bind_two(&to),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
    // Even if the other listener would share it.
    let shared = BoundListener::bind(&any_port(IPV4), true, 16).unwrap();
    let result = bind_two(&shared.local().unwrap());
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AddrInUse);
}

#[test]
fn several_lcores_listen_on_one_address_and_each_connection_goes_to_one() {
    for family in families() {
        let options = SocketOptions::default();
        let bound = Listen::from(any_port(family)).bind(3, &options).unwrap();
        let [to] = &bound.endpoints[..] else {
            panic!("{:?}", bound.endpoints);
        };
        let new = |listeners| Sockets::new(&options, listeners).unwrap();
        let mut lcores: Vec<_> = bound.lcores.into_iter().map(new).collect();
        assert!(lcores.iter().all(|io| io.listening() == [to.clone()]));
        let _wires: Vec<_> = (0..12).map(|_| dial(to, None)).collect();
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
    if !hioload_testkit::has_ipv6() {
        return;
    }
    let v4 = BoundListener::bind(&Endpoint::Tcp("0.0.0.0:0".parse().unwrap()), false, 16).unwrap();
    let port = tcp(&v4.local().unwrap()).port();
    let v6 = Endpoint::Tcp(SocketAddr::new("::".parse().unwrap(), port));
    let v6 = BoundListener::bind(&v6, false, 16).unwrap();
    let mut io = Sockets::new(&SocketOptions::default(), vec![v4, v6]).unwrap();
    let _wires = loopbacks(port).map(|to| dial(&to, None));
    assert_eq!(are_ipv4(&accept(&mut io, 2)), [false, true]);
}

/// The loopback addresses of both families.
fn loopbacks(port: u16) -> [Endpoint; 2] {
    ["127.0.0.1", "::1"].map(|ip| Endpoint::Tcp(SocketAddr::new(ip.parse().unwrap(), port)))
}

/// For each peer whether it has an IPv4 address, those without first.
fn are_ipv4(peers: &[Peer]) -> Vec<bool> {
    let is_ipv4 = |peer: &Peer| matches!(peer, Peer::Ip(addr) if addr.is_ipv4());
    let mut all: Vec<_> = peers.iter().map(is_ipv4).collect();
    all.sort_unstable();
    all
}

/// One socket takes both families, and shows an IPv4 peer by its IPv4 address.
#[test]
fn every_address_is_one_socket_for_both_families() {
    if !hioload_testkit::has_ipv6() {
        return;
    }
    for lcores in [1, 2] {
        let options = SocketOptions::default();
        let mut bound = Listen::Any(0).bind(lcores, &options).unwrap();
        let [v4, v6] = &bound.endpoints[..] else {
            panic!("{:?}", bound.endpoints);
        };
        let port = tcp(v4).port();
        assert_eq!(v4.to_string(), format!("0.0.0.0:{port}"));
        assert_eq!(v6.to_string(), format!("[::]:{port}"));
        assert!(bound.lcores.iter().all(|listeners| listeners.len() == 1));
        // Without the others, one lcore has all connections.
        bound.lcores.truncate(1);
        let mut io = Sockets::new(&options, bound.lcores.remove(0)).unwrap();
        let _wires = loopbacks(port).map(|to| dial(&to, None));
        assert_eq!(are_ipv4(&accept(&mut io, 2)), [false, true]);
        let taken = Listen::Any(port).bind(1, &options).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    }
}

#[test]
fn without_ipv6_every_address_is_every_ipv4_address() {
    let bound = Listen::Any(0).bind(1, &SocketOptions::default()).unwrap();
    let v4 = bound.endpoints.iter().any(|to| tcp(to).is_ipv4());
    assert!(v4, "{:?}", bound.endpoints);
}

#[test]
fn a_name_is_all_of_its_addresses_that_this_machine_has() {
    let options = SocketOptions::default();
    let bound = "localhost:0"
        .parse::<Listen>()
        .unwrap()
        .bind(1, &options)
        .unwrap();
    let ports: std::collections::BTreeSet<u16> =
        bound.endpoints.iter().map(|to| tcp(to).port()).collect();
    assert_eq!(ports.len(), 1, "{:?}", bound.endpoints);
    assert!(bound.endpoints.iter().all(|to| tcp(to).ip().is_loopback()));
    assert_eq!(bound.lcores[0].len(), bound.endpoints.len());
    let nothing = "no-such-name.invalid:0".parse::<Listen>().unwrap();
    assert!(nothing.bind(1, &options).is_err());
}

#[test]
fn a_socket_that_listens_already_is_shared_by_the_lcores() {
    let passed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Endpoint::Tcp(passed.local_addr().unwrap());
    let listen = Listen::from(BoundListener::inherit_tcp(passed).unwrap());
    assert_eq!(listen.to_string(), to.to_string());
    let options = SocketOptions::default();
    let bound = listen.bind(2, &options).unwrap();
    assert_eq!(bound.endpoints, std::slice::from_ref(&to));
    let new = |listeners| Sockets::new(&options, listeners).unwrap();
    let mut lcores: Vec<Sockets> = bound.lcores.into_iter().map(new).collect();
    // The lcore that comes first leaves the others their part of a burst.
    let _wires: Vec<_> = (0..8).map(|_| dial(&to, None)).collect();
    let mut world = World::<Ipv4>::new(Setup::default());
    for io in &mut lcores {
        world.script = World::<Ipv4>::new(Setup::default()).script;
        io.wait(Some(std::time::Duration::ZERO)).unwrap();
        io.dispatch(&mut world.script, world.budget, Time::ZERO);
    }
    let accepted: Vec<u64> = lcores.iter().map(|io| io.stats().accepted).collect();
    assert_eq!(accepted, [4, 4]);
    // What an lcore leaves has no new edge: it does not sleep over it.
    let _more: Vec<_> = (0..6).map(|_| dial(&to, None)).collect();
    for _ in 0..2 {
        world.script = World::<Ipv4>::new(Setup::default()).script;
        lcores[0].wait(None).unwrap();
        lcores[0].dispatch(&mut world.script, world.budget, Time::ZERO);
    }
    assert_eq!(lcores[0].stats().accepted, 10);
}

#[cfg(target_os = "linux")]
#[test]
fn an_inherited_socket_must_listen() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let why = BoundListener::inherit_tcp(socket.into()).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::InvalidInput);
    assert!(why.to_string().contains("does not listen"), "{why}");
}

#[cfg(unix)]
mod files {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_file_has_the_mode_and_the_group_that_are_set() {
        let own = rustix::process::getegid().as_raw();
        let root = rustix::process::geteuid().is_root();
        for (mode, group, expected) in [
            (Some(0o600), None, (0o600, own)),
            (Some(0o666), None, (0o666, own)),
            (Some(0), None, (0, own)),
            (None, Some(own), (0o660, own)),
            (
                Some(0o620),
                root.then_some(1234),
                (0o620, if root { 1234 } else { own }),
            ),
        ] {
            let to = any_port(UNIX);
            let options = SocketOptions::default().unix_mode(mode).unix_group(group);
            let bound = Listen::from(to.clone()).bind(2, &options).unwrap();
            let Endpoint::Unix(path) = &to else { panic!() };
            let file = std::fs::metadata(path).unwrap();
            assert_eq!((file.permissions().mode() & 0o777, file.gid()), expected);
            drop(bound);
            assert!(!path.exists());
        }
    }

    #[test]
    fn the_file_of_an_inherited_socket_stays() {
        let to = any_port(UNIX);
        let Endpoint::Unix(path) = &to else { panic!() };
        let passed = UnixListener::bind(path).unwrap();
        let listener = BoundListener::inherit_unix(passed).unwrap();
        assert_eq!(listener.local().unwrap(), to);
        let mut io = Sockets::new(&SocketOptions::default(), vec![listener]).unwrap();
        let _wire = dial(&to, None);
        assert_eq!(accept(&mut io, 1), [Peer::Unix]);
        drop(io);
        assert!(path.exists());
        std::fs::remove_file(path).unwrap();
    }

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
