//! The calls into `dpdk-shim`, made safe: each wrapper upholds what its function wants.

use std::ffi::{CStr, CString, c_char};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};

use hioload_device::Burst;
use hioload_dpdk_sys as sys;
pub(crate) use sys::{
    hl_link, hl_port_config, hl_port_info, hl_port_origin, hl_port_stats, hl_queue, hl_rule,
};

use crate::MbufFrame;

/// A negative errno.
pub(crate) type Code = i32;

fn check(code: Code) -> Result<(), Code> {
    if code < 0 { Err(code) } else { Ok(()) }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: the shim returns strings that end with NUL and live at least until its next call on this thread.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_string_lossy().into_owned()
}

fn c_string(text: &str) -> Result<CString, Code> {
    CString::new(text).map_err(|_| -22)
}

/// The text in an array that ends with NUL.
pub(crate) fn array_text(array: &[c_char]) -> String {
    let bytes = array.iter().map(|&letter| letter as u8);
    let bytes: Vec<u8> = bytes.take_while(|&letter| letter != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(crate) fn error_text(code: Code) -> String {
    // SAFETY: takes any number.
    text(unsafe { sys::hl_strerror(code.abs()) })
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

/// Starts EAL with its log going to [`crate::log`]. The caller sees to it that this happens once.
pub(crate) fn eal_init(arguments: &[String]) -> Result<(), Code> {
    // EAL keeps pointers into its arguments, and changes their order: they are given away.
    let mut pointers = Vec::with_capacity(arguments.len() + 1);
    for argument in arguments {
        pointers.push(c_string(argument)?.into_raw());
    }
    pointers.push(ptr::null_mut());
    let count = arguments.len() as i32;
    let pointers = Vec::leak(pointers);
    // SAFETY: `on_log` is a function for good; the pointers and what they point to are never freed.
    unsafe {
        check(sys::hl_log_to(Some(on_log)))?;
        check(sys::hl_eal_init(count, pointers.as_mut_ptr()))
    }
}

/// Ends EAL. The caller sees to it that no port, pool or frame is left.
pub(crate) fn eal_cleanup() -> Result<(), Code> {
    // SAFETY: see above.
    check(unsafe { sys::hl_eal_cleanup() })
}

pub(crate) fn has_huge_pages() -> bool {
    // SAFETY: EAL runs: the caller has a handle to it.
    unsafe { sys::hl_eal_has_huge_pages() != 0 }
}

/// The CPUs this thread may run on, as EAL writes them: `0,1,5`.
pub(crate) fn cpus() -> String {
    let mut list = [0_u16; 1024];
    // SAFETY: writes at most as many as the list has room for.
    let count = unsafe { sys::hl_cpus(list.as_mut_ptr(), list.len() as u32) };
    let list: Vec<_> = list[..count as usize].iter().map(u16::to_string).collect();
    if list.is_empty() {
        "0".into()
    } else {
        list.join(",")
    }
}

/// Receives into what room the burst has; returns how many came.
#[inline]
pub(crate) fn rx_burst(queue: &mut hl_queue, burst: &mut Burst<MbufFrame>) -> usize {
    let at = burst.len();
    let room = burst.remaining_capacity() as u16;
    // SAFETY: a frame is a pointer to an mbuf and nothing else, so the rest of the array has room for `room` pointers, of
    // which the call writes the first `got`: mbufs that are ours, plain ones. The port runs and its queue is this thread's
    // (`Queue`); `whole` is none or a pool that lives as long as the port.
    unsafe {
        let got = sys::hl_rx_burst(queue, burst.as_mut_ptr().add(at).cast(), room);
        burst.set_len(at + usize::from(got));
        got.into()
    }
}

/// Sends from the front of the burst and takes out what is gone; returns how many that were. `fill`: whether any frame may want
/// a checksum.
#[inline]
pub(crate) fn tx_burst(queue: &mut hl_queue, burst: &mut Burst<MbufFrame>, fill: bool) -> usize {
    let len = burst.len();
    let send = if fill {
        sys::hl_tx_burst_fill
    } else {
        sys::hl_tx_burst
    };
    // SAFETY: as in `rx_burst` for the pointers. The first `taken` frames now belong to the driver, or are freed: they are taken out
    // of the array without being dropped, by moving those behind them to the front.
    unsafe {
        let frames = burst.as_mut_ptr();
        let taken = usize::from(send(queue, frames.cast(), len as u16));
        // Nearly always all of them: a branch, so that the next burst need not wait for this number.
        if taken == len {
            burst.set_len(0);
        } else {
            burst.set_len(len - taken);
            ptr::copy(frames.add(taken), frames, len - taken);
        }
        taken
    }
}

/// How often this thread has called into the shim to receive, send, take or give back frames.
pub(crate) fn burst_calls() -> u64 {
    // SAFETY: reads a variable of this thread.
    unsafe { sys::hl_burst_calls() }
}

/// Fills the empty burst with fresh frames, as far as the pool has any.
pub(crate) fn alloc(pool: NonNull<sys::rte_mempool>, into: &mut Burst<MbufFrame>) {
    debug_assert!(into.is_empty());
    // SAFETY: as in `rx_burst`; fresh mbufs are plain. The pool is alive: the caller's queue keeps it.
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
) -> Result<NonNull<sys::rte_mempool>, Code> {
    let name = c_string(name)?;
    // SAFETY: EAL runs: the caller has a handle to it.
    let pool = unsafe { sys::hl_pool_create(name.as_ptr(), frames, cache, room, socket) };
    NonNull::new(pool).ok_or_else(last_error)
}

fn last_error() -> Code {
    // SAFETY: reads a variable of this thread.
    -unsafe { sys::hl_errno() }
}

/// Frees a pool. The caller sees to it that none of its frames is in use and that nobody uses the pool again.
pub(crate) fn pool_free(pool: NonNull<sys::rte_mempool>) {
    // SAFETY: see above.
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

pub(crate) fn ring_create(name: &str, slots: u32) -> Result<NonNull<sys::rte_ring>, Code> {
    let name = c_string(name)?;
    // SAFETY: EAL runs: the caller has a handle to it.
    let ring = unsafe { sys::hl_ring_create(name.as_ptr(), slots, -1) };
    NonNull::new(ring).ok_or_else(last_error)
}

/// Frees a ring and the frames in it. The caller sees to it that nobody uses the ring again.
pub(crate) fn ring_free(ring: NonNull<sys::rte_ring>) {
    // SAFETY: see above.
    unsafe { sys::hl_ring_free(ring.as_ptr()) };
}

/// Makes rings a port. The caller keeps them alive until it is closed.
pub(crate) fn ring_port(
    name: &str,
    rx: &[NonNull<sys::rte_ring>],
    tx: &[NonNull<sys::rte_ring>],
) -> Result<u16, Code> {
    let name = c_string(name)?;
    let queues = rx.len().min(tx.len()) as u32;
    // SAFETY: both arrays have `queues` pointers to rings; `NonNull` is laid out as a pointer. The function copies them.
    let port = unsafe {
        let (rx, tx) = (rx.as_ptr().cast_mut().cast(), tx.as_ptr().cast_mut().cast());
        sys::hl_ring_port(name.as_ptr(), rx, tx, queues, -1)
    };
    u16::try_from(port).map_err(|_| port)
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

pub(crate) fn port_by_name(name: &str) -> Result<u16, Code> {
    let name = c_string(name)?;
    // SAFETY: EAL runs; the name ends with NUL.
    let port = unsafe { sys::hl_port_by_name(name.as_ptr()) };
    u16::try_from(port).map_err(|_| port)
}

pub(crate) fn port_info(port: u16) -> Result<hl_port_info, Code> {
    let mut info = hl_port_info::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_info(port, &mut info) })?;
    Ok(info)
}

/// What DPDK refused, and why.
pub(crate) type Refused = (String, Code);

fn step(run: impl FnOnce(*mut *const c_char) -> Code) -> Result<(), Refused> {
    let mut name = ptr::null();
    let code = run(&raw mut name);
    check(code).map_err(|code| (text(name), code))
}

pub(crate) fn port_configure(port: u16, config: &mut hl_port_config) -> Result<(), Refused> {
    // SAFETY: `rss_key` is null or points to `rss_key_len` bytes (`plan.rs`); the port is not started.
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

/// Where a port comes from; `None` if it cannot be known.
pub(crate) fn port_origin(port: u16) -> Option<Box<hl_port_origin>> {
    let mut origin = Box::<hl_port_origin>::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_origin(port, &mut *origin) }).ok()?;
    Some(origin)
}

/// Makes a port of a device whose port was closed.
pub(crate) fn port_revive(origin: &hl_port_origin) -> Result<(), Code> {
    // SAFETY: EAL runs; the texts end with NUL, as `port_origin` had them written.
    check(unsafe { sys::hl_port_revive(origin) })
}

/// Stops the port and closes it. The caller sees to it that no queue of it is used again.
pub(crate) fn port_close(port: u16, started: bool) -> Result<(), Code> {
    // SAFETY: see above.
    unsafe {
        if started {
            sys::hl_port_stop(port);
        }
        check(sys::hl_port_close(port))
    }
}

pub(crate) fn port_promiscuous(port: u16) -> bool {
    // SAFETY: takes any number of a port.
    unsafe { sys::hl_port_promiscuous(port) == 1 }
}

pub(crate) fn port_be_promiscuous(port: u16) -> Result<(), Code> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_port_be_promiscuous(port) })
}

pub(crate) fn port_add_mac(port: u16, mac: [u8; 6]) -> Result<(), Code> {
    // SAFETY: takes any number of a port; reads six bytes.
    check(unsafe { sys::hl_port_add_mac(port, mac.as_ptr()) })
}

/// Whether the kernel has the network interface of that number.
pub(crate) fn interface_exists(interface: u32) -> bool {
    // SAFETY: takes any number.
    unsafe { sys::hl_interface_exists(interface) != 0 }
}

pub(crate) fn port_link(port: u16) -> Result<hl_link, Code> {
    let mut link = hl_link::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_link(port, &mut link) })?;
    Ok(link)
}

pub(crate) fn port_stats(port: u16) -> Result<hl_port_stats, Code> {
    let mut stats = hl_port_stats::default();
    // SAFETY: writes the structure; takes any number of a port.
    check(unsafe { sys::hl_port_stats(port, &mut stats) })?;
    Ok(stats)
}

/// Names and values of the driver's own counters; as many as the shim has room for.
pub(crate) fn port_xstats(port: u16) -> Result<Vec<(String, u64)>, Code> {
    const MOST: usize = 4096;
    // SAFETY: without arrays, it only counts.
    let count = unsafe { sys::hl_port_xstats(port, ptr::null_mut(), ptr::null_mut(), 0) };
    check(count)?;
    let count = (count as usize).min(MOST);
    let mut names = vec![[0; 64]; count];
    let mut values = vec![0; count];
    // SAFETY: both arrays have room for `count`.
    let got =
        unsafe { sys::hl_port_xstats(port, names.as_mut_ptr(), values.as_mut_ptr(), count as u32) };
    check(got)?;
    let names = names.iter().map(|name| array_text(name));
    Ok(names.zip(values).take(got as usize).collect())
}

/// What has happened to a port; written by DPDK's thread for interrupts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Events(&'static AtomicU32);

impl Events {
    /// Begins to watch.
    pub(crate) fn watch(port: u16) -> Option<Self> {
        // SAFETY: the shim returns null or an element of a static array, that it writes atomically only.
        unsafe {
            let word = NonNull::new(sys::hl_port_events(port).cast_mut())?;
            Some(Self(AtomicU32::from_ptr(word.as_ptr())))
        }
    }

    /// Whether the device was taken away.
    #[inline]
    pub(crate) fn removed(self) -> bool {
        // Pairs with the release in the shim's callback.
        self.0.load(Ordering::Acquire) & 1 == 1
    }
}

pub(crate) fn flow_isolate(port: u16) -> Result<(), Code> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_flow_isolate(port) })
}

/// Adds a rule; the error has the driver's reason.
pub(crate) fn flow_add(
    port: u16,
    rule: &hl_rule,
    queues: u16,
    config: &hl_port_config,
) -> Result<(), String> {
    let mut why = ptr::null();
    // SAFETY: `rss_key` is null or points to `rss_key_len` bytes; the port is configured.
    let code = unsafe { sys::hl_flow_add(port, rule, queues, config, &raw mut why) };
    check(code).map_err(|code| match text(why) {
        empty if empty.is_empty() => error_text(code),
        why => why,
    })
}

pub(crate) fn flow_flush(port: u16) -> Result<(), Code> {
    // SAFETY: takes any number of a port.
    check(unsafe { sys::hl_flow_flush(port) })
}
