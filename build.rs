//! Compiles `ebpf/redirect.bpf.c` when the feature `af-xdp` is on; else does nothing. The object is
//! `$OUT_DIR/redirect.bpf.o`. And says whether a transport with a TCP of our own is in the build: `cfg(bypass)`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

const SOURCE: &str = "ebpf/redirect.bpf.c";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=ebpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rustc-check-cfg=cfg(bypass)");
    let with = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return ExitCode::SUCCESS;
    }
    if with("AF_XDP") || with("DPDK") {
        println!("cargo::rustc-cfg=bypass");
    }
    if !with("AF_XDP") {
        return ExitCode::SUCCESS;
    }
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return fail("cargo has not said where to build");
    };
    match compile(&out.join("redirect.bpf.o")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn fail(why: &str) -> ExitCode {
    println!("cargo::error={why}");
    ExitCode::FAILURE
}

/// Compiles to `object`. What is wrong is said in one line, with the package that is missing if one is.
fn compile(object: &Path) -> Result<(), String> {
    for (header, package) in [
        ("bpf/bpf_helpers.h", "libbpf-dev"),
        ("linux/bpf.h", "linux-libc-dev"),
    ] {
        if !include_paths()
            .iter()
            .any(|path| path.join(header).exists())
        {
            return Err(format!(
                "the feature af-xdp needs <{header}>: apt-get install {package}"
            ));
        }
    }
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let mut command = Command::new(&clang);
    command.args([
        "-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Werror",
    ]);
    for path in include_paths() {
        command.arg("-idirafter").arg(path);
    }
    command.args(["-c", SOURCE, "-o"]).arg(object);
    // Where the compiler was run is nobody's business, and would make two builds differ.
    command.arg(format!("-ffile-prefix-map={}=.", cwd().display()));
    let output = command.output().map_err(|why| {
        format!("the feature af-xdp needs clang ({clang}: {why}): apt-get install clang")
    })?;
    if output.status.success() && fs::metadata(object).is_ok() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).replace('\n', "; ");
    if said.contains("unknown target") || said.contains("No available targets") {
        return Err(format!(
            "{clang} has no BPF target: apt-get install clang, or name another with CLANG"
        ));
    }
    Err(format!("{clang} cannot compile {SOURCE}: {said}"))
}

fn cwd() -> PathBuf {
    env::current_dir().unwrap_or_default()
}

/// Where Debian has the headers: `<asm/types.h>` is in the directory of the machine's architecture, which clang does not
/// look into for the BPF target.
fn include_paths() -> Vec<PathBuf> {
    let machine = env::var("HOST").unwrap_or_default();
    let machine = machine.split('-').next().unwrap_or_default();
    let gnu = PathBuf::from(format!("/usr/include/{machine}-linux-gnu"));
    [gnu, "/usr/include".into()]
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}
