//! An echo server over AF_XDP: packets go from the queues of a network interface to the handler without the kernel's TCP.
//!
//! ```sh
//! sudo $(which cargo) run --release --example af_xdp --features af-xdp -- eth1 10.77.0.2/24
//! hioload connect ws://10.77.0.2:9001/           # on another machine of that network
//! ```
//!
//! The address must not be configured in the kernel: the server answers ARP, neighbour discovery and ping for it. Every queue of the
//! interface gets one lcore. `hioload check --interface eth1` lists the missing parts of a machine.

use std::error::Error;
use std::net::SocketAddr;

use hioload_ws::af_xdp::{self, XdpOptions};
use hioload_ws::bypass::Cidr;
use hioload_ws::{Context, Handler, Message, ServerOptions};

struct Echo;

impl Handler for Echo {
    type Conn = ();
    type Event = ();

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        // If the send queue is full, the send policy has been applied.
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(interface), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: af_xdp INTERFACE ADDRESS/PREFIX".into());
    };
    let address: Cidr = address.parse()?;

    // Without a choice of lcores there is one for each queue, near the NIC.
    let options = ServerOptions::new().listen_on(SocketAddr::new(address.addr(), 9001));
    // The port owns the XDP program: it stays attached as long as `port` or a queue lives.
    let (server, port) = af_xdp::bind(XdpOptions::new(interface).address(address), options)?;
    println!("listening on ws://{}:9001", address.addr());

    let totals = server.start(|_lcore| Echo)?.join()?;
    println!("{totals}");
    println!("{:?}", port.counters()?);
    Ok(())
}
