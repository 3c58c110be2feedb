//! The processor's time-stamp counter, where there is one.
//!
//! On x86-64 it ticks at a constant rate close to the nominal frequency. A core that is clocked higher executes more cycles than the
//! counter shows. Ratios are not affected.

/// The unit of [`now`].
#[cfg(target_arch = "x86_64")]
pub const UNIT: &str = "cycles";
/// The unit of [`now`].
#[cfg(not(target_arch = "x86_64"))]
pub const UNIT: &str = "ns";

/// Reads the counter after all earlier instructions have finished and before any later one begins.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline]
#[must_use]
pub fn now() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: RDTSC and LFENCE (SSE2) exist on every x86-64 processor, and neither touches memory.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Returns the nanoseconds since the first call.
#[cfg(not(target_arch = "x86_64"))]
#[must_use]
pub fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// Returns the ticks of [`now`] in a second, measured with the operating system's clock.
#[must_use]
pub fn per_second() -> f64 {
    let (start, ticks) = (std::time::Instant::now(), now());
    while start.elapsed().as_millis() < 50 {
        std::hint::spin_loop();
    }
    let ticks = now() - ticks;
    ticks as f64 / start.elapsed().as_secs_f64()
}
