//! An echo server over a port of DPDK.
//!
//! ```sh
//! cargo build --release --example dpdk --features dpdk
//! sudo target/release/examples/dpdk "-a 0000:01:00.0" 10.77.0.2/24
//! hioload connect ws://10.77.0.2:9001/           # on another machine of that network
//! ```
//!
//! The first argument has the arguments of DPDK's EAL. Without a NIC, use a virtual device on a veth:
//! `"--no-pci --no-huge -m 512 --vdev=net_af_packet0,iface=veth1"`. `hioload check --transport dpdk` lists the missing
//! parts of a machine.

use std::error::Error;
use std::net::SocketAddr;

use hioload_ws::bypass::Cidr;
use hioload_ws::dpdk::{self, DpdkOptions, Eal, PortName};
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
    let (Some(eal), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dpdk EAL-ARGUMENTS ADDRESS/PREFIX".into());
    };
    let address: Cidr = address.parse()?;

    // EAL starts once in a process, and ends with the last port and the last handle to it.
    let eal = Eal::init(&dpdk::split_arguments(&eal)?)?;
    // Without a choice of lcores there is one for each queue, near the NIC.
    let options = ServerOptions::new().listen_on(SocketAddr::new(address.addr(), 9001));
    let port = DpdkOptions::new(PortName::Number(0)).address(address);
    let (server, port) = dpdk::bind(&eal, port, options)?;
    println!("listening on ws://{}:9001", address.addr());

    let totals = server.start(|_lcore| Echo)?.join()?;
    println!("{totals}");
    // All frames must be back in their pools: an error says how many are not.
    println!("{:?}", port.close()?);
    Ok(())
}
