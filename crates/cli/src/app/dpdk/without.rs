//! A build without the feature `dpdk`: the error says how to get one with it.

use hioload_ws::ServerOptions;

use super::super::link::{ClientLink, Work};
use super::super::signals::Signals;
use crate::Failure;
use crate::config::serve::ServeConfig;

fn missing() -> Failure {
    let how = if cfg!(target_os = "linux") {
        "build with cargo build --release --features dpdk, which needs Debian's libdpdk-dev, libclang-dev and pkg-config"
    } else {
        "this transport needs Linux"
    };
    Failure::usage(format!("this hioload is built without dpdk: {how}"))
}

pub(crate) fn serve(_: ServeConfig, _: Signals) -> Result<(), Failure> {
    Err(missing())
}

pub(crate) fn client<W: Work>(
    _: &ClientLink,
    _: ServerOptions,
    _: W,
) -> Result<W::Output, Failure> {
    Err(missing())
}
