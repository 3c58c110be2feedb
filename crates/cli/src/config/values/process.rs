//! Values about the process: its CPUs, its control socket, its log.

use std::path::PathBuf;
use std::str::FromStr;

use hioload_lcore::topology::parse_cpu_list;
use hioload_ws::Lcores;
use tracing::level_filters::LevelFilter;

/// Which CPUs the lcores run on: `all`, a count, a list or range of CPUs, or `cpu:N` for a single one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LcoreSet(pub Lcores);

pub(super) const MAX_LCORES: usize = hioload_engine::MAX_LCORES;
const _: () = assert!(MAX_LCORES == 256, "the error text names it");

impl FromStr for LcoreSet {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a count (2), CPUs (0,1 or 0-3,8), one CPU (cpu:3) or all";
        if text == "all" {
            return Ok(Self(Lcores::Auto));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse() {
                Ok(count @ 1..=MAX_LCORES) => Ok(Self(Lcores::Count(count))),
                _ => Err("a count is from 1 to 256"),
            };
        }
        let list = text.strip_prefix("cpu:").unwrap_or(text);
        match parse_cpu_list(list) {
            Ok(cpus) if !cpus.is_empty() => Ok(Self(Lcores::Cpus(cpus))),
            _ => Err(EXPECTED),
        }
    }
}

/// The path of the control socket: `auto`, `none`, or a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Control {
    /// The default path, where `hioload flows` finds it.
    Auto,
    /// No control socket.
    None,
    /// This path.
    At(PathBuf),
}

impl FromStr for Control {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected a path, auto or none"),
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            path => Ok(Self::At(PathBuf::from(path))),
        }
    }
}

/// The permission bits of a Unix socket, or `umask`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UnixMode(pub Option<u32>);

impl FromStr for UnixMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "umask" {
            return Ok(Self(None));
        }
        // A number of the file has lost its notation: 0o660 arrives here as 432. Only a quoted text begins with 0.
        let octal = text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(mode @ 0..=0o777) if octal => Ok(Self(Some(mode))),
            _ => Err("expected an octal mode with a leading 0 such as \"0660\", or umask"),
        }
    }
}

/// The group of a Unix socket by name or number, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnixGroup(pub Option<String>);

impl FromStr for UnixGroup {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected the name or the number of a group, or none"),
            "none" => Ok(Self(None)),
            group => Ok(Self(Some(group.to_owned()))),
        }
    }
}

/// A log level, or a filter such as `info,hioload_engine=debug`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LogFilter(pub String);

impl FromStr for LogFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected off, error, warn, info, debug, trace or a filter such as \
             warn,hioload_engine=debug";
        // The parser of filters accepts any word as the name of a module. Here a word without `=` must be a level.
        let words = text.split(',').filter(|part| !part.contains(['=', '[']));
        for word in words {
            LevelFilter::from_str(word.trim()).map_err(|_| EXPECTED)?;
        }
        if text.split(',').any(|part| part.trim().is_empty()) {
            return Err(EXPECTED);
        }
        match tracing_subscriber::EnvFilter::builder().parse(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(EXPECTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lcore_sets() {
        let some = |lcores| Ok(LcoreSet(lcores));
        assert_eq!("all".parse(), some(Lcores::Auto));
        assert_eq!("2".parse(), some(Lcores::Count(2)));
        assert_eq!("cpu:3".parse(), some(Lcores::Cpus(vec![3])));
        assert_eq!("0,1".parse(), some(Lcores::Cpus(vec![0, 1])));
        assert_eq!("0-3,8".parse(), some(Lcores::Cpus(vec![0, 1, 2, 3, 8])));
        for text in ["", "0", "257", "x", "cpu:", "3-1", "-1", "99999999"] {
            assert!(text.parse::<LcoreSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_log_level_is_an_error() {
        for text in [
            "info",
            "WARN",
            "off",
            "warn,hioload_engine=debug",
            "hioload_engine=trace",
        ] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
        for text in ["inof", "", "warn,debgu", "hioload=loud"] {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_access_to_unix_sockets() {
        assert_eq!("0660".parse(), Ok(UnixMode(Some(0o660))));
        assert_eq!("0".parse(), Ok(UnixMode(Some(0))));
        assert_eq!("umask".parse(), Ok(UnixMode(None)));
        for text in ["", "rw", "01777", "08", "+7", "0o660", "432", "660"] {
            assert!(text.parse::<UnixMode>().is_err(), "{text}");
        }
        assert_eq!("none".parse(), Ok(UnixGroup(None)));
        assert_eq!("www-data".parse(), Ok(UnixGroup(Some("www-data".into()))));
        assert!("".parse::<UnixGroup>().is_err());
    }

    #[test]
    fn control_sockets() {
        assert_eq!("auto".parse(), Ok(Control::Auto));
        assert_eq!("/x".parse(), Ok(Control::At("/x".into())));
        assert!("".parse::<Control>().is_err());
    }
}
