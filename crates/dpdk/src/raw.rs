//! Safe wrappers of the functions of `dpdk-shim`: each wrapper, or its stated caller, upholds the conditions of its function.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use hioload_device::Burst;
use hioload_dpdk_sys as sys;
pub(crate) use sys::{
    hl_link, hl_port_config, hl_port_info, hl_port_origin, hl_port_stats, hl_queue, hl_rule,
};

use crate::errno::Errno;
use crate::frame::MbufFrame;

/// The result of a function that returns a negative error number on failure.
fn check(code: i32) -> Result<(), Errno> {
    match code {
        0.. => Ok(()),
        _ => Err(Errno::new(code)),
    }
}

/// The number of a port, or a negative error number.
fn port_number(code: i32) -> Result<u16, Errno> {
    u16::try_from(code).map_err(|_| Errno::new(code))
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the shim returns strings that end with NUL and live at least until its next call on this thread.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().into_owned()
}

fn c_string(text: &str) -> Result<CString, Errno> {
    CString::new(text).map_err(|_| Errno::EINVAL)
}

/// The text in an array that ends with NUL.
pub(crate) fn array_text(array: &[c_char]) -> String {
    let bytes = array.iter().map(|&byte| byte as u8);
    let bytes: Vec<u8> = bytes.take_while(|&byte| byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn version() -> String {
    // SAFETY: returns a constant.
    text(unsafe { sys::hl_version() })
}

pub(crate) fn iova_mode() -> String {
    // SAFETY: returns a constant.
    let mode = unsafe { sys::hl_eal_iova_mode() };
    match text(mode).as_str() {
        "va" => "virtual",
        "pa" => "physical",
        _ => "undecided",
    }
    .to_owned()
}

unsafe extern "C" fn on_log(level: u32, text: *const c_char, len: usize) {
    // SAFETY: the shim passes `len` bytes that live during the call.
    let bytes = unsafe { slice::from_raw_parts(text.cast::<u8>(), len) };
    crate::log::take(level, &String::from_utf8_lossy(bytes));
}

/// Starts EAL, with its log sent to [`crate::log`]. The caller must call this once in a process.
pub(crate) fn eal_init(arguments: &[String]) -> Result<(), Errno> {
    // EAL keeps pointers into its arguments and changes their order, so they are never freed.
    let mut pointers = Vec::with_capacity(arguments.len() + 1);
    for argument in arguments {
        pointers.push(c_string(argument)?.into_raw());
    }
    pointers.push(ptr::null_mut());
    let count = arguments.len() as i32;
    let pointers = Vec::leak(pointers);
    // SAFETY: `on_log` lives as long as the process; the pointers and the strings are never freed.
    unsafe {
        check(sys::hl_log_to(Some(on_log)))?;
        check(sys::hl_eal_init(count, pointers.as_mut_ptr()))
    }
}

/// Ends EAL. The caller must have closed all ports, and freed all pools and frames.
pub(crate) fn eal_cleanup() -> Result<(), Errno> {
    // SAFETY: the condition above.
    check(unsafe { sys::hl_eal_cleanup() })
}

pub(crate) fn has_huge_pages() -> bool {
    // SAFETY: EAL runs, because the caller has a handle to it.
    unsafe { sys::hl_eal_has_huge_pages() != 0 }
}

/// The CPUs on which this thread may run, in the notation of EAL: `0,1,5`.
pub(crate) fn cpus() -> String {
    let mut list = [0_u16; 1024];
    // SAFETY: the function writes at most the length of the list.
    let count = unsafe { sys::hl_cpus(list.as_mut_ptr(), list.len() as u32) };
    let list: Vec<_> = list[..count as usize].iter().map(u16::to_string).collect();
    if list.is_empty() {
        "0".into()
    } else {
        list.join(",")
    }
}

/// Receives as many frames as the burst has room for. Returns the number received.
#[inline]
pub(crate) fn rx_burst(queue: &mut hl_queue, burst: &mut Burst<MbufFrame>) -> usize {
    let at = burst.len();
    let room = burst.remaining_capacity() as u16;
    // SAFETY: a frame is one pointer to an mbuf, so the rest of the array has room for `room` pointers, of which the call writes the
    // first `got`. Each is a plain mbuf that belongs to the caller. The port runs, this thread owns the queue (`Queue`), and `whole`
    // is null or a pool that lives as long as the port.
    unsafe {
        let got = sys::hl_rx_burst(queue, burst.as_mut_ptr().add(at).cast(), room);
        burst.set_len(at + usize::from(got));
        got.into()
    }
}

/// Sends frames from the front of the burst and removes those that were taken. Returns their number. `fill`: a frame may request a
/// checksum.
#[inline]
pub(crate) fn tx_burst(queue: &mut hl_queue, burst: &mut Burst<MbufFrame>, fill: bool) -> usize {
    let len = burst.len();
    let send = if fill {
        sys::hl_tx_burst_fill
    } else {
        sys::hl_tx_burst
    };
    // SAFETY: the pointers are as in `rx_burst`. After the call the driver owns the first `taken` frames, or has freed them. They are
    // removed from the array without a drop, by moving the rest to the front.
    unsafe {
        let frames = burst.as_mut_ptr();
        let taken = usize::from(send(queue, frames.cast(), len as u16));
        // The driver nearly always takes all frames. With a branch, the next burst does not depend on the value of `taken`.
        if taken == len {
            burst.set_len(0);
        } else {
            burst.set_len(len - taken);
            ptr::copy(frames.add(taken), frames, len - taken);
        }
        taken
    }
}

/// The number of calls by this thread to receive, send, take or return frames.
pub(crate) fn burst_calls() -> u64 {
    // SAFETY: the function reads a variable of this thread.
    unsafe { sys::hl_burst_calls() }
}

/// Fills the empty burst with empty frames, as many as the pool has.
pub(crate) fn alloc(pool: NonNull<sys::rte_mempool>, into: &mut Burst<MbufFrame>) {
    debug_assert!(into.is_empty());
    // SAFETY: the pointers are as in `rx_burst`; mbufs from a pool are plain. The caller's queue keeps the pool alive.
    unsafe {
        let got = sys::hl_alloc_bulk(
            pool.as_ptr(),
            into.as_mut_ptr().cast(),
            into.capacity() as u16,
        );
        into.set_len(got.into());
    }
}

pub(crate) fn headroom() -> usize {
    // SAFETY: returns a constant.
    unsafe { sys::hl_headroom() }.into()
}

pub(crate) fn pool_create(
    name: &str,
    frames: u32,
    cache: u32,
    room: u16,
    socket: i32,
) -> Result<NonNull<sys::rte_mempool>, Errno> {
    let name = c_string(name)?;
    // SAFETY: EAL runs, because the caller has a handle to it.
    let pool = unsafe { sys::hl_pool_create(name.as_ptr(), frames, cache, room, socket) };
    NonNull::new(pool).ok_or_else(Errno::last)
}

/// Frees a pool. None of its frames may be in use, and the caller must not use the pool again.
pub(crate) fn pool_free(pool: NonNull<sys::rte_mempool>) {
    // SAFETY: the condition above.
    unsafe { sys::hl_pool_free(pool.as_ptr()) };
}

pub(crate) fn pool_in_use(pool: NonNull<sys::rte_mempool>) -> usize {
    // SAFETY: the caller owns the pool.
    unsafe { sys::hl_pool_in_use(pool.as_ptr()) as usize }
}

pub(crate) fn pool_size(pool: NonNull<sys::rte_mempool>) -> usize {
    // SAFETY: the caller owns the pool.
    unsafe { sys::hl_pool_size(pool.as_ptr()) as usize }
}

pub(crate) fn ring_create(name: &str, slots: u32) -> Result<NonNull<sys::rte_ring>, Errno> {
    let name = c_string(name)?;
    // SAFETY: EAL runs, because the caller has a handle to it.
    let ring = unsafe { sys::hl_ring_create(name.as_ptr(), slots, -1) };
    NonNull::new(ring).ok_or_else(Errno::last)
}

/// Frees a ring and the frames in it. The ports that use the ring must be closed.
pub(crate) fn ring_free(ring: NonNull<sys::rte_ring>) {
    // SAFETY: the condition above.
    unsafe { sys::hl_ring_free(ring.as_ptr()) };
}

/// Creates a port of rings. The caller keeps the rings alive until the port is closed.
pub(crate) fn ring_port(
    name: &str,
    rx: &[NonNull<sys::rte_ring>],
    tx: &[NonNull<sys::rte_ring>],
) -> Result<u16, Errno> {
    let name = c_string(name)?;
    let queues = rx.len().min(tx.len()) as u32;
    // SAFETY: both arrays have `queues` pointers to rings; `NonNull` has the layout of a pointer. The function copies the pointers.
    let port = unsafe {
        let (rx, tx) = (rx.as_ptr().cast_mut().cast(), tx.as_ptr().cast_mut().cast());
        sys::hl_ring_port(name.as_ptr(), rx, tx, queues, -1)
    };
    port_number(port)
}

/// The ports that EAL has.
pub(crate) fn ports() -> Vec<u16> {
    let mut ports = Vec::new();
    let mut from = 0;
    // SAFETY: takes any number.
    while let Ok(port) = u16::try_from(unsafe { sys::hl_port_next(from) }) {
        ports.push(port);
        from = port + 1;
    }
    ports
}

pub(crate) fn port_by_name(name: &str) -> Result<u16, Errno> {
    let name = c_string(name)?;
    // SAFETY: EAL runs; the name ends with NUL.
    port_number(unsafe { sys::hl_port_by_name(name.as_ptr()) })
}

pub(crate) fn port_info(port: u16) -> Result<hl_port_info, Errno> {
    let mut info = hl_port_info::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_info(port, &mut info) })?;
    Ok(info)
}

/// A step that DPDK refused.
pub(crate) struct Refused {
    pub(crate) step: String,
    pub(crate) errno: Errno,
}

fn step(run: impl FnOnce(*mut *const c_char) -> i32) -> Result<(), Refused> {
    let mut name = ptr::null();
    let code = run(&raw mut name);
    check(code).map_err(|errno| Refused {
        step: text(name),
        errno,
    })
}

pub(crate) fn port_configure(port: u16, config: &mut hl_port_config) -> Result<(), Refused> {
    // SAFETY: `rss_key` is null or points to `rss_key_len` bytes (`setup.rs`); the port is not started.
    step(|name| unsafe { sys::hl_port_configure(port, config, name) })
}

pub(crate) fn port_queue(
    port: u16,
    queue: u16,
    config: &hl_port_config,
    pool: NonNull<sys::rte_mempool>,
    socket: i32,
) -> Result<(), Refused> {
    // SAFETY: the port is configured and not started; the pool lives until it is closed.
    step(|name| unsafe { sys::hl_port_queue(port, queue, config, pool.as_ptr(), socket, name) })
}

pub(crate) fn port_start(port: u16, queues: u16) -> Result<(), Refused> {
    // SAFETY: the port is configured.
    step(|name| unsafe { sys::hl_port_start(port, queues, name) })
}

/// The bus, name and arguments of the device of a port; `None` if DPDK does not report them.
pub(crate) fn port_origin(port: u16) -> Option<Box<hl_port_origin>> {
    let mut origin = Box::<hl_port_origin>::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_origin(port, &mut *origin) }).ok()?;
    Some(origin)
}

/// Creates a port of a device whose port was closed.
pub(crate) fn port_reattach(origin: &hl_port_origin) -> Result<(), Errno> {
    // SAFETY: EAL runs; the texts end with NUL, because `port_origin` wrote them.
    check(unsafe { sys::hl_port_reattach(origin) })
}

/// Stops the port and closes it. The caller must not use its queues again.
pub(crate) fn port_close(port: u16, started: bool) -> Result<(), Errno> {
    // SAFETY: the condition above.
    unsafe {
        if started {
            sys::hl_port_stop(port);
        }
        check(sys::hl_port_close(port))
    }
}

pub(crate) fn port_is_promiscuous(port: u16) -> bool {
    // SAFETY: takes any number of a port.
    unsafe { sys::hl_port_is_promiscuous(port) == 1 }
}

pub(crate) fn port_set_promiscuous(port: u16) -> Result<(), Errno> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_port_set_promiscuous(port) })
}

pub(crate) fn port_add_mac(port: u16, mac: [u8; 6]) -> Result<(), Errno> {
    // SAFETY: takes any number of a port; reads six bytes.
    check(unsafe { sys::hl_port_add_mac(port, mac.as_ptr()) })
}

/// Whether the kernel has a network interface with this index.
pub(crate) fn interface_exists(interface: u32) -> bool {
    // SAFETY: takes any number.
    unsafe { sys::hl_interface_exists(interface) != 0 }
}

pub(crate) fn port_link(port: u16) -> Result<hl_link, Errno> {
    let mut link = hl_link::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_link(port, &mut link) })?;
    Ok(link)
}

pub(crate) fn port_stats(port: u16) -> Result<hl_port_stats, Errno> {
    let mut stats = hl_port_stats::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_stats(port, &mut stats) })?;
    Ok(stats)
}

/// The names and the values of the driver's own counters.
pub(crate) fn port_xstats(port: u16) -> Result<Vec<(String, u64)>, Errno> {
    const MOST: usize = 4096;
    // SAFETY: without arrays, the function only counts.
    let count = unsafe { sys::hl_port_xstats(port, ptr::null_mut(), ptr::null_mut(), 0) };
    check(count)?;
    let count = (count as usize).min(MOST);
    let mut names = vec![[0; 64]; count];
    let mut values = vec![0; count];
    // SAFETY: both arrays have room for `count` entries.
    let got =
        unsafe { sys::hl_port_xstats(port, names.as_mut_ptr(), values.as_mut_ptr(), count as u32) };
    check(got)?;
    let names = names.iter().map(|name| array_text(name));
    Ok(names.zip(values).take(got as usize).collect())
}

/// The events of a port, written by DPDK's interrupt thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events(&'static AtomicU32);

impl Events {
    /// Subscribes to the events of a port.
    pub(crate) fn watch(port: u16) -> Option<Self> {
        // SAFETY: the shim returns null or an element of a static array, which it accesses only atomically.
        unsafe {
            let word = NonNull::new(sys::hl_port_events(port).cast_mut())?;
            Some(Self(AtomicU32::from_ptr(word.as_ptr())))
        }
    }

    /// Whether the device was removed.
    #[inline]
    pub(crate) fn removed(self) -> bool {
        // Pairs with the release in the shim's callback.
        self.0.load(Ordering::Acquire) & 1 == 1
    }
}

pub(crate) fn flow_isolate(port: u16) -> Result<(), Errno> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_flow_isolate(port) })
}

/// Adds a rule. An error has the driver's reason, if it gives one.
pub(crate) fn flow_add(
    port: u16,
    rule: &hl_rule,
    queues: u16,
    config: &hl_port_config,
) -> Result<(), (Errno, Option<String>)> {
    let mut reason = ptr::null();
    // SAFETY: `rss_key` is null or points to `rss_key_len` bytes; the port is configured.
    let code = unsafe { sys::hl_flow_add(port, rule, queues, config, &raw mut reason) };
    check(code).map_err(|errno| {
        let reason = text(reason);
        (errno, Some(reason).filter(|reason| !reason.is_empty()))
    })
}

pub(crate) fn flow_flush(port: u16) -> Result<(), Errno> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_flow_flush(port) })
}
