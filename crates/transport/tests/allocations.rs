//! Steady traffic allocates nothing, as the allocator counts.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod suite;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use hioload_device::memory::MemoryDevice;
use hioload_lcore::{Clock, Time};
use hioload_mem::{LocalShared, Shared};
use hioload_testkit::counting::{Counting, allocations};
use hioload_transport::bypass::Bypass;
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{
    Budget, Closed, ConnId, Connections, Driver, Peer, Rest, Taken, Transport,
};
use suite::over_frames::{IPV4 as V4, address, bypass, config};
use suite::over_sockets::{IPV4, UNIX, any_port, dial};
use suite::world::{Seen, Setup, write};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Echoes; every third call leaves a part for later, every fifth sends a shared payload too.
struct Echo {
    calls: usize,
    payload: LocalShared,
    /// Bytes of the shared payloads sent so far.
    extra: usize,
}

impl Driver for Echo {
    fn on_accept<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Peer) -> bool {
        true
    }
    fn on_connect<C: Connections>(&mut self, _: &mut C, _: ConnId, _: std::io::Result<()>) {}
    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        self.calls += 1;
        let bytes = if self.calls.is_multiple_of(3) {
            data.len().div_ceil(2)
        } else {
            data.len()
        };
        write(io, id, &data[..bytes]);
        if self.calls.is_multiple_of(5) {
            io.send_shared(id, self.payload.clone(), true).unwrap();
            self.extra += self.payload.len();
        }
        Taken {
            bytes,
            rest: Rest::Later,
        }
    }
    fn on_end<C: Connections>(&mut self, _: &mut C, _: ConnId) {}
    fn on_writable<C: Connections>(&mut self, _: &mut C, _: ConnId) {}
    fn on_closed<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Closed) {}
}

#[test]
fn an_echo_allocates_nothing() {
    for (family, size) in [(IPV4, 64), (IPV4, 16 << 10), (UNIX, 64), (UNIX, 16 << 10)] {
        let listener = BoundListener::bind(&any_port(family), false, 16).unwrap();
        let to = listener.local().unwrap();
        let mut io = Sockets::new(&SocketOptions::default(), vec![listener]).unwrap();
        let payload = Shared::from(vec![7; 600]).local();
        let mut driver = Echo {
            calls: 0,
            payload,
            extra: 0,
        };
        let mut wires: Vec<_> = (0..4).map(|_| dial(&to, None)).collect();
        let message = vec![42; size];
        let mut buffer = vec![0; 64 << 10];
        let (mut sent, mut got) = (0, 0);
        let mut round = || {
            for wire in &mut wires {
                assert_eq!(wire.write(&message).unwrap(), size);
                sent += size;
            }
            while got < sent + driver.extra {
                io.wait(Some(Duration::from_millis(1))).unwrap();
                io.dispatch(
                    &mut driver,
                    Budget {
                        events: 64,
                        accepts: 64,
                    },
                    Time::ZERO,
                );
                io.flush(&mut driver);
                for wire in &mut wires {
                    match wire.read(&mut buffer) {
                        Ok(n) => got += n,
                        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                    }
                }
            }
        };
        for _ in 0..100 {
            round();
        }
        let before = allocations();
        for _ in 0..200 {
            round();
        }
        assert_eq!(allocations() - before, 0, "{size} bytes over {to}");
    }
}

/// Counts the transport, the stack below it, and the stack of the peers.
#[test]
fn an_echo_over_frames_allocates_nothing() {
    for size in [64, 16 << 10] {
        let (mut io, mut peers) = bypass(Setup::default(), config(V4, 1), config(V4, 2));
        let mut driver = Echo {
            calls: 0,
            payload: Shared::from(vec![7; 600]).local(),
            extra: 0,
        };
        let mut clock = Clock::new();
        let mut turn = |io: &mut Bypass<MemoryDevice>, driver: &mut Echo| {
            io.wait(Some(Duration::from_millis(1))).unwrap();
            let budget = Budget {
                events: 64,
                accepts: 64,
            };
            io.dispatch(driver, budget, clock.tick());
            io.flush(driver);
        };
        let to = SocketAddr::new(address(V4, 1), 9001);
        let wires: Vec<_> = (0..4).map(|_| peers.dial(to)).collect();
        let message = vec![42; size];
        let mut got = Vec::with_capacity(1 << 20);
        let (mut sent, mut came) = (0, 0);
        let mut round = || {
            for wire in &wires {
                let mut at = 0;
                while at < size {
                    at += peers.send(*wire, &message[at..]);
                    turn(&mut io, &mut driver);
                }
                sent += size;
            }
            while came < sent + driver.extra {
                turn(&mut io, &mut driver);
                for wire in &wires {
                    got.clear();
                    assert_eq!(peers.recv(*wire, &mut got), Seen::Open);
                    came += got.len();
                }
            }
        };
        for _ in 0..100 {
            round();
        }
        let before = allocations();
        for _ in 0..200 {
            round();
        }
        assert_eq!(allocations() - before, 0, "{size} bytes over frames");
    }
}
