//! Checks that attach the XDP program.

use hioload_afxdp::{self as afxdp, Port, PortOptions, XdpMode};

use super::Findings;

/// Whether the kernel's verifier accepts the program. Nothing is attached.
pub(super) fn program(findings: &mut Findings) {
    match afxdp::verify(&hioload_ws::af_xdp::program()) {
        Ok(()) => findings.ok("program", "the kernel's verifier accepts the XDP program"),
        Err(why) => findings.missing("program", why.what(), why.hint().unwrap_or_default()),
    }
}

/// Opens the port for a moment, for an address that is reserved for documentation (RFC 5737): no packets to it get lost.
pub(super) fn port(findings: &mut Findings, name: &str) {
    let address = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
    let options = PortOptions::new(hioload_ws::af_xdp::program(), name, [address]);
    let (port, pending) = match Port::open(&options) {
        Ok(opened) => opened,
        Err(why) => return findings.missing("trial", why.what(), why.hint().unwrap_or_default()),
    };
    match port.mode() {
        XdpMode::Native => findings.ok("xdp mode", "native: the driver runs the program"),
        _ => findings.note(
            "xdp mode",
            "SKB: the driver runs no XDP programs, so packets pass the network stack first",
            "use a NIC whose driver does (ice, i40e, ixgbe, igb, igc, mlx5, bnxt, ena, virtio_net)",
        ),
    }
    let queues: Vec<_> = pending.iter().map(afxdp::PendingQueue::number).collect();
    let zero_copy = pending
        .iter()
        .filter(|queue| queue.capabilities().zero_copy)
        .count();
    let queues = super::machine::join(&queues);
    if zero_copy == pending.len() {
        findings.ok("zero-copy", format!("on queues {queues}"));
    } else {
        findings.note(
            "zero-copy",
            format!("not on queues {queues}: the kernel copies each packet once"),
            "",
        );
    }
    if pending.iter().all(|queue| queue.capabilities().tx_checksum) {
        findings.ok("checksums", "the kernel computes those of sent packets");
    } else {
        findings.note("checksums", "hioload computes those of sent packets", "");
    }
}
