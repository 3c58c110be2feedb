//! The parts of an lcore: a pinned thread that owns its queue, memory, connections and timers.
//!
//! * [`topology`]: the CPUs this process may use, their cores and NUMA nodes; [`pin_to`] one of them.
//! * [`Clock`] and [`Time`]: the coarse clock, read once per turn of the lcore's loop.
//! * [`TimerWheel`]: hundreds of thousands of timers, O(1) to set and to cancel.
//! * [`Idle`] and [`IdleStrategy`]: whether the loop polls or sleeps when there is nothing to do.
//! * [`mesh`]: bounded rings from every lcore to every other, an inbox for other threads.
//! * [`doorbell`]: wakes an lcore that sleeps, and costs nothing while it is awake.

#![forbid(unsafe_code)]

mod clock;
pub mod doorbell;
mod idle;
pub mod mesh;
mod pin;
pub mod topology;
mod wheel;

pub use clock::{Clock, Time};
pub use idle::{Idle, IdleStrategy, UnknownIdle, Wait};
pub use pin::pin_to;
pub use topology::Topology;
pub use wheel::{TimerId, TimerWheel};
