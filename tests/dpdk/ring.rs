//! Server and client in one process, each with its lcores and its TCP, on two ports that are connected by rings: an mbuf that one sends
//! is the mbuf that the other receives.

use std::net::SocketAddr;
use std::sync::mpsc;

use hioload_device::Device;
use hioload_dpdk::{
    Eal, PendingQueue, Port, PortName, PortOptions, RingEnd, ring_pair, split_arguments,
};
use hioload_engine::{LcorePlacement, MakeTransport, StartError};
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Handoff, Stack, StackConfig};
use hioload_testkit::Echo;
use hioload_transport::bypass::{Bypass, BypassOptions};
use hioload_ws::{
    Accept, CloseCode, Closure, Config, Connect, ConnectError, ConnectionId, Context, Handler,
    Kind, LcoreContext, Lcores, Message, Peer, Request, Response, Server, ServerReply,
};

use super::EAL;

type Queue = hioload_dpdk::Queue;

const COUNT: u64 = 20_000;
const IN_FLIGHT: u64 = 16;

/// Sends numbers on a connection of each lcore, checks their echoes, and reports the outcome.
#[derive(Clone)]
struct Client {
    outcome: mpsc::Sender<Result<(), String>>,
}

#[derive(Default)]
struct Run {
    sent: u64,
    back: u64,
}

impl Run {
    fn fill(&mut self, cx: &mut impl Context<Event = ()>) {
        while self.sent < COUNT && self.sent - self.back < IN_FLIGHT {
            cx.send(Kind::Binary, &self.sent.to_be_bytes())
                .expect("room");
            self.sent += 1;
        }
    }
}

impl Handler for Client {
    type Conn = Run;
    type Event = ();

    fn on_start(&mut self, cx: &mut impl LcoreContext<Event = ()>) {
        let connect = Connect::new(SocketAddr::from(([10, 77, 0, 2], 9001)));
        cx.connect(connect).expect("it can begin");
    }

    fn on_open(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: Peer,
        _: &Request<'_>,
    ) -> Result<Accept<Run>, Response> {
        Err(Response::not_found())
    }

    fn on_connect(
        &mut self,
        _: &mut impl LcoreContext<Event = ()>,
        _: u64,
        _: ConnectionId,
        outcome: Result<&ServerReply<'_>, ConnectError>,
    ) -> Option<Run> {
        outcome.expect("the server is there");
        Some(Run::default())
    }

    fn on_ready(&mut self, run: &mut Run, cx: &mut impl Context<Event = ()>) {
        run.fill(cx);
    }

    fn on_message(
        &mut self,
        run: &mut Run,
        cx: &mut impl Context<Event = ()>,
        message: Message<'_>,
    ) {
        assert_eq!(message.as_bytes(), run.back.to_be_bytes());
        run.back += 1;
        run.fill(cx);
        if run.back == COUNT {
            cx.close(CloseCode::NORMAL, "");
        }
    }

    fn on_close(&mut self, run: Run, _: &mut impl LcoreContext<Event = ()>, closure: Closure<'_>) {
        let outcome = match run.back {
            COUNT => Ok(()),
            back => Err(format!("closed after {back}: {closure:?}")),
        };
        self.outcome.send(outcome).expect("the test receives it");
    }
}

fn open(eal: &Eal, end: RingEnd, queues: u16) -> (Port, Vec<PendingQueue>) {
    let mut options = PortOptions::new(PortName::Ring(end));
    options.queues = queues;
    Port::open(eal, &options).expect("a port")
}

/// An engine with an lcore for each queue; `last` is the last byte of its IP and MAC addresses.
fn engine(ends: Vec<PendingQueue>, last: u8, listen: bool) -> Server<Bypass<Queue>> {
    let address = ([10, 77, 0, 2], 9001).into();
    let own = format!("10.77.0.{last}/24").parse().expect("an address");
    let mut stack = StackConfig::new([own]);
    if listen {
        stack.listen.push(address);
    }
    stack.mac = Some([2, 0, 0, 0, 0, last]);
    stack.secret = [last; 16];
    stack.max_flows = 64;
    let mut config = Config::default();
    config.tunables.limits.max_connections = 16;
    let options = BypassOptions::default()
        .rx_buffer(1 << 16)
        .send_queue(config.send_bound())
        .backlog(16);
    let (lcores, alone) = (ends.len(), ends.len() == 1);
    let handoffs = Handoff::mesh(lcores, 1518);
    let make = ends.into_iter().zip(handoffs).map(|(end, mut handoff)| {
        let stack = stack.clone();
        let make = move |placement: LcorePlacement| {
            let queue = end.claim().map_err(StartError::transport)?;
            handoff.set_waker(queue.waker());
            let handoff = (!alone).then_some(handoff);
            let stack =
                Stack::new(queue, stack, handoff, placement.now).map_err(StartError::transport)?;
            let pool = Pool::new(&PoolOptions::new(256, 1 << 14)).map_err(StartError::transport)?;
            Ok(Bypass::over(stack, options, pool))
        };
        Box::new(make) as MakeTransport<_>
    });
    Server::on(config, &Lcores::Count(lcores), Vec::new(), make.collect()).expect("a server")
}

/// A server and a client with `queues` lcores each.
fn converse(eal: &Eal, queues: u16) {
    let (a, b) = ring_pair(eal, queues, 1024).expect("two ports");
    let ((port_a, ends_a), (port_b, ends_b)) = (open(eal, a, queues), open(eal, b, queues));
    let server = engine(ends_a, 2, true).start(|_| Echo).expect("it starts");
    let (outcome, outcomes) = mpsc::channel();
    let client = Client { outcome };
    let client = engine(ends_b, 1, false)
        .start(move |_| client.clone())
        .expect("it starts");
    for _ in 0..queues {
        outcomes.recv().expect("an outcome").expect("all echoes");
    }
    client.remote().stop_now();
    client.join().expect("no lcore failed");
    server.remote().stop_now();
    let totals = server.join().expect("no lcore failed");
    let text = totals.to_string();
    let messages = u64::from(queues) * COUNT;
    assert!(
        text.contains(&format!("messages_in={messages} messages_out={messages}")),
        "{text}"
    );
    // Each port holds frames of the other, so only the end of the second one accounts for all frames.
    port_a.close().expect("closed");
    let closed = port_b.close().expect("closed");
    assert_eq!((closed.frames_in_use, closed.frames_held), (Some(0), 0));
}

#[test]
fn server_and_client_on_rings_of_one_process() {
    let eal = Eal::init(&split_arguments(EAL).expect("words")).expect("EAL");
    converse(&eal, 1);
    converse(&eal, 2);
}
