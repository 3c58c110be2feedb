//! An interface with our program on it, and its queues.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hioload_device::{Burst, Capabilities, Device, DeviceStats, Waker};
use hioload_mem::frames::Frame;

use crate::{OpenError, PortOptions, XdpCounters, XdpMode};

/// An interface with our program on it.
#[derive(Debug)]
pub struct Port(Infallible);

/// One bound queue, on its way to the lcore that is to own it.
#[derive(Debug)]
pub struct QueueSeed(Infallible);

/// One queue, owned by one lcore.
#[derive(Debug)]
pub struct Queue(Infallible);

impl Port {
    /// Attaches the program to the interface and binds a socket to each queue.
    ///
    /// # Errors
    /// What is wrong, and what mends it.
    pub fn open(options: &PortOptions) -> Result<(Self, Vec<QueueSeed>), OpenError> {
        Err(OpenError::environment(
            format!("{} cannot be opened", options.interface),
            "",
        ))
    }
    /// Where the program runs: `Native` or `Skb`.
    #[must_use]
    pub fn mode(&self) -> XdpMode {
        match self.0 {}
    }
    /// The interface's MTU when it was opened.
    #[must_use]
    pub fn mtu(&self) -> usize {
        match self.0 {}
    }
    /// Its address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        match self.0 {}
    }
    /// Its driver's name.
    #[must_use]
    pub fn driver(&self) -> &str {
        match self.0 {}
    }
    /// What the program counted.
    ///
    /// # Errors
    /// What the system says.
    pub fn counters(&self) -> io::Result<XdpCounters> {
        match self.0 {}
    }
}

impl QueueSeed {
    /// The queue's number on its interface.
    #[must_use]
    pub fn queue(&self) -> u32 {
        match self.0 {}
    }
    /// The NUMA node of the NIC, where the frames are.
    #[must_use]
    pub fn node(&self) -> Option<u32> {
        match self.0 {}
    }
    /// The queue, to be used on the calling thread only. From now on its traffic of ours comes here.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(self) -> Result<Queue, OpenError> {
        match self.0 {}
    }
}

impl Device for Queue {
    type Frame = Frame;
    fn capabilities(&self) -> Capabilities {
        match self.0 {}
    }
    fn rx_burst(&mut self, _: &mut Burst<Frame>) -> usize {
        match self.0 {}
    }
    fn tx_burst(&mut self, _: &mut Burst<Frame>) -> usize {
        match self.0 {}
    }
    fn alloc(&mut self) -> Option<Frame> {
        match self.0 {}
    }
    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        match self.0 {}
    }
    fn waker(&self) -> Waker {
        match self.0 {}
    }
    fn stats(&self) -> DeviceStats {
        match self.0 {}
    }
}
