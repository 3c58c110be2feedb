//! What a certificate says (RFC 5280), as plain values.

use std::fmt::Write;
use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use crate::files::sha256;
use crate::names::Name;

/// The contents of a certificate that a server shows to its operator.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub subject: String,
    pub issuer: String,
    /// The names of hosts that it is for, without those that no client can ask for.
    pub names: Vec<Name>,
    /// The addresses that it is for.
    pub addresses: Vec<IpAddr>,
    /// Begin and end of its validity, in seconds since 1970.
    pub not_before: i64,
    pub not_after: i64,
    pub is_ca: bool,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is not an X.509 certificate.
    pub(crate) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = parse(der)?;
        let alternatives = alternative_names(&parsed);
        let names = alternatives.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            _ => None,
        });
        Ok(Self {
            subject: distinguished_name(parsed.subject()),
            issuer: distinguished_name(parsed.issuer()),
            names: names.collect(),
            addresses: alternatives.iter().filter_map(address).collect(),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            is_ca: parsed.is_ca(),
        })
    }
}

/// The subject of a client's certificate that the server has verified.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Identity {
    /// The distinguished name as text (RFC 4514): special characters are escaped, so that no value can imitate another attribute. Empty if
    /// the certificate has only alternative names.
    pub subject: String,
    /// The last common name of the subject, without escapes.
    pub common_name: Option<String>,
    /// The host names of the certificate (subjectAltName).
    pub dns_names: Vec<String>,
    /// Its URIs, such as a SPIFFE ID.
    pub uris: Vec<String>,
    /// Its mail addresses.
    pub emails: Vec<String>,
    /// The distinguished name of the issuer.
    pub issuer: String,
    /// The serial number, in hexadecimal. It is unique for an issuer.
    pub serial: String,
    /// The SHA-256 digest of the certificate, in hexadecimal.
    pub fingerprint: String,
}

impl Identity {
    /// Reads the subject of a certificate that has been verified: the first one of the peer's chain.
    ///
    /// # Errors
    /// It is not an X.509 certificate. A certificate that rustls has verified always is one.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = parse(certificate)?;
        let mut identity = Self {
            subject: distinguished_name(parsed.subject()),
            common_name: common_name(parsed.subject()),
            dns_names: Vec::new(),
            uris: Vec::new(),
            emails: Vec::new(),
            issuer: distinguished_name(parsed.issuer()),
            serial: hex(parsed.raw_serial()),
            fingerprint: fingerprint(certificate),
        };
        for name in alternative_names(&parsed) {
            match name {
                GeneralName::DNSName(name) => identity.dns_names.push(name.to_owned()),
                GeneralName::URI(uri) => identity.uris.push(uri.to_owned()),
                GeneralName::RFC822Name(email) => identity.emails.push(email.to_owned()),
                _ => {}
            }
        }
        Ok(identity)
    }
}

/// The SHA-256 digest of a certificate, in hexadecimal.
pub(crate) fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    hex(&sha256(certificate))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err("bytes follow the certificate".to_owned()),
        Err(why) => Err(format!("it is not an X.509 certificate: {why}")),
    }
}

fn alternative_names<'a>(certificate: &'a X509Certificate<'_>) -> Vec<GeneralName<'a>> {
    let found = certificate.subject_alternative_name().ok().flatten();
    found.map_or_else(Vec::new, |extension| extension.value.general_names.clone())
}

fn address(name: &GeneralName<'_>) -> Option<IpAddr> {
    let GeneralName::IPAddress(bytes) = name else {
        return None;
    };
    let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
        .ok()
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let last = name.iter_common_name().last()?;
    last.as_str().ok().map(str::to_owned)
}

/// RFC 4514 §2.1: the sequence in reverse order, "the elements are separated by a comma".
fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut all: Vec<String> = name
        .iter_rdn()
        .map(|set| {
            // RFC 4514 §2.2: the attributes of one element are separated by a plus sign.
            let attributes: Vec<String> = set.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    all.reverse();
    all.join(",")
}

/// RFC 4514 §3: the types that have a short name.
const SHORT: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// `CN=a.example`, or `1.2.3=#0c0161` for a type without a short name and for a value that is no text.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid);
    match (short, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => format!("{name}={}", escaped(value)),
        _ => {
            let value = attribute.attr_value().to_der_vec().unwrap_or_default();
            let name = short.map_or(oid.as_str(), |(_, name)| name);
            format!("{name}=#{}", hex(&value))
        }
    }
}

/// RFC 4514 §2.4. Control characters are escaped too, so that the text is always one line.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (n, c) in value.chars().enumerate() {
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' | '=' => {
                text.push('\\');
                text.push(c);
            }
            ' ' if n == 0 || n == last => text.push_str("\\ "),
            '#' if n == 0 => text.push_str("\\#"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "\\{byte:02x}");
                }
            }
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn identity(set: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        params.distinguished_name = rcgen::DistinguishedName::new();
        set(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Identity::of(certificate.der()).expect("X.509")
    }

    #[test]
    fn a_value_cannot_imitate_another_attribute() {
        let identity = identity(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::OrganizationName, "Example");
            name.push(DnType::CommonName, "admin,O=Other\n ");
        });
        assert_eq!(identity.subject, "CN=admin\\,O\\=Other\\0a\\ ,O=Example");
        assert_eq!(identity.common_name.as_deref(), Some("admin,O=Other\n "));
    }

    #[test]
    fn alternative_names_are_told_apart() {
        let identity = identity(|params| {
            let uri = "spiffe://example.org/a".try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::URI(uri));
            let email = "me@example.org".try_into().expect("ASCII");
            params.subject_alt_names.push(SanType::Rfc822Name(email));
        });
        assert_eq!(identity.subject, "");
        assert_eq!(identity.common_name, None);
        assert_eq!(identity.dns_names, ["a.example"]);
        assert_eq!(identity.uris, ["spiffe://example.org/a"]);
        assert_eq!(identity.emails, ["me@example.org"]);
        assert_eq!(identity.fingerprint.len(), 64);
    }

    #[test]
    fn a_type_without_a_short_name_is_a_number() {
        let identity = identity(|params| {
            params
                .distinguished_name
                .push(DnType::CustomDnType(vec![1, 2, 3]), "a");
        });
        assert_eq!(identity.subject, "1.2.3=#0c0161");
    }

    #[test]
    fn values_are_escaped_as_rfc_4514_says() {
        // The examples of RFC 4514 §4.
        assert_eq!(
            escaped("James \"Jim\" Smith, III"),
            "James \\\"Jim\\\" Smith\\, III"
        );
        assert_eq!(escaped("Before\rAfter"), "Before\\0dAfter");
        assert_eq!(escaped("#x #"), "\\#x #");
        assert_eq!(escaped(" "), "\\ ");
    }

    #[test]
    fn other_bytes_are_no_certificate() {
        assert!(Certificate::parse(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])).is_err());
    }
}
