//! A port in one line of the log.

use hioload_dpdk::{LinkState, Port};

/// The port, its driver, and the offloads in use.
pub(super) fn port(port: &Port, queues: usize) -> String {
    let info = port.info();
    let offloads = port.offloads();
    let mut parts = vec![
        format!("mtu {}", port.mtu()),
        match queues {
            1 => "1 queue".to_owned(),
            n => format!("{n} queues"),
        },
    ];
    if queues > 1 {
        let spread = match (offloads.rss, offloads.rss_ports) {
            (true, true) => "RSS by addresses and ports",
            (true, false) => "RSS by addresses",
            _ => "no RSS: lcores hand frames to the lcore that owns the flow",
        };
        parts.push(spread.to_owned());
    }
    let checksums = match (offloads.rx_checksum, offloads.tx_checksum) {
        (true, true) => "checksums by the device",
        (true, false) => "checksums verified by the device, computed in software",
        (false, true) => "checksums computed by the device, verified in software",
        (false, false) => "checksums in software",
    };
    parts.push(checksums.to_owned());
    if offloads.tso_offered {
        parts.push("TSO offered, not used".to_owned());
    }
    if port.rules() > 0 {
        parts.push(format!("{} flow rules", port.rules()));
    }
    if port.is_promiscuous() {
        parts.push("promiscuous".to_owned());
    }
    format!("{} ({}): {}", info.name, info.driver, parts.join(", "))
}

/// Logs the state of the port's link.
pub(super) fn log_link(port: &Port, link: Option<LinkState>) {
    let name = &port.info().name;
    match link {
        None => tracing::debug!("{name}: the driver does not report the link"),
        Some(LinkState { up: false, .. }) => tracing::warn!("{name}: the link is down"),
        Some(LinkState { speed: None, .. }) => tracing::info!("{name}: the link is up"),
        Some(LinkState {
            speed: Some(speed), ..
        }) => tracing::info!("{name}: the link is up, {speed} Mbit/s"),
    }
}
