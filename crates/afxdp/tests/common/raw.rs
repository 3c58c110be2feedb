//! A packet socket: sends and receives whole frames on an interface, without the kernel's stack.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A packet socket that is bound to an interface.
pub struct Raw(OwnedFd);

impl Raw {
    pub fn new(interface: &str) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        let name = CString::new(interface).expect("a name");
        // SAFETY: plain system calls; the address outlives the call, and the descriptor is owned at once.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(libc::AF_PACKET, kind, i32::from(protocol));
            assert!(fd >= 0, "{}", io::Error::last_os_error());
            let socket = OwnedFd::from_raw_fd(fd);
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_protocol = protocol;
            address.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            let size = size_of_val(&address) as u32;
            let result = libc::bind(fd, (&raw const address).cast(), size);
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
            let buffer: libc::c_int = 16 << 20;
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_RCVBUFFORCE,
                (&raw const buffer).cast(),
                4,
            );
            Self(socket)
        }
    }

    pub fn send(&self, frame: &[u8]) {
        // SAFETY: the kernel reads the frame, which outlives the call.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }

    /// The next received frame that is `wanted`, within a minute. Frames that the interface sends are ignored.
    pub fn receive(&self, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + Duration::from_secs(60);
        let mut buffer = vec![0; 65536];
        while Instant::now() < end {
            // SAFETY: the kernel writes at most the lengths of the buffer and the address, which outlive the call.
            let (got, direction) = unsafe {
                let mut from: libc::sockaddr_ll = std::mem::zeroed();
                let mut size = size_of_val(&from) as u32;
                let got = libc::recvfrom(
                    self.0.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                    (&raw mut from).cast(),
                    &raw mut size,
                );
                (got, from.sll_pkttype)
            };
            if got < 0 {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            let frame = &buffer[..got as usize];
            if direction != libc::PACKET_OUTGOING && wanted(frame) {
                return Some(frame.to_vec());
            }
        }
        None
    }
}
