//! Several lcores of one host.

use hioload_device::{Burst, Device};

use super::*;
use crate::Handoff;

/// A client with one queue, and a server with two. Frames reach the two queues in turn, whichever lcore owns their flow.
struct Queues {
    client: Side,
    /// The far end of the client's device, and the far ends of the server's queues.
    switch: MemoryDevice,
    ports: Vec<MemoryDevice>,
    servers: Vec<Stack<MemoryDevice>>,
    accepted: Vec<usize>,
    echoed: usize,
    now: Time,
    turn: usize,
}

impl Queues {
    fn new() -> Self {
        let options = PairOptions::default().chunks(2048);
        let link = || {
            let (one, other) = pair(&options).expect("a pair");
            (one.open(), other.open())
        };
        let (near, switch) = link();
        let (ports, queues): (Vec<_>, Vec<_>) = (0..2).map(|_| link()).unzip();
        let servers = queues.into_iter().zip(Handoff::mesh(2, 1514 + 4));
        let servers = servers.map(|(queue, handoff)| {
            let config = StackConfig {
                half_open: 64,
                ..server()
            };
            Stack::new(queue, config, Some(handoff), Time::ZERO).expect("a stack")
        });
        Self {
            client: Side::new(near, client(), 1),
            switch,
            ports,
            servers: servers.collect(),
            accepted: vec![0; 2],
            echoed: 0,
            now: Time::from_millis(1),
            turn: 0,
        }
    }

    fn turn(&mut self) {
        self.now += Duration::from_micros(50);
        self.client.turn(self.now);
        let mut burst = Burst::new();
        self.switch.rx_burst(&mut burst);
        for frame in burst.drain(..) {
            self.turn += 1;
            copy(&frame, &mut self.ports[self.turn % 2]);
        }
        for port in &mut self.ports {
            port.rx_burst(&mut burst);
            for frame in burst.drain(..) {
                copy(&frame, &mut self.switch);
            }
        }
        for (lcore, stack) in self.servers.iter_mut().enumerate() {
            stack.receive(self.now);
            while let Some(event) = stack.next() {
                if event.flags.contains(EventFlags::ACCEPTED) {
                    self.accepted[lcore] += 1;
                }
                if event.flags.contains(EventFlags::DATA) {
                    let bytes = stack.readable(event.flow).to_vec();
                    stack.consume(event.flow, bytes.len());
                    self.echoed += stack.send(event.flow, &bytes);
                }
            }
            stack.transmit();
        }
    }
}

fn copy(frame: &<MemoryDevice as Device>::Frame, to: &mut MemoryDevice) {
    let mut out = to.alloc().expect("a frame");
    out.set_len(frame.len());
    out.bytes_mut().copy_from_slice(frame.bytes());
    let mut burst = Burst::new();
    burst.push(out);
    to.tx_burst(&mut burst);
    assert!(burst.is_empty());
}

#[test]
fn frames_reach_the_lcore_that_owns_their_flow() {
    let mut world = Queues::new();
    let flows: Vec<FlowId> = (0..40)
        .map(|_| {
            let to = addr("10.77.0.2:80");
            world.client.stack.connect(to).expect("it begins")
        })
        .collect();
    for _ in 0..20 {
        world.turn();
    }
    for _ in 0..30 {
        for flow in &flows {
            assert_eq!(world.client.stack.send(*flow, b"hello"), 5);
        }
        for _ in 0..8 {
            world.turn();
        }
    }
    assert_eq!(world.accepted.iter().sum::<usize>(), 40);
    assert!(world.accepted.iter().all(|&flows| flows > 8));
    assert_eq!(world.echoed, 40 * 30 * 5);
    for flow in &flows {
        assert_eq!(world.client.seen[flow].bytes, b"hello".repeat(30));
    }
    let stats: Vec<_> = world.servers.iter().map(Stack::stats).collect();
    for (one, other) in [(0, 1), (1, 0)] {
        assert!(stats[one].handoffs_out > 500);
        assert_eq!(stats[one].handoffs_out, stats[other].handoffs_in);
        assert_eq!((stats[one].handoff_drops, stats[one].rst_sent), (0, 0));
        // Buffers are reused.
        assert_eq!(world.servers[one].lcore(), one);
    }
    assert_eq!(stats[0].retransmits + stats[1].retransmits, 0);
}

#[test]
fn an_lcore_connects_from_ports_whose_flows_are_its_own() {
    let mut handoffs = Handoff::mesh(4, 1514);
    let (one, _other) = pair(&PairOptions::default()).expect("a pair");
    let mine = handoffs.remove(2);
    let mut stack = Stack::new(one.open(), client(), Some(mine), Time::ZERO).expect("a stack");
    for _ in 0..5 {
        let id = stack.connect(addr("10.77.0.2:80")).expect("it begins");
        let (local, peer) = (
            stack.local(id).expect("local"),
            stack.peer(id).expect("peer"),
        );
        let tuple = crate::tuple::Tuple::new(local, peer).expect("a flow");
        assert_eq!(crate::handoff::owner(stack.flows.hash(&tuple), 4), 2);
    }
}
