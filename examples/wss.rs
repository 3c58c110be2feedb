//! An echo server over TLS, with a certificate for development.
//!
//! ```sh
//! cargo run --example wss                              # an endpoint may follow: -- 0.0.0.0:8443
//! hioload connect --ca CA.PEM wss://localhost:9443/    # in another terminal; the example prints the path
//! ```
//!
//! The certificate is made at the first start and kept in a folder of the user. A server for others has one that they trust:
//! replace the pair of files. The files are watched, so a renewed certificate needs no restart.

use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use hioload_ws::tls::{
    DevCertificate, ServerTls, ServerTlsOptions, TlsOptions, Watch, dev_folder, secure,
};
use hioload_ws::{Context, Handler, Message, Server, ServerOptions};

struct Echo;

impl Handler for Echo {
    type Conn = (); // the state of a connection
    type Event = (); // the events of jobs and other threads

    fn new_conn(&mut self) {}

    fn on_message(&mut self, _: &mut (), cx: &mut impl Context<Event = ()>, message: Message<'_>) {
        // If the send queue is full, the send policy has been applied.
        let _ = cx.send(message.kind(), message.as_bytes());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1);
    let endpoint = endpoint.as_deref().unwrap_or("127.0.0.1:9443");

    let names = ["localhost".to_owned()];
    let certificate = DevCertificate::find_or_create(&dev_folder()?, &names, SystemTime::now())?;
    let tls = ServerTls::load(ServerTlsOptions::new(vec![certificate.pair()]))?;
    let tls = Arc::new(tls);
    let _watch = Watch::start(&tls, true)?;

    let server = Server::bind(ServerOptions::new().listen(endpoint)?.lcores(2))?;
    println!("listening on wss://{}/", server.endpoints()[0]);
    println!("clients trust {}", certificate.ca.display());

    let server = secure(server, TlsOptions::default(), &tls);
    let totals = server.start(|_lcore| Echo)?.join()?;
    println!("{totals}");
    Ok(())
}
