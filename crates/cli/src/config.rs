//! The settings of an operator. Every setting is declared once, in [`sections`]: it is a flag and a key of the configuration file,
//! `--max-message 1MiB` and `max_message = "1MiB"` in `[limits]`. The same `FromStr` parses both.

mod apply;
pub(crate) mod bypass;
pub(crate) mod declaration;
pub(crate) mod file;
pub(crate) mod reference;
pub(crate) mod sections;
pub(crate) mod serve;
mod text;
pub(crate) mod tls;
pub(crate) mod values;

pub(crate) use sections::Settings;

#[cfg(test)]
mod tests;
