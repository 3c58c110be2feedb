//! DPDK: a server over the queues of a port that one of DPDK's drivers runs (feature `dpdk`, Linux).
//!
//! EAL starts once in a process. Each queue of the port has one lcore with its own TCP stack.
//!
//! ```no_run
//! use hioload_ws::dpdk::{self, DpdkOptions, Eal, PortName};
//! # use hioload_ws::{Handler, ServerOptions};
//!
//! # fn run(options: ServerOptions, echo: impl Handler + Clone + Send + Sync) -> Result<(), Box<dyn std::error::Error>> {
//! let eal = Eal::init(&dpdk::split_arguments("-a 0000:01:00.0")?)?;
//! let port = DpdkOptions::new(PortName::Number(0)).address("10.77.0.2/24".parse()?);
//! let (server, port) = dpdk::bind(&eal, port, options)?;
//! server.start(move |_lcore| echo.clone())?.join()?;
//! println!("{:?}", port.close()?.stats);
//! # Ok(())
//! # }
//! ```

pub use crate::bypass::Error;
pub use hioload_bypass::dpdk::{
    DpdkError, DpdkOptions, DpdkPort, Eal, LinkState, PortEnd, PortName, PortStats, Server, bind,
    split_arguments,
};
