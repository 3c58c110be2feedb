//! Which versions, cipher suites and key exchanges are allowed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{NamedGroup, ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion};

use crate::Error;

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Version {
    /// TLS 1.2 (RFC 5246), with the suites and extensions that RFC 9325 recommends.
    #[default]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err("expected 1.2 or 1.3: older versions are broken (RFC 8996)"),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        })
    }
}

/// A cipher suite, by its name in the IANA registry: `TLS_AES_128_GCM_SHA256`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Suite(SupportedCipherSuite);

impl Suite {
    /// All suites that there are, in the order of preference.
    pub fn all() -> impl Iterator<Item = Self> {
        aws_lc_rs::ALL_CIPHER_SUITES.iter().copied().map(Self)
    }
}

impl FromStr for Suite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |suite: &Self| suite.to_string().eq_ignore_ascii_case(text);
        Self::all().find(named).ok_or_else(|| {
            let all: Vec<String> = Self::all().map(|suite| suite.to_string()).collect();
            format!("expected one of {}", all.join(", "))
        })
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.suite().as_str().unwrap_or_default();
        // rustls prefixes the suites of TLS 1.3 differently from the registry.
        f.write_str(&name.replacen("TLS13_", "TLS_", 1))
    }
}

/// A key exchange, by its name in the IANA registry: `X25519MLKEM768`, `x25519`, `secp256r1`.
#[derive(Clone, Copy)]
pub struct Curve(&'static dyn SupportedKxGroup);

/// The names that other programs use.
const ALIASES: [(&str, NamedGroup); 3] = [
    ("P-256", NamedGroup::secp256r1),
    ("prime256v1", NamedGroup::secp256r1),
    ("P-384", NamedGroup::secp384r1),
];

impl Curve {
    /// All key exchanges that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        aws_lc_rs::ALL_KX_GROUPS.iter().copied().map(Self)
    }

    /// The default, in the order of preference. The first one is a hybrid with ML-KEM (FIPS 203), which browsers prefer.
    fn default_list() -> Vec<&'static dyn SupportedKxGroup> {
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1]
    }
}

impl FromStr for Curve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alias = ALIASES
            .iter()
            .find(|(alias, _)| alias.eq_ignore_ascii_case(text));
        let named = |curve: &Self| {
            alias.is_some_and(|(_, group)| curve.0.name() == *group)
                || curve.to_string().eq_ignore_ascii_case(text)
        };
        Self::all().find(named).ok_or_else(|| {
            let all: Vec<String> = Self::all().map(|curve| curve.to_string()).collect();
            format!("expected one of {}", all.join(", "))
        })
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name().as_str().unwrap_or_default())
    }
}

impl fmt::Debug for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Curve({self})")
    }
}

impl PartialEq for Curve {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

/// What both ends of a connection may use.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Policy {
    /// The lowest version.
    pub min_version: Version,
    /// The suites in the order of preference. Empty: all, in the order that the client prefers.
    pub suites: Vec<Suite>,
    /// The key exchanges in the order of preference. Empty: X25519MLKEM768, x25519, secp256r1, secp384r1.
    pub curves: Vec<Curve>,
}

/// A policy in the terms of rustls.
pub(crate) struct Allowed {
    pub provider: Arc<CryptoProvider>,
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

impl Policy {
    /// The policy in the terms of rustls. Versions without a suite are left out.
    ///
    /// # Errors
    /// No suite is left for the allowed versions, or no key exchange that TLS 1.2 knows.
    pub(crate) fn allowed(&self) -> Result<Allowed, Error> {
        let mut provider = aws_lc_rs::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites = self.suites.iter().map(|suite| suite.0).collect();
        }
        provider.kx_groups = if self.curves.is_empty() {
            Curve::default_list()
        } else {
            self.curves.iter().map(|curve| curve.0).collect()
        };
        let at_least = [
            (Version::Tls13, &rustls::version::TLS13),
            (Version::Tls12, &rustls::version::TLS12),
        ];
        let usable = |version: &&'static SupportedProtocolVersion| {
            let suites = provider.cipher_suites.iter();
            let mut suites = suites.map(|suite| suite.version().version);
            let groups = &provider.kx_groups;
            suites.any(|suite| suite == version.version)
                && groups
                    .iter()
                    .any(|group| group.usable_for_version(version.version))
        };
        let versions = at_least.into_iter();
        let versions = versions.filter(|(version, _)| *version >= self.min_version);
        let versions: Vec<_> = versions
            .map(|(_, version)| version)
            .filter(usable)
            .collect();
        if versions.is_empty() {
            let version = self.min_version;
            return Err(Error::new(format!(
                "no suite and key exchange that are allowed work with TLS {version} or later"
            )));
        }
        let has = |version| versions.iter().any(|allowed| allowed.version == version);
        let suites = &mut provider.cipher_suites;
        suites.retain(|suite| has(suite.version().version));
        debug_assert!(has(ProtocolVersion::TLSv1_3) || has(ProtocolVersion::TLSv1_2));
        Ok(Allowed {
            provider: Arc::new(provider),
            versions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(policy: &Policy) -> Option<Vec<ProtocolVersion>> {
        let allowed = policy.allowed().ok()?;
        Some(allowed.versions.iter().map(|one| one.version).collect())
    }

    #[test]
    fn suites_and_key_exchanges_have_the_names_of_the_registry() {
        let suites: Vec<String> = Suite::all().map(|suite| suite.to_string()).collect();
        assert_eq!(suites[0], "TLS_AES_256_GCM_SHA384");
        assert!(suites.contains(&"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256".to_owned()));
        for name in &suites {
            assert_eq!(&name.parse::<Suite>().expect("a suite").to_string(), name);
        }
        for (name, shown) in [
            ("x25519mlkem768", "X25519MLKEM768"),
            ("X25519", "X25519"),
            ("P-256", "secp256r1"),
            ("prime256v1", "secp256r1"),
            ("secp384r1", "secp384r1"),
        ] {
            assert_eq!(name.parse::<Curve>().expect(name).to_string(), shown);
        }
        let said = "TLS_RSA_WITH_AES_128_CBC_SHA"
            .parse::<Suite>()
            .expect_err("weak");
        assert!(said.contains("TLS_AES_128_GCM_SHA256"), "{said}");
        assert!("sect163k1".parse::<Curve>().is_err());
        assert!("1.1".parse::<Version>().is_err());
    }

    #[test]
    fn a_version_without_a_suite_is_not_offered() {
        use ProtocolVersion::{TLSv1_2, TLSv1_3};
        let suite = |name: &str| vec![name.parse().expect("a suite")];
        let mut policy = Policy::default();
        assert_eq!(versions(&policy), Some(vec![TLSv1_3, TLSv1_2]));
        policy.suites = suite("TLS_AES_128_GCM_SHA256");
        assert_eq!(versions(&policy), Some(vec![TLSv1_3]));
        policy.suites = suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(versions(&policy), Some(vec![TLSv1_2]));
        policy.min_version = Version::Tls13;
        assert_eq!(versions(&policy), None);
        // TLS 1.2 has no hybrid key exchange.
        let mut policy = Policy {
            curves: vec!["X25519MLKEM768".parse().expect("a curve")],
            ..Policy::default()
        };
        assert_eq!(versions(&policy), Some(vec![TLSv1_3]));
        policy.suites = suite("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(versions(&policy), None);
    }
}
