//! Compiles `ebpf/redirect.bpf.c` to `$OUT_DIR/redirect.bpf.o` for builds with the feature `af-xdp`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

const SOURCE: &str = "ebpf/redirect.bpf.c";

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=ebpf");
    println!("cargo::rerun-if-env-changed=CLANG");
    let on_linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux");
    if !on_linux || env::var_os("CARGO_FEATURE_AF_XDP").is_none() {
        return ExitCode::SUCCESS;
    }
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return fail("OUT_DIR is not set: this script is run by cargo");
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

/// Compiles to `object`. An error is one line, and names the package that is missing.
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
    // The object must not contain the build directory: two builds of the same source are the same.
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

/// The directories of the headers on Debian. `<asm/types.h>` is in that of the machine's architecture, where clang does not search
/// for the BPF target.
fn include_paths() -> Vec<PathBuf> {
    let machine = env::var("HOST").unwrap_or_default();
    let machine = machine.split('-').next().unwrap_or_default();
    let gnu = PathBuf::from(format!("/usr/include/{machine}-linux-gnu"));
    [gnu, "/usr/include".into()]
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}
