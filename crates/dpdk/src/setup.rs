//! Computes the configuration of a port from the options and the capabilities of the device, without any call of DPDK.

use std::ptr;

use hioload_dpdk_sys as sys;

use crate::Error;
use crate::options::PortOptions;
use crate::pool::PoolSize;
use crate::raw::{hl_port_config, hl_port_info};

/// The key of the Toeplitz hash that spreads flows over queues. It repeats two bytes, so that the hash is the same for both
/// directions of a flow (Woo and Park, "Scalable TCP session monitoring with symmetric receive-side scaling", 2012).
pub static RSS_KEY: [u8; 64] = {
    let mut key = [0x6d; 64];
    let mut at = 1;
    while at < key.len() {
        key[at] = 0x5a;
        at += 2;
    }
    key
};

/// Bytes of an Ethernet header and two VLAN tags.
const HEADERS: usize = 14 + 8;
/// Bytes of the frame check sequence, which some drivers count.
const FCS: usize = 4;
/// The granularity in bytes of the sizes of receive buffers in drivers.
const STEP: usize = 1024;
/// The smallest size of a receive buffer in bytes, without headroom.
const MIN_BUFFER: usize = 2048;
/// The number of frames in the cache of each thread.
const CACHE: u32 = 256;
/// Frames of each queue in addition to those in descriptors and caches: bursts, allocated frames, and those in the stack.
const HELD: u32 = 1024;

/// The offloads in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Offloads {
    /// The device verifies TCP checksums.
    pub rx_checksum: bool,
    /// The device fills in TCP checksums.
    pub tx_checksum: bool,
    /// The device offers to cut segments larger than the MTU. This is not enabled, because the TCP stack sends no such segments.
    pub tso_offered: bool,
    /// A frame may arrive in several buffers, and is copied into one.
    pub scatter: bool,
    /// The device spreads flows over the queues with [`RSS_KEY`].
    pub rss: bool,
    /// The hash covers TCP ports in addition to addresses.
    pub rss_ports: bool,
}

/// The configuration of a port.
#[derive(Clone, Debug)]
pub(crate) struct PortSetup {
    pub(crate) config: hl_port_config,
    pub(crate) offloads: Offloads,
    /// Bytes of a buffer for a whole frame, headroom included.
    pub(crate) whole: u16,
    /// Bytes of a buffer to receive into, headroom included, if that is smaller.
    pub(crate) segment: Option<u16>,
}

impl PortSetup {
    /// `headroom` is the number of bytes before the data of a received frame, a constant of the DPDK build.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an option that the device does not support.
    pub(crate) fn new(
        port: &str,
        info: &hl_port_info,
        options: &PortOptions,
        headroom: usize,
    ) -> Result<Self, Error> {
        let unsupported = |what: String| Error::Unsupported {
            port: port.to_owned(),
            what,
        };
        let most = info.max_rx_queues.min(info.max_tx_queues);
        let queues = options.queues;
        if queues == 0 || queues > most {
            return Err(unsupported(format!(
                "{queues} queues requested, and it has 1 to {most}"
            )));
        }
        let mtu = mtu(info, options).map_err(unsupported)?;
        let (whole, segment) = buffers(info, options, mtu, headroom).map_err(unsupported)?;
        let offers = |all: u64, one: u32| options.checksums && all & u64::from(one) != 0;
        let rss = info.rss_types & rss_types();
        let offloads = Offloads {
            rx_checksum: offers(info.rx_offloads, sys::HL_RX_OFFLOAD_TCP),
            tx_checksum: offers(info.tx_offloads, sys::HL_TX_OFFLOAD_TCP),
            tso_offered: info.tx_offloads & u64::from(sys::HL_TX_OFFLOAD_TSO) != 0,
            scatter: segment.is_some(),
            rss: queues > 1 && rss != 0,
            rss_ports: queues > 1
                && rss & u64::from(sys::HL_RSS_IPV4_TCP | sys::HL_RSS_IPV6_TCP) != 0,
        };
        let mut rx_offloads = 0;
        if offloads.rx_checksum {
            let both = u64::from(sys::HL_RX_OFFLOAD_TCP | sys::HL_RX_OFFLOAD_IPV4);
            rx_offloads |= info.rx_offloads & both;
        }
        if offloads.scatter {
            rx_offloads |= info.rx_offloads & u64::from(sys::HL_RX_OFFLOAD_SCATTER);
        }
        let key_len = info.rss_key_len.min(RSS_KEY.len() as u8);
        let config = hl_port_config {
            queues,
            rx_descriptors: options.rx_descriptors,
            tx_descriptors: options.tx_descriptors,
            mtu,
            rx_offloads,
            tx_offloads: if offloads.tx_checksum {
                sys::HL_TX_OFFLOAD_TCP.into()
            } else {
                0
            },
            rss_types: if offloads.rss { rss } else { 0 },
            // DPDK only reads the key.
            rss_key: match key_len {
                0 => ptr::null_mut(),
                _ => RSS_KEY.as_ptr().cast_mut(),
            },
            rss_key_len: key_len,
        };
        Ok(Self {
            config,
            offloads,
            whole,
            segment,
        })
    }

    /// The sizes of a queue's pools, after the device has adjusted the number of descriptors: the pool of whole frames, and the pool
    /// of segments to receive into, if there is one.
    pub(crate) fn pools(&self, options: &PortOptions) -> (PoolSize, Option<PoolSize>) {
        let rx = u32::from(self.config.rx_descriptors);
        let tx = u32::from(self.config.tx_descriptors);
        let size = |descriptors: u32, room| {
            let least = descriptors + 2 * CACHE + HELD;
            let frames = options.frames.unwrap_or(least).max(2 * CACHE);
            PoolSize {
                frames: (frames + 1).next_power_of_two() - 1,
                cache: CACHE,
                room,
            }
        };
        match self.segment {
            Some(segment) => (size(tx, self.whole), Some(size(rx, segment))),
            None => (size(rx + tx, self.whole), None),
        }
    }
}

fn rss_types() -> u64 {
    (sys::HL_RSS_IPV4 | sys::HL_RSS_IPV4_TCP | sys::HL_RSS_IPV6 | sys::HL_RSS_IPV6_TCP).into()
}

fn mtu(info: &hl_port_info, options: &PortOptions) -> Result<u16, String> {
    let Some(wanted) = options.mtu else {
        return Ok(info.mtu.clamp(info.min_mtu.max(576), info.max_mtu.max(576)));
    };
    // 0: the driver does not report a limit.
    let most = if info.max_mtu == 0 {
        u16::MAX
    } else {
        info.max_mtu
    };
    if !(info.min_mtu..=most).contains(&wanted) {
        let (least, now) = (info.min_mtu, info.mtu);
        return Err(format!(
            "an MTU of {wanted} requested, and it supports {least} to {most} (now {now})"
        ));
    }
    Ok(wanted)
}

/// The sizes of the buffers for whole frames, and of the buffers to receive into, if those are smaller; headroom included.
fn buffers(
    info: &hl_port_info,
    options: &PortOptions,
    mtu: u16,
    headroom: usize,
) -> Result<(u16, Option<u16>), String> {
    let frame = usize::from(mtu) + HEADERS + FCS;
    let whole = frame.max(MIN_BUFFER).next_multiple_of(STEP) + headroom;
    let Ok(whole) = u16::try_from(whole) else {
        return Err(format!("an MTU of {mtu} is more than a buffer can hold"));
    };
    let Some(segment) = options
        .segment
        .filter(|&segment| usize::from(segment) < frame)
    else {
        return Ok((whole, None));
    };
    if info.rx_offloads & u64::from(sys::HL_RX_OFFLOAD_SCATTER) == 0 {
        return Err(format!(
            "it does not receive frames in segments of {segment} bytes; use the default size of segments"
        ));
    }
    Ok((whole, Some(segment.saturating_add(headroom as u16))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> hl_port_info {
        hl_port_info {
            mtu: 1500,
            min_mtu: 68,
            max_mtu: 9600,
            max_rx_queues: 8,
            max_tx_queues: 16,
            rx_offloads: u64::MAX,
            tx_offloads: u64::MAX,
            rss_types: u64::MAX,
            reta_size: 128,
            rss_key_len: 40,
            ..Default::default()
        }
    }

    fn setup(info: &hl_port_info, options: &PortOptions) -> Result<PortSetup, String> {
        PortSetup::new("x", info, options, 128).map_err(|error| error.to_string())
    }

    fn options() -> PortOptions {
        PortOptions::default()
    }

    #[test]
    fn only_offered_offloads_are_enabled() {
        let all = setup(&info(), &options()).expect("a setup");
        assert!(all.offloads.rx_checksum && all.offloads.tx_checksum);
        assert!(!all.offloads.rss, "one queue needs no RSS");
        assert_eq!((all.whole, all.segment, all.config.mtu), (2176, None, 1500));
        let nothing = hl_port_info {
            rx_offloads: 0,
            tx_offloads: 0,
            rss_types: 0,
            ..info()
        };
        let two = PortOptions {
            queues: 2,
            ..options()
        };
        let none = setup(&nothing, &two).expect("a setup");
        assert_eq!(none.offloads, Offloads::default());
        assert_eq!((none.config.rx_offloads, none.config.tx_offloads), (0, 0));
        assert!(setup(&info(), &two).expect("a setup").offloads.rss_ports);
        let unwanted = PortOptions {
            checksums: false,
            ..options()
        };
        let unwanted = setup(&info(), &unwanted).expect("a setup");
        assert_eq!(unwanted.config.rx_offloads | unwanted.config.tx_offloads, 0);
    }

    #[test]
    fn an_unsupported_option_is_an_error_with_the_limits() {
        for (bad, word) in [
            (
                PortOptions {
                    queues: 9,
                    ..options()
                },
                "1 to 8",
            ),
            (
                PortOptions {
                    queues: 0,
                    ..options()
                },
                "1 to 8",
            ),
            (
                PortOptions {
                    mtu: Some(9601),
                    ..options()
                },
                "68 to 9600",
            ),
            (
                PortOptions {
                    mtu: Some(67),
                    ..options()
                },
                "68 to 9600",
            ),
        ] {
            let error = setup(&info(), &bad).expect_err("an error");
            assert!(error.contains(word), "{error}");
        }
        let no_scatter = hl_port_info {
            rx_offloads: 0,
            ..info()
        };
        let small = PortOptions {
            segment: Some(1024),
            ..options()
        };
        let error = setup(&no_scatter, &small).expect_err("an error");
        assert!(error.contains("segments of 1024"), "{error}");
    }

    #[test]
    fn a_large_mtu_gets_large_buffers_or_segments() {
        let jumbo = PortOptions {
            mtu: Some(9000),
            ..options()
        };
        let whole = setup(&info(), &jumbo).expect("a setup");
        assert_eq!((whole.whole, whole.segment), (9 * 1024 + 128, None));
        let parts = PortOptions {
            segment: Some(2048),
            ..jumbo
        };
        let parts = setup(&info(), &parts).expect("a setup");
        assert_eq!(
            (parts.whole, parts.segment),
            (9 * 1024 + 128, Some(2048 + 128))
        );
        assert!(parts.offloads.scatter);
        // A segment size that holds a whole frame has no effect.
        let enough = PortOptions {
            segment: Some(2048),
            ..options()
        };
        assert_eq!(setup(&info(), &enough).expect("a setup").segment, None);
    }

    #[test]
    fn the_key_is_symmetric() {
        assert!(RSS_KEY.chunks(2).all(|pair| pair == [0x6d, 0x5a]));
    }

    #[test]
    fn a_pool_has_frames_for_descriptors_caches_and_the_stack() {
        let setup = setup(&info(), &options()).expect("a setup");
        let (frames, segments) = setup.pools(&options());
        assert_eq!((frames.frames, segments), (4095, None));
        let few = PortOptions {
            frames: Some(10),
            ..options()
        };
        let (frames, _) = setup.pools(&few);
        assert_eq!(frames.frames, 1023, "at least the size of the caches");
    }
}
