//! A build without it says how to get one that has it.

use hioload_ws::{Lcores, ServerOptions};

use super::super::client::{ClientLink, Work};
use super::super::signals::Signals;
use crate::Failure;
use crate::config::plan::Plan;

fn lacking<T>() -> Result<T, Failure> {
    let how = if cfg!(target_os = "linux") {
        "build with cargo build --release --features af-xdp, which needs Debian's clang and libbpf-dev"
    } else {
        "it is for Linux"
    };
    Err(Failure::usage(format!(
        "this hioload is without af-xdp: {how}"
    )))
}

pub(crate) fn serve(_: Plan, _: Signals) -> Result<(), Failure> {
    lacking()
}

pub(crate) fn client<W: Work>(
    _: &ClientLink,
    _: ServerOptions,
    _: Option<Lcores>,
    _: W,
) -> Result<W::Outcome, Failure> {
    lacking()
}
