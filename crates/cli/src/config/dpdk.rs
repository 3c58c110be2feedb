//! The settings of `--transport dpdk`, with their defaults.

use super::plan::within;
use super::sections::DpdkArgs;
use super::values::{AutoOff, PortName};

/// What is set up of DPDK.
#[derive(Debug)]
#[cfg_attr(not(all(feature = "dpdk", target_os = "linux")), allow(dead_code))]
pub(crate) struct Dpdk {
    /// EAL's arguments, as one would write them in a shell.
    pub arguments: String,
    /// Which port.
    pub port: PortName,
    /// The largest IP packet; `None`: as the device has it.
    pub mtu: Option<u16>,
    /// Received frames that a queue of the device may hold.
    pub rx_descriptors: u16,
    /// Frames to be sent, likewise.
    pub tx_descriptors: u16,
    /// Frames of each queue; `None`: as many as it takes.
    pub mbufs: Option<u32>,
    /// Whether checksums are left to a device that offers it.
    pub checksum_offload: bool,
    /// Whether a device that can is told to leave to the kernel what is not ours.
    pub flow_rules: bool,
    /// Whether frames to any address are taken.
    pub promiscuous: bool,
}

impl Dpdk {
    /// Fills in the defaults.
    pub(crate) fn new(args: DpdkArgs) -> Self {
        let auto = |value: Option<AutoOff>| value != Some(AutoOff::Off);
        Self {
            arguments: args.dpdk_args.and_then(|args| args.0).unwrap_or_default(),
            port: args.port.unwrap_or(PortName::Number(0)),
            mtu: args.mtu.and_then(|mtu| mtu.0),
            rx_descriptors: within(args.rx_descriptors).unwrap_or(1024),
            tx_descriptors: within(args.tx_descriptors).unwrap_or(1024),
            mbufs: args.mbufs.and_then(|mbufs| mbufs.0),
            checksum_offload: auto(args.checksum_offload),
            flow_rules: auto(args.flow_rules),
            promiscuous: args.promiscuous.unwrap_or(false),
        }
    }
}
