//! A transport over a device.

use hioload_device::Device;
use hioload_lcore::Time;
use hioload_mem::{Pool, PoolOptions};
use hioload_tcp::{Stack, StackConfig};
use hioload_transport::bypass::{Bypass, BypassOptions};

/// A stack and a transport over `device`, with 4096 send buffers of 16 KiB.
///
/// # Panics
/// If `config` is invalid or there is no memory.
pub fn bypass<D: Device>(device: D, config: StackConfig, now: Time) -> Bypass<D> {
    let stack = Stack::new(device, config, None, now).expect("a valid configuration");
    let pool = Pool::new(&PoolOptions::new(4096, 16 << 10)).expect("memory for the send pool");
    Bypass::over(stack, BypassOptions::default(), pool)
}
