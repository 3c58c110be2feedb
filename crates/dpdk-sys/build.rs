//! Compiles `dpdk-shim` and generates bindings to its header. A missing dependency is an error of one line with the command that
//! installs it.

use std::env;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::Command;

const OLDEST: &str = "22.11";

/// The libraries that the shim needs, if this DPDK has them (`rte_log` is new in 23.11). EAL loads the drivers; only the ring
/// driver is linked, because the shim calls it to create ports of rings.
const LIBRARIES: [&str; 7] = [
    "rte_ethdev",
    "rte_net",
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_eal",
    "rte_log",
];

fn main() {
    // Cargo prints only this line and stops; after a failed exit it would print the whole output.
    if let Err(missing) = build() {
        println!("cargo::error={missing}");
    }
}

fn build() -> Result<(), String> {
    // A symlink in the repository, a folder in the package.
    let shim = Path::new(&var("CARGO_MANIFEST_DIR")?).join("dpdk-shim");
    let shim = shim
        .canonicalize()
        .map_err(|error| format!("cannot find {}: {error}", shim.display()))?;
    let out = PathBuf::from(var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", shim.display());
    println!("cargo::rerun-if-changed=build.rs");
    let dpdk = pkg_config::Config::new()
        .atleast_version(OLDEST)
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_err(|error| match error {
            pkg_config::Error::Command { .. } => {
                "pkg-config is missing; on Debian: apt-get install pkg-config".into()
            }
            _ => format!(
                "the feature `dpdk` needs DPDK {OLDEST} or later with its headers, and pkg-config cannot find libdpdk; on Debian: \
                 apt-get install libdpdk-dev"
            ),
        })?;
    compile(&shim, &dpdk)?;
    for path in &dpdk.link_paths {
        println!("cargo::rustc-link-search=native={}", path.display());
    }
    for name in LIBRARIES
        .iter()
        .filter(|&&name| dpdk.libs.iter().any(|lib| lib == name))
    {
        println!("cargo::rustc-link-lib=dylib={name}");
    }
    println!("cargo::rustc-link-lib=dylib=rte_net_ring");
    println!("cargo::metadata=version={}", dpdk.version);
    bind(&shim.join("shim.h"), &out.join("shim.rs"))
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("cargo did not set {name}"))
}

/// The optional parts of the shim that are enabled: their files, and the macros that declare them.
fn optional() -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("raw_loop.c", "HIOLOAD_RAW_LOOP", "CARGO_FEATURE_RAW_LOOP"),
        (
            "odd_frames.c",
            "HIOLOAD_ODD_FRAMES",
            "CARGO_FEATURE_ODD_FRAMES",
        ),
    ]
    .into_iter()
    .filter(|(_, _, feature)| env::var_os(feature).is_some())
    .map(|(file, name, _)| (file, name))
}

fn compile(shim: &Path, dpdk: &pkg_config::Library) -> Result<(), String> {
    let mut cc = cc::Build::new();
    cc.includes(&dpdk.include_paths)
        .opt_level(3)
        .force_frame_pointer(false)
        // The compiler would vectorise the updates of a few counters at the end of a burst, which is slower.
        .flag_if_supported("-fno-tree-slp-vectorize")
        .warnings(true)
        .extra_warnings(true);
    for (name, value) in &dpdk.defines {
        cc.define(name, value.as_deref());
    }
    // `-include rte_config.h`, and the instruction set that DPDK's inline functions need.
    for flag in other_flags()? {
        cc.flag(flag);
    }
    for name in ["shim", "pool", "eal", "port", "flow"] {
        cc.file(shim.join(name).with_extension("c"));
    }
    for (file, name) in optional() {
        cc.file(shim.join(file)).define(name, None);
    }
    cc.try_compile("hioload_dpdk_shim")
        .map_err(|error| format!("dpdk-shim does not compile against this DPDK: {error}"))
}

/// The compiler flags that the crate pkg-config does not report.
fn other_flags() -> Result<Vec<String>, String> {
    println!("cargo::rerun-if-env-changed=PKG_CONFIG");
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let output = Command::new(program)
        .args(["--cflags-only-other", "libdpdk"])
        .output()
        .map_err(|error| format!("cannot run pkg-config: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.split_whitespace().map(str::to_owned).collect())
}

fn bind(header: &Path, to: &Path) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header(header.display().to_string())
        .allowlist_file(".*shim\\.h")
        .use_core()
        .layout_tests(true)
        .derive_default(true)
        .generate_comments(true);
    for (_, name) in optional() {
        builder = builder.clang_arg(format!("-D{name}"));
    }
    // Without libclang, bindgen panics.
    panic::set_hook(Box::new(|_| ()));
    let bindings = panic::catch_unwind(panic::AssertUnwindSafe(|| builder.generate()));
    let _ = panic::take_hook();
    match bindings {
        Err(_) => Err(
            "bindgen cannot find libclang; on Debian: apt-get install libclang-dev (or set LIBCLANG_PATH)"
                .into(),
        ),
        Ok(Err(error)) => Err(format!("clang cannot parse dpdk-shim/shim.h: {error}")),
        Ok(Ok(bindings)) => bindings
            .write_to_file(to)
            .map_err(|error| format!("cannot write {}: {error}", to.display())),
    }
}
