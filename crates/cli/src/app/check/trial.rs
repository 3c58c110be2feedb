//! What only trying tells.

use hioload_ws::afxdp::{self, Port, PortOptions, XdpMode};

use super::Findings;

/// Whether this kernel takes the program; nothing is attached.
pub(super) fn program(findings: &mut Findings) {
    match afxdp::verify(&afxdp::object()) {
        Ok(()) => findings.ok("program", "the kernel's verifier takes the XDP program"),
        Err(why) => findings.missing("program", why.what(), why.hint().unwrap_or_default()),
    }
}

/// Opens the port for a moment, for an address that nobody has (RFC 5737), so that nobody misses a packet to it.
pub(super) fn port(findings: &mut Findings, name: &str) {
    let address = std::net::Ipv4Addr::new(192, 0, 2, 1).into();
    let options = PortOptions::new(afxdp::object(), name, [address]);
    let (port, seeds) = match Port::open(&options) {
        Ok(opened) => opened,
        Err(why) => return findings.missing("trial", why.what(), why.hint().unwrap_or_default()),
    };
    match port.mode() {
        XdpMode::Native => findings.ok("xdp mode", "native: the driver runs the program"),
        _ => findings.note(
            "xdp mode",
            "SKB: the driver has no XDP, so packets go through the stack first",
            "a NIC whose driver has it (ice, i40e, ixgbe, igb, igc, mlx5, bnxt, ena, virtio_net)",
        ),
    }
    let queues: Vec<_> = seeds.iter().map(afxdp::PendingQueue::number).collect();
    let zero_copy = seeds
        .iter()
        .filter(|seed| seed.capabilities().zero_copy)
        .count();
    let queues = super::machine::join(&queues);
    if zero_copy == seeds.len() {
        findings.ok("zero-copy", format!("on queues {queues}"));
    } else {
        findings.note(
            "zero-copy",
            format!("not on queues {queues}: the kernel copies each packet once"),
            "",
        );
    }
    if seeds.iter().all(|seed| seed.capabilities().tx_checksum) {
        findings.ok("checksums", "the kernel fills in those of what is sent");
    } else {
        findings.note("checksums", "are computed here for what is sent", "");
    }
}
