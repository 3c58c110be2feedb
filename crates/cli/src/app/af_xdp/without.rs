//! A build without the feature `af-xdp`: the error says how to get one with it.

use hioload_ws::ServerOptions;

use super::super::link::{ClientLink, Work};
use super::super::signals::Signals;
use crate::Failure;
use crate::config::serve::ServeConfig;

fn missing() -> Failure {
    let how = if cfg!(target_os = "linux") {
        "build with cargo build --release --features af-xdp, which needs Debian's clang and libbpf-dev"
    } else {
        "AF_XDP needs Linux"
    };
    Failure::usage(format!("this hioload is built without af-xdp: {how}"))
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
