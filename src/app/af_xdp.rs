//! `hioload serve --transport af-xdp`: the queues of an interface, an lcore for each, and TCP of our own on them.

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
mod with;

#[cfg(all(feature = "af-xdp", target_os = "linux"))]
pub(super) use with::serve;

/// Says how to get what this build lacks.
#[cfg(not(all(feature = "af-xdp", target_os = "linux")))]
pub(super) fn serve(
    _: crate::config::plan::Plan,
    _: super::signals::Signals,
) -> Result<(), crate::Failure> {
    let how = if cfg!(target_os = "linux") {
        "build with cargo build --release --features af-xdp, which needs Debian's clang and libbpf-dev"
    } else {
        "it is for Linux"
    };
    Err(crate::Failure::usage(format!(
        "this hioload is without af-xdp: {how}"
    )))
}
