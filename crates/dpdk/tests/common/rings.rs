//! Two ports of this process that are joined by rings.

use hioload_dpdk::{Port, PortName, PortOptions, Queue, RingEnd, ring_pair};

/// Opens an end; returns its port and its only queue.
pub fn open(end: RingEnd) -> (Port, Queue) {
    let options = PortOptions::new(PortName::Ring(end));
    let (port, mut queues) = Port::open(super::eal(""), &options).expect("a port");
    (port, queues.remove(0).claim().expect("a queue"))
}

/// Two joined ports with one queue each. A frame that one sends arrives at the other as the same mbuf.
pub struct Pair {
    // Declared before the ports, so that the queues are dropped first.
    pub a: Queue,
    pub b: Queue,
    ports: [Port; 2],
}

impl Pair {
    pub fn new(slots: u32) -> Self {
        let (a, b) = ring_pair(super::eal(""), 1, slots).expect("two ports");
        let ((port_a, a), (port_b, b)) = (open(a), open(b));
        let ports = [port_a, port_b];
        Self { a, b, ports }
    }

    /// Closes both ports. Returns the number of frames that are not in their pools.
    pub fn close(self) -> usize {
        let Self { a, b, ports } = self;
        drop((a, b));
        let [first, second] = ports;
        assert_eq!(first.close().expect("closed").frames_in_use, None);
        let closed = second.close().expect("closed");
        closed.frames_in_use.expect("both are closed")
    }
}
