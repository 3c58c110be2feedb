//! The documents that are generated from the declaration of the settings.

use std::path::Path;
use std::process::Command;

fn reference(format: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_hioload"))
        .args(["config", "reference", "--format", format])
        .output()
        .expect("hioload runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn is_in_step(file: &str, format: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    let written = std::fs::read_to_string(&path).expect(file);
    assert!(
        written == reference(format),
        "{file} differs from the settings that are declared in crates/cli/src/config/sections.rs; \
         to write it anew: cargo run -p hioload -- config reference --format {format} > {file}"
    );
}

#[test]
fn the_reference_configuration_is_in_step_with_the_settings() {
    is_in_step("deploy/hioload.toml", "toml");
}

#[test]
fn the_page_of_the_settings_is_in_step_with_them() {
    is_in_step("docs/configuration.md", "markdown");
}

#[test]
fn an_unknown_format_is_a_usage_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_hioload"))
        .args(["config", "reference", "--format", "pdf"])
        .output()
        .expect("hioload runs");
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("expected toml or markdown"), "{error}");
}
