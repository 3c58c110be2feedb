//! One AF_XDP socket.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use hioload_mem::frames::FrameArena;
use rustix::io::Errno;
use rustix::net::sockopt::{
    set_socket_send_buffer_size_force, set_xdp_rx_ring_size, set_xdp_tx_ring_size,
    set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size, set_xdp_umem_reg, socket_error,
    xdp_mmap_offsets, xdp_options, xdp_statistics,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XDP_PGOFF_RX_RING, XDP_PGOFF_TX_RING,
    XDP_UMEM_PGOFF_COMPLETION_RING, XDP_UMEM_PGOFF_FILL_RING, XdpOptionsFlags, XdpStatistics,
    XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

use crate::kernel::mapping::Mapping;
use crate::options::BusyPoll;
use crate::ring::{Consumer, Producer};
use crate::umem::Rings;

/// Options for which rustix and libc have no name: `asm-generic/socket.h`, `linux/if_xdp.h`.
const SO_BUSY_POLL: c_int = 46;
const SO_PREFER_BUSY_POLL: c_int = 69;
const SO_BUSY_POLL_BUDGET: c_int = 70;
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;

/// The limit in bytes for packets of the socket that are in the kernel's stack, in copy mode.
const SEND_BUFFER: usize = 64 << 20;

/// An AF_XDP socket.
#[derive(Debug)]
pub(crate) struct XskSocket(OwnedFd);

impl XskSocket {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(
            AddressFamily::XDP,
            SocketType::RAW,
            flags,
            None,
        )?))
    }

    /// Registers the memory of the frames. The kernel accesses only the chunks that the rings give it.
    ///
    /// `piece` is the size of the kernel's chunks, `metadata` the room before each sent frame for `struct xsk_tx_metadata`, both in
    /// bytes.
    pub(crate) fn register(
        &self,
        arena: &FrameArena,
        piece: usize,
        metadata: u32,
    ) -> io::Result<()> {
        let flags = if metadata > 0 {
            libc::XDP_UMEM_TX_METADATA_LEN
        } else {
            0
        };
        set_xdp_umem_reg(
            &self.0,
            XdpUmemReg {
                addr: arena.base().as_ptr() as u64,
                len: arena.bytes() as u64,
                chunk_size: piece as u32,
                headroom: 0,
                flags: XdpUmemRegFlags::from_bits_retain(flags),
                tx_metadata_len: metadata,
            },
        )?;
        Ok(())
    }

    /// Creates and maps the rings: the fill ring with `fill` slots, the others with `ring` slots.
    pub(crate) fn rings(&self, ring: u32, fill: u32) -> io::Result<Rings> {
        set_xdp_umem_fill_ring_size(&self.0, fill)?;
        set_xdp_umem_completion_ring_size(&self.0, ring)?;
        set_xdp_rx_ring_size(&self.0, ring)?;
        set_xdp_tx_ring_size(&self.0, ring)?;
        let at = xdp_mmap_offsets(&self.0)?;
        let fd = self.0.as_fd();
        Ok(Rings {
            fill: Producer::new(Mapping::new(fd, fill, XDP_UMEM_PGOFF_FILL_RING, &at.fr)?),
            completion: Consumer::new(Mapping::new(
                fd,
                ring,
                XDP_UMEM_PGOFF_COMPLETION_RING,
                &at.cr,
            )?),
            rx: Consumer::new(Mapping::new(fd, ring, XDP_PGOFF_RX_RING, &at.rx)?),
            tx: Producer::new(Mapping::new(fd, ring, XDP_PGOFF_TX_RING, &at.tx)?),
        })
    }

    /// Binds the socket to a queue of an interface.
    pub(crate) fn bind(
        &self,
        interface: u32,
        queue: u32,
        flags: SocketAddrXdpFlags,
    ) -> io::Result<()> {
        bind(&self.0, &SocketAddrXdp::new(flags, interface, queue))?;
        Ok(())
    }

    /// Whether the driver writes into the frames directly.
    pub(crate) fn zero_copy(&self) -> io::Result<bool> {
        Ok(xdp_options(&self.0)?.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY))
    }

    /// Raises the limits at which the kernel drops or delays frames in copy mode. A kernel without these options works without
    /// them, so errors are ignored.
    pub(crate) fn tune(&self, tx_budget: u32) {
        let _ = set_socket_send_buffer_size_force(&self.0, SEND_BUFFER);
        let _ = self.set(libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, tx_budget as c_int);
    }

    pub(crate) fn busy_poll(&self, how: BusyPoll) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, 1)?;
        self.set(libc::SOL_SOCKET, SO_BUSY_POLL, how.micros as c_int)?;
        self.set(libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, how.budget as c_int)
    }

    pub(crate) fn statistics(&self) -> io::Result<XdpStatistics> {
        Ok(xdp_statistics(&self.0)?)
    }

    /// Makes the kernel process the transmit ring.
    #[inline]
    pub(crate) fn kick_tx(&self) -> Result<(), Errno> {
        send(&self.0, &[], SendFlags::DONTWAIT).map(drop)
    }

    /// Makes the kernel receive.
    #[inline]
    pub(crate) fn kick_rx(&self) -> Result<(), Errno> {
        recv(&self.0, &mut [0_u8; 0], RecvFlags::DONTWAIT).map(drop)
    }

    /// The socket's pending error: ENETDOWN once its interface has been removed.
    pub(crate) fn error(&self) -> Option<io::Error> {
        match socket_error(&self.0) {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some(error.into()),
        }
    }

    fn set(&self, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
        // SAFETY: the kernel reads at most the size of `value`, which outlives the call.
        let result = unsafe {
            libc::setsockopt(
                self.0.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<c_int>() as libc::socklen_t,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for XskSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
