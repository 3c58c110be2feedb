//! Servers and clients over the queues of an interface.

use std::time::Duration;

use hioload_bypass::af_xdp::{
    BindMode, BusyPoll, Ownership, RxChecksum, XdpMode, XdpOptions, open,
};
use hioload_device::tap::TapSwitch;
use hioload_ws::ServerOptions;

use super::control::Controlled;
use super::link::{ClientLink, Work};
use super::service::Service;
use super::signals::Signals;
use crate::Failure;
use crate::config::bypass::{BypassSettings, failure};
use crate::config::sections::AfXdpArgs;
use crate::config::serve::ServeConfig;
use crate::config::values;

const NAME: &str = "af-xdp";

/// Frames per busy-polling call: a burst.
const POLL_BUDGET: u32 = 64;

/// Serves until a signal ends it.
pub(crate) fn serve(config: ServeConfig, signals: Signals) -> Result<(), Failure> {
    let service = Service::of(&config)?;
    let tap = TapSwitch::new();
    let options = options(&config.af_xdp, &config.bypass);
    let (port, queues) =
        open(hioload_ws::af_xdp::program(), options, &config.server).map_err(failure)?;
    let server = queues.tapped(&tap).server(config.server).map_err(failure)?;
    let ended = service.run(server, signals, Controlled::Bypass { name: NAME, tap });
    match port.counters() {
        Ok(counters) => tracing::info!("the XDP program counted {counters:?}"),
        Err(why) => tracing::debug!("no counters of the XDP program: {why}"),
    }
    ended
}

/// Does a client's work over the queues of an interface.
pub(crate) fn client<W: Work>(
    link: &ClientLink,
    options: ServerOptions,
    work: W,
) -> Result<W::Output, Failure> {
    let interface = self::options(&link.af_xdp, &link.bypass);
    let (_port, queues) =
        open(hioload_ws::af_xdp::program(), interface, &options).map_err(failure)?;
    work.run_over(queues, options)
}

fn options(args: &AfXdpArgs, bypass: &BypassSettings) -> XdpOptions {
    let interface = args.interface.clone().and_then(|interface| interface.0);
    let mut options = XdpOptions::new(interface.unwrap_or_default());
    options.queues = bypass.queues.clone().unwrap_or_default();
    options.tcp = bypass.stack.clone();
    options.more_addresses = bypass.more_addresses.clone();
    options.ownership = match args.share_address {
        Some(true) => Ownership::Shared,
        _ => Ownership::Own,
    };
    options.mode = match args.xdp_mode {
        None | Some(values::XdpMode::Auto) => XdpMode::Auto,
        Some(values::XdpMode::Native) => XdpMode::Native,
        Some(values::XdpMode::Skb) => XdpMode::Skb,
    };
    options.bind = match args.zero_copy {
        None | Some(values::ZeroCopy::Auto) => BindMode::Auto,
        Some(values::ZeroCopy::On) => BindMode::ZeroCopy,
        Some(values::ZeroCopy::Off) => BindMode::Copy,
    };
    options.rx_checksum = match args.rx_checksum {
        None | Some(values::RxChecksum::Auto) => RxChecksum::Auto,
        Some(values::RxChecksum::Verify) => RxChecksum::Verify,
        Some(values::RxChecksum::Trust) => RxChecksum::Trust,
    };
    options.busy_poll = args.busy_poll.and_then(|poll| poll.0).map(busy_poll);
    options
}

fn busy_poll(time: Duration) -> BusyPoll {
    let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    BusyPoll::new(micros.max(1), POLL_BUDGET)
}
