//! Says whether a transport with a TCP of our own is in the build: `cfg(bypass)`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(bypass)");
    let with = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let linux = std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");
    if linux && (with("AF_XDP") || with("DPDK")) {
        println!("cargo::rustc-cfg=bypass");
    }
}
