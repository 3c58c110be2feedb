//! A run of the program.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::guarded::Guarded;
use crate::types::{Action, Host, Verdict};

/// `struct endpoint` of the program: address, port, and two bytes of zero.
type Endpoint = [u8; 20];

/// `struct hl_host` of `native.c`.
#[repr(C)]
struct RawHost {
    shared: u32,
    vlan: u32,
    own4: *const [u8; 4],
    own4_len: usize,
    own6: *const [u8; 16],
    own6_len: usize,
    listened: *const Endpoint,
    listened_len: usize,
    has_socket: u32,
}

unsafe extern "C" {
    fn hl_redirect_run(host: *const RawHost, data: *const u8, len: usize, verdict: *mut u32)
    -> i32;
}

fn endpoint(at: SocketAddr) -> Endpoint {
    let address: Ipv6Addr = match at.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let mut bytes = [0; 20];
    bytes[..16].copy_from_slice(&address.octets());
    bytes[16..18].copy_from_slice(&at.port().to_be_bytes());
    bytes
}

/// Runs the program on a frame of at most [`LONGEST`](crate::LONGEST) bytes.
///
/// # Panics
/// If the two runs of the packet differ, or the frame is too long.
#[must_use]
pub fn run(host: &Host, frame: &[u8]) -> (Action, Verdict) {
    thread_local! {
        static MEMORY: RefCell<Guarded> = RefCell::new(Guarded::new().expect("memory"));
    }
    let mut own4 = Vec::new();
    let mut own6 = Vec::new();
    for address in &host.addresses {
        match address {
            IpAddr::V4(v4) => own4.push(v4.octets()),
            IpAddr::V6(v6) => own6.push(v6.octets()),
        }
    }
    let listened: Vec<Endpoint> = host.listened.iter().copied().map(endpoint).collect();
    let raw = RawHost {
        shared: host.shared.into(),
        vlan: host.vlan.map_or(0xffff, u32::from),
        own4: own4.as_ptr(),
        own4_len: own4.len(),
        own6: own6.as_ptr(),
        own6_len: own6.len(),
        listened: listened.as_ptr(),
        listened_len: listened.len(),
        has_socket: host.has_socket.into(),
    };
    let run = |at_end| {
        MEMORY.with_borrow_mut(|memory| {
            let bytes = memory.place(frame, at_end);
            let mut verdict = u32::MAX;
            // SAFETY: `raw` and the lists that it names outlive the call, which reads the packet and writes the verdict.
            let action = unsafe {
                hl_redirect_run(
                    &raw const raw,
                    bytes.as_ptr(),
                    bytes.len(),
                    &raw mut verdict,
                )
            };
            (action, verdict)
        })
    };
    let (action, verdict) = run(true);
    assert_eq!(
        run(false),
        (action, verdict),
        "it depends on bytes outside of the packet"
    );
    let action = match action {
        1 => Action::Drop,
        2 => Action::Pass,
        4 => Action::Redirect,
        other => panic!("the action {other}"),
    };
    let verdict = Verdict::ALL.get(verdict as usize).copied();
    (action, verdict.expect("one of the verdicts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN from 10.77.0.2 to 10.77.0.1, port 9001.
    const SYN: [u8; 54] = [
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, // Ethernet
        0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 77, 0, 2, 10, 77, 0, 1, // IPv4
        0x9c, 0x40, 0x23, 0x29, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0, 9, 0, 0, 0, 0, // TCP
    ];

    fn host(shared: bool, port: u16) -> Host {
        let ip: IpAddr = [10, 77, 0, 1].into();
        Host {
            shared,
            vlan: None,
            addresses: vec![ip],
            listened: vec![(ip, port).into()],
            has_socket: true,
        }
    }

    #[test]
    fn a_packet_is_decided_by_the_host_of_its_run() {
        let redirected = (Action::Redirect, Verdict::Tcp);
        for _ in 0..2 {
            assert_eq!(run(&host(false, 80), &SYN), redirected);
            assert_eq!(run(&host(true, 9001), &SYN), redirected);
            assert_eq!(run(&host(true, 80), &SYN), (Action::Pass, Verdict::Passed));
            let mut vlan = host(false, 80);
            vlan.vlan = Some(7);
            assert_eq!(run(&vlan, &SYN), (Action::Pass, Verdict::Passed));
            let mut deaf = host(false, 80);
            deaf.has_socket = false;
            assert_eq!(run(&deaf, &SYN), (Action::Drop, Verdict::NoSocket));
        }
    }

    #[test]
    fn no_length_reads_beyond_the_packet() {
        for len in 0..=SYN.len() {
            for shared in [false, true] {
                let (action, _) = run(&host(shared, 9001), &SYN[..len]);
                assert_eq!(
                    action == Action::Redirect,
                    len >= if shared { 38 } else { 34 }
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "a packet of 16385 bytes")]
    fn a_packet_that_is_too_long_is_refused() {
        let _ = run(&host(false, 80), &[0; crate::types::LONGEST + 1]);
    }
}
