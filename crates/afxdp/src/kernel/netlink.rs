//! Two queries of rtnetlink: the XDP program on an interface, and whether any interface has changed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};

/// linux/rtnetlink.h, linux/if_link.h
const RTMGRP_LINK: u32 = 1;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const HEADER: usize = 16;
const IFINFO: usize = 16;

/// A subscription to the events of all interfaces: added, removed or changed.
#[derive(Debug)]
pub(crate) struct LinkEvents(OwnedFd);

impl LinkEvents {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(socket(RTMGRP_LINK)?))
    }

    /// Discards the pending events. Returns whether there was any.
    pub(crate) fn drain(&self) -> bool {
        let mut any = false;
        let mut buffer = [0; 4096];
        // ENOBUFS: events were lost, so there were some.
        while let Ok(_) | Err(rustix::io::Errno::NOBUFS) =
            recv(&self.0, &mut buffer, RecvFlags::DONTWAIT)
        {
            any = true;
        }
        any
    }
}

impl AsFd for LinkEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn socket(groups: u32) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Protocol 0: NETLINK_ROUTE.
        None,
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// The XDP program on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct AttachedProgram {
    /// The program's id, as `bpftool prog` shows it; 0 if there are several programs.
    pub id: u32,
    /// The program runs in the kernel's stack (generic XDP), not in the driver.
    pub generic: bool,
}

/// The XDP program on the interface with the index `index`, if there is one.
///
/// # Errors
/// `ENODEV` if there is no such interface, `InvalidData` for a malformed reply, and the errors of the netlink socket.
pub fn attached_program(index: u32) -> io::Result<Option<AttachedProgram>> {
    let socket = socket(0)?;
    let mut request = [0; HEADER + IFINFO];
    request[0..4].copy_from_slice(&((HEADER + IFINFO) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    sendto(
        &socket,
        &request,
        SendFlags::empty(),
        &SocketAddrNetlink::new(0, 0),
    )?;
    let mut reply = vec![0; 65536];
    let (got, _) = recv(&socket, reply.as_mut_slice(), RecvFlags::empty())?;
    parse(reply.get(..got).unwrap_or_default())
}

/// Parses an RTM_NEWLINK or an NLMSG_ERROR message.
fn parse(message: &[u8]) -> io::Result<Option<AttachedProgram>> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let message_type = number(message, 4, 2).ok_or_else(malformed)? as u16;
    if message_type == NLMSG_ERROR {
        let code = number(message, HEADER, 4).ok_or_else(malformed)? as i32;
        return Err(io::Error::from_raw_os_error(-code));
    }
    if message_type != RTM_NEWLINK {
        return Err(malformed());
    }
    let attributes = message.get(HEADER + IFINFO..).ok_or_else(malformed)?;
    let Some(xdp) = attribute(attributes, IFLA_XDP) else {
        return Ok(None);
    };
    let mode = attribute(xdp, IFLA_XDP_ATTACHED).and_then(|mode| mode.first().copied());
    let id = attribute(xdp, IFLA_XDP_PROG_ID).and_then(|id| number(id, 0, 4));
    Ok(match mode {
        None | Some(0) => None,
        Some(mode) => Some(AttachedProgram {
            id: id.unwrap_or(0),
            generic: mode == 2,
        }),
    })
}

/// The payload of the first attribute of the type `wanted`.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = number(attributes, 0, 2)? as usize;
        // The upper two bits are flags.
        let attribute_type = number(attributes, 2, 2)? as u16 & 0x3fff;
        let payload = attributes.get(4..len)?;
        if attribute_type == wanted {
            return Some(payload);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

/// A number of 2 or 4 bytes in the machine's byte order.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + size)?;
    Some(match *bytes {
        [a, b] => u32::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_no_program() {
        let found = attached_program(1).expect("rtnetlink answers");
        assert_eq!(found, None);
    }

    #[test]
    fn a_missing_interface_is_an_error() {
        let error = attached_program(0x7fff_fff0).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn a_truncated_or_malformed_reply_is_an_error_or_no_program() {
        let mut message = vec![0; HEADER + IFINFO];
        message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
        let xdp = [12, 0, 43, 0, 5, 0, 2, 0, 2, 0, 0, 0_u8];
        message.extend(xdp);
        let found = parse(&message).expect("well formed");
        assert_eq!(
            found,
            Some(AttachedProgram {
                id: 0,
                generic: true
            })
        );
        for end in 0..message.len() {
            assert!(!matches!(parse(&message[..end]), Ok(Some(_))), "{end}");
        }
        // An attribute whose length is less than its header must not loop forever.
        message.truncate(HEADER + IFINFO);
        message.extend([0, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(parse(&message).expect("nothing in it"), None);
    }
}
