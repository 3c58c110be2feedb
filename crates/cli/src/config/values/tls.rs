//! Values of the settings for TLS.

use std::path::PathBuf;
use std::str::FromStr;

use hioload_certs::{Curve, PairFiles, Suite, Version};

use super::Accepts;

/// The files of a certificate, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TlsCertificate(pub Option<PairFiles>);

impl FromStr for TlsCertificate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            files => files.parse().map(|files| Self(Some(files))),
        }
    }
}

impl Accepts for TlsCertificate {
    fn accepts() -> String {
        "CERTIFICATE,KEY[,NAME...], a file or a folder with both, or none".to_owned()
    }
}

/// A cipher suite, or `all`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct TlsSuite(pub Option<Suite>);

impl FromStr for TlsSuite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self(None)),
            name => name.parse().map(|suite| Self(Some(suite))),
        }
    }
}

impl Accepts for TlsSuite {
    fn accepts() -> String {
        let all: Vec<String> = Suite::all().map(|suite| suite.to_string()).collect();
        format!("{}, or all", all.join(", "))
    }
}

/// A key exchange, or `auto`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct TlsCurve(pub Option<Curve>);

impl FromStr for TlsCurve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self(None)),
            name => name.parse().map(|curve| Self(Some(curve))),
        }
    }
}

impl Accepts for TlsCurve {
    fn accepts() -> String {
        let all: Vec<String> = Curve::all().map(|curve| curve.to_string()).collect();
        format!("{}, or auto", all.join(", "))
    }
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TlsVersion(pub Version);

impl FromStr for TlsVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Accepts for TlsVersion {
    fn accepts() -> String {
        "\"1.2\" or \"1.3\"".to_owned()
    }
}

/// The keys of session tickets: `own`, `off`, or the path of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TlsTickets {
    /// Those of the process.
    Own,
    /// There are no tickets.
    Off,
    /// Those of a file.
    Shared(PathBuf),
}

impl FromStr for TlsTickets {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected own, off, or the path of a file"),
            "own" => Ok(Self::Own),
            "off" => Ok(Self::Off),
            path => Ok(Self::Shared(path.into())),
        }
    }
}

impl Accepts for TlsTickets {
    fn accepts() -> String {
        "own, off, or the path of a file".to_owned()
    }
}

/// The path of a file, or `none`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OptionalPath(pub Option<PathBuf>);

impl FromStr for OptionalPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "" => Err("expected the path of a file, or none"),
            "none" => Ok(Self(None)),
            path => Ok(Self(Some(path.into()))),
        }
    }
}

impl Accepts for OptionalPath {
    fn accepts() -> String {
        "the path of a file, or none".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_stands_for_the_absence_of_each() {
        assert_eq!("none".parse(), Ok(TlsCertificate(None)));
        assert_eq!("all".parse(), Ok(TlsSuite(None)));
        assert_eq!("auto".parse(), Ok(TlsCurve(None)));
        assert_eq!("none".parse(), Ok(OptionalPath(None)));
        assert_eq!("off".parse(), Ok(TlsTickets::Off));
        assert_eq!("/x".parse(), Ok(TlsTickets::Shared("/x".into())));
        assert!("TLS_NULL".parse::<TlsSuite>().is_err());
        assert!("".parse::<TlsTickets>().is_err());
        assert!("".parse::<TlsCertificate>().is_err());
        assert!("1.0".parse::<TlsVersion>().is_err());
    }
}
