//! Chooses the certificate that answers a client.

use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::names::NameTable;
use crate::pair::Pair;

/// What a client gets that asks for a name that no certificate has, or for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UnknownName {
    /// The first certificate.
    #[default]
    First,
    /// The alert `unrecognized_name` (RFC 6066 §3).
    Refuse,
}

/// The certificates by name.
#[derive(Debug)]
pub(crate) struct Resolver {
    keys: Vec<Arc<CertifiedKey>>,
    names: NameTable,
    unknown: UnknownName,
    /// The certificates for an unknown name: the first one, and others with its names and keys of other kinds.
    first: Vec<usize>,
}

impl Resolver {
    pub(crate) fn new(pairs: &[Pair], unknown: UnknownName) -> Self {
        let mut names = NameTable::default();
        for (n, pair) in pairs.iter().enumerate() {
            for name in &pair.report.names {
                names.add(name, n);
            }
        }
        let all = pairs.iter().enumerate();
        let like_first = all.filter(|(_, pair)| pair.report.names == pairs[0].report.names);
        let first = like_first.map(|(n, _)| n).collect();
        Self {
            keys: pairs.iter().map(|pair| Arc::clone(&pair.key)).collect(),
            names,
            unknown,
            first,
        }
    }

    /// The certificates for a name, in the order of preference. Empty: the client is refused.
    fn candidates(&self, name: Option<&str>) -> &[usize] {
        let found = name.map_or(&[][..], |name| self.names.find(name));
        match self.unknown {
            _ if !found.is_empty() => found,
            UnknownName::First => &self.first,
            UnknownName::Refuse => &[],
        }
    }
}

impl ResolvesServerCert for Resolver {
    /// The first certificate of the name whose key the client can verify, or the first one if it can verify none: rustls then says why.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let keys = || candidates.iter().filter_map(|n| self.keys.get(*n));
        let verifiable =
            keys().find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some());
        verifiable.or_else(|| keys().next()).cloned()
    }
}
