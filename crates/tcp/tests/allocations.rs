//! After the start, neither the two stacks nor the devices between them allocate memory for a message.

use std::time::Duration;

use hioload_device::memory::{MemoryDevice, PairOptions, pair};
use hioload_lcore::Time;
use hioload_tcp::{Event, EventFlags, FlowId, Stack, StackConfig};
use hioload_testkit::counting::{Counting, allocations};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Frame = <MemoryDevice as hioload_device::Device>::Frame;

fn config(address: &str) -> StackConfig {
    let mut config = StackConfig::new([address.parse().expect("an address")]);
    config.listen = vec!["0.0.0.0:80".parse().expect("an address")];
    config.max_flows = 64;
    config.half_open = 64;
    config.orphans = 64;
    config.time_wait = 64;
    config.ring_idle = Duration::from_millis(64);
    config
}

fn echo(stack: &mut Stack<MemoryDevice>, event: Event<Frame>) {
    let id = event.flow;
    if !event.flags.contains(EventFlags::DATA) {
        return;
    }
    let len = stack.received(id);
    if let Some(mut payload) = event.payload {
        let bytes = &mut payload.frame.bytes_mut()[payload.range];
        if let Some(space) = stack.send_space(id, bytes.len()) {
            space[..bytes.len()].copy_from_slice(bytes);
            stack.commit(id, bytes.len());
        }
    } else {
        let mut bytes = [0; 4096];
        bytes[..len].copy_from_slice(stack.readable(id));
        assert_eq!(stack.send(id, &bytes[..len]), len);
    }
    stack.consume(id, len);
}

#[test]
fn nothing_is_allocated_for_a_message() {
    let (a, b) = pair(&PairOptions::default()).expect("a pair");
    let mut client = Stack::new(a.open(), config("10.77.0.1/24"), None, Time::ZERO).expect("a");
    let mut server = Stack::new(b.open(), config("10.77.0.2/24"), None, Time::ZERO).expect("b");
    let to = "10.77.0.2:80".parse().expect("an address");
    let flows: Vec<FlowId> = (0..32)
        .map(|_| client.connect(to).expect("it begins"))
        .collect();
    let mut now = Time::from_millis(1);
    let mut received = 0;
    let mut before = 0;
    for turn in 0..20_000 {
        // Long enough for timers to fire, and for idle rings to be reclaimed.
        now += Duration::from_micros(500);
        if turn == 5000 {
            before = allocations();
            received = 0;
        }
        if turn > 50 {
            for (n, flow) in flows.iter().enumerate() {
                // Some flows are idle for a time.
                if (turn / 1000 + n) % 3 != 0 && turn % 4 == 0 {
                    client.send(*flow, &[7; 100]);
                }
            }
        }
        client.receive(now);
        while let Some(event) = client.next() {
            let len = client.received(event.flow);
            received += len;
            client.consume(event.flow, len);
        }
        client.transmit();
        server.receive(now);
        while let Some(event) = server.next() {
            echo(&mut server, event);
        }
        server.transmit();
    }
    assert_eq!(allocations() - before, 0);
    assert!(received > 5_000_000, "{received}");
    let stats = server.stats();
    assert!(stats.rings_given_back > 10, "{stats:?}");
    assert_eq!((stats.retransmits, stats.flows), (0, 32));
}
