//! What an operator can set. Every setting is declared once, in [`sections`], and is then a flag and a key of the
//! configuration file: `--max-message 1MiB` and `max_message = "1MiB"` in `[limits]`. Both are parsed by the same
//! `FromStr`.

pub(crate) mod af_xdp;
pub(crate) mod bypass;
pub(crate) mod dpdk;
pub(crate) mod file;
pub(crate) mod plan;
pub(crate) mod sections;
mod text;
pub(crate) mod values;

pub(crate) use sections::Settings;

/// The annotated reference configuration: every key with its default.
pub(crate) const REFERENCE: &str = include_str!("../../../deploy/hioload.toml");

/// The keys of the reference configuration as `(section, key, value)`, values as one would write them in a flag.
pub(crate) fn reference() -> Vec<(String, String, String)> {
    let table: toml::Table = REFERENCE.parse().unwrap_or_default();
    let mut keys = Vec::new();
    for (section, body) in &table {
        let Some(body) = body.as_table() else {
            continue;
        };
        for (key, value) in body {
            keys.push((section.clone(), key.clone(), shown(value)));
        }
    }
    keys
}

fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
