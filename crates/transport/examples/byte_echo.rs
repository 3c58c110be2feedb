//! The smallest driver: a TCP (or Unix) echo server on one thread.
//!
//! ```text
//! cargo run --release -p hioload-transport --example byte_echo -- 127.0.0.1:7007
//! ```

use std::io;

use hioload_lcore::Clock;
use hioload_transport::sockets::{BoundListener, SocketOptions, Sockets};
use hioload_transport::{
    Budget, Closed, ConnId, Connections, Driver, Endpoint, Peer, Rest, Taken, Transport,
};

struct Echo;

impl Driver for Echo {
    fn on_accept<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Peer) -> bool {
        true
    }

    fn on_connect<C: Connections>(&mut self, _: &mut C, _: ConnId, _: io::Result<()>) {}

    fn on_data<C: Connections>(&mut self, io: &mut C, id: ConnId, data: &mut [u8]) -> Taken {
        let mut done = 0;
        while done < data.len() {
            // What the queue has no room for is presented again in the next turn.
            let Ok(space) = io.send_space(id, data.len() - done) else {
                break;
            };
            let n = space.len().min(data.len() - done);
            space[..n].copy_from_slice(&data[done..done + n]);
            io.commit(id, n);
            done += n;
        }
        if done < data.len() && io.is_blocked(id) {
            io.pause(id);
        }
        Taken {
            bytes: done,
            rest: Rest::Later,
        }
    }

    fn on_end<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        io.close(id);
    }

    fn on_writable<C: Connections>(&mut self, io: &mut C, id: ConnId) {
        io.resume(id);
    }

    fn on_closed<C: Connections>(&mut self, _: &mut C, _: ConnId, _: Closed) {}
}

fn main() -> io::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:7007".into());
    let endpoint = match address.parse() {
        Ok(addr) => Endpoint::Tcp(addr),
        Err(_) => Endpoint::Unix(address.into()),
    };
    let options = SocketOptions::default();
    let listener = BoundListener::bind(&endpoint, false, options.backlog)?;
    println!("echoing on {}", listener.local()?);
    let mut io = Sockets::new(&options, vec![listener])?;
    let mut clock = Clock::new();
    loop {
        io.wait(None)?;
        io.dispatch(
            &mut Echo,
            Budget {
                events: 256,
                accepts: 64,
            },
            clock.tick(),
        );
        io.flush(&mut Echo);
    }
}
