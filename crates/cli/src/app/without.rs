//! Transports that this build does not have: the error says how to get a build with them.

use crate::Failure;
use crate::config::values::TransportKind;

/// The error of a transport whose feature is not built in.
pub(super) fn failure(transport: TransportKind) -> Failure {
    let packages = match transport {
        TransportKind::Sockets => "",
        TransportKind::AfXdp => "clang, libbpf-dev and linux-libc-dev",
        TransportKind::Dpdk => "libdpdk-dev, libclang-dev and pkg-config",
    };
    let how = if cfg!(target_os = "linux") {
        format!(
            "build with cargo build --release --features {transport}, which needs Debian's {packages}"
        )
    } else {
        "it needs Linux".to_owned()
    };
    Failure::usage(format!("this hioload is built without {transport}: {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_feature() {
        for (transport, part) in [
            (TransportKind::AfXdp, "without af-xdp"),
            (TransportKind::Dpdk, "without dpdk"),
        ] {
            assert!(failure(transport).to_string().contains(part));
        }
    }
}
