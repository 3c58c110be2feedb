//! Servers and clients over the queues of a DPDK port.

use hioload_bypass::dpdk::{DpdkOptions, Eal, PortName, open, split_arguments};
use hioload_device::tap::TapSwitch;
use hioload_ws::ServerOptions;

use super::control::Controlled;
use super::link::{ClientLink, Work};
use super::service::Service;
use super::signals::Signals;
use crate::Failure;
use crate::config::bypass::{BypassSettings, failure};
use crate::config::sections::DpdkArgs;
use crate::config::serve::ServeConfig;
use crate::config::values::{self, AutoOff};

const NAME: &str = "dpdk";

/// Serves until a signal ends it.
pub(crate) fn serve(config: ServeConfig, signals: Signals) -> Result<(), Failure> {
    let service = Service::of(&config)?;
    let tap = TapSwitch::new();
    let eal = start_eal(&config.dpdk)?;
    let options = options(&config.dpdk, &config.bypass)?;
    let (port, queues) = open(&eal, options, &config.server).map_err(failure)?;
    let server = queues.tapped(&tap).server(config.server).map_err(failure)?;
    let ended = service.run(server, signals, Controlled::Bypass { name: NAME, tap });
    let closed = port.close().map_err(failure);
    ended.and(closed.map(drop))
}

/// Does a client's work over the queues of a port.
pub(crate) fn client<W: Work>(
    link: &ClientLink,
    options: ServerOptions,
    work: W,
) -> Result<W::Output, Failure> {
    let eal = start_eal(&link.dpdk)?;
    let _ = link.eal.set(eal.clone());
    let port = self::options(&link.dpdk, &link.bypass)?;
    let (port, queues) = open(&eal, port, &options).map_err(failure)?;
    let output = work.run_over(queues, options);
    let closed = port.close().map_err(failure);
    output.and_then(|output| closed.map(|_| output))
}

/// Starts EAL, or returns the one that runs.
fn start_eal(args: &DpdkArgs) -> Result<Eal, Failure> {
    let arguments = args.dpdk_args.clone().and_then(|arguments| arguments.0);
    let arguments = split_arguments(&arguments.unwrap_or_default()).map_err(Failure::usage)?;
    Eal::init(&arguments).map_err(Failure::usage)
}

fn options(args: &DpdkArgs, bypass: &BypassSettings) -> Result<DpdkOptions, Failure> {
    let is_on = |value: Option<AutoOff>| value != Some(AutoOff::Off);
    let mut options = DpdkOptions::new(match &args.port {
        None => PortName::Number(0),
        Some(values::PortName::Number(number)) => PortName::Number(*number),
        Some(values::PortName::Name(name)) => PortName::Name(name.clone()),
    });
    options.queues = match &bypass.queues {
        Some(queues) => Some(queue_count(queues)?),
        None => None,
    };
    options.tcp = bypass.stack.clone();
    options.mtu = args.mtu.and_then(|mtu| mtu.0);
    if let Some(descriptors) = &args.rx_descriptors {
        options.rx_descriptors = descriptors.0;
    }
    if let Some(descriptors) = &args.tx_descriptors {
        options.tx_descriptors = descriptors.0;
    }
    options.mbufs = args.mbufs.and_then(|mbufs| mbufs.0);
    options.checksum_offload = is_on(args.checksum_offload);
    options.flow_rules = is_on(args.flow_rules);
    options.promiscuous = args.promiscuous.unwrap_or(false);
    Ok(options)
}

/// The queues of a DPDK port are numbered from 0, so only their count matters: `2` and `0-1` are two.
fn queue_count(queues: &[u32]) -> Result<u16, Failure> {
    let count = match queues {
        [0] => 1,
        [count] => *count,
        list if list.iter().copied().eq(0..list.len() as u32) => list.len() as u32,
        list => {
            let list: Vec<String> = list.iter().map(u32::to_string).collect();
            return Err(Failure::usage(format!(
                "--queues {}: with dpdk, --queues is a count, such as --queues 2",
                list.join(",")
            )));
        }
    };
    u16::try_from(count).map_err(|why| Failure::usage(why).in_context(format!("--queues {count}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_a_count_or_a_range_from_0() {
        for (queues, count) in [(&[0][..], 1), (&[1], 1), (&[4], 4), (&[0, 1], 2)] {
            assert_eq!(queue_count(queues).ok(), Some(count), "{queues:?}");
        }
        for queues in [&[1, 2][..], &[0, 2], &[70_000]] {
            assert!(queue_count(queues).is_err(), "{queues:?}");
        }
    }
}
