//! Compiles `ebpf/redirect.bpf.c` for this machine, with stand-ins for the headers of BPF. Undefined behaviour traps. Under
//! cargo-fuzz, clang also counts the program's edges, so that the fuzzer sees which packets are new to it.

use std::env;

const SOURCES: [&str; 3] = ["native", "../../ebpf", "build.rs"];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let mut cc = cc::Build::new();
    cc.file("native/native.c")
        // Before the headers of the system.
        .include("native")
        .opt_level(1)
        .warnings(true)
        // Packets have any alignment, and are read as headers of several types, as the BPF machine permits.
        .flag("-fno-strict-aliasing")
        .flag("-fsanitize=undefined")
        .flag("-fno-sanitize=alignment")
        .flag("-fsanitize-undefined-trap-on-error");
    if env::var_os("CARGO_CFG_FUZZING").is_some() {
        let clang = cc::Build::new().compiler("clang").try_get_compiler();
        if clang.is_ok_and(|clang| clang.is_like_clang()) {
            cc.compiler("clang")
                .flag("-fsanitize-coverage=inline-8bit-counters,pc-table,trace-cmp");
        }
    }
    cc.compile("hioload_redirect_native");
}
