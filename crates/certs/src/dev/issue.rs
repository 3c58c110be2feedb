//! Issues a development certificate: an authority, and a certificate of it.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use crate::Error;
use crate::names::Name;

/// Days for which a development certificate is valid.
pub const DEV_DAYS: u32 = 365;
/// The names that a development certificate has besides those that are wanted.
const NAMES: [&str; 4] = ["localhost", "*.localhost", "127.0.0.1", "::1"];

/// The organization in the name of each authority that this program makes.
pub(super) const ORGANIZATION: &str = "hioload development";

/// What is written: PEM.
pub(super) struct Issued {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: Zeroizing<String>,
}

/// Makes an authority and its certificate for `names` and this machine. The key of the authority is dropped.
///
/// # Errors
/// A name is not one.
pub(super) fn issue(names: &[String], now: SystemTime) -> Result<Issued, Error> {
    // An hour before, because clocks differ; Apple's systems refuse more than 825 days.
    let begin = now - Duration::from_secs(3600);
    let end = begin + Duration::from_secs(u64::from(DEV_DAYS) * 86_400);
    let machine = machine();
    let (ca, issuer) = authority(&machine, begin, end).map_err(|why| wrong(&why))?;
    let params = leaf(names, machine, begin, end)?;
    let key = KeyPair::generate().map_err(|why| wrong(&why))?;
    let certificate = params.signed_by(&key, &issuer).map_err(|why| wrong(&why))?;
    Ok(Issued {
        ca: ca.pem(),
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

fn wrong(why: &rcgen::Error) -> Error {
    Error::new(format!("cannot make a certificate: {why}"))
}

fn authority(
    machine: &str,
    begin: SystemTime,
    end: SystemTime,
) -> Result<(Certificate, Issuer<'static, KeyPair>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.not_before = begin.into();
    params.not_after = end.into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let name = &mut params.distinguished_name;
    *name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name.push(
        DnType::CommonName,
        format!("hioload development authority on {machine}"),
    );
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}

/// What is to be certified.
fn leaf(
    names: &[String],
    machine: String,
    begin: SystemTime,
    end: SystemTime,
) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    for name in NAMES.into_iter().chain(names.iter().map(String::as_str)) {
        let name = alternative_name(name)?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    // A machine's name that no certificate can have is left out.
    params
        .subject_alt_names
        .extend(alternative_name(&machine).ok());
    params.not_before = begin.into();
    params.not_after = end.into();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, machine);
    Ok(params)
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let wrong = |why: &str| Error::new(format!("{name:?}: {why}"));
    let checked: Name = name.parse().map_err(wrong)?;
    let text = checked
        .to_string()
        .try_into()
        .map_err(|_| wrong("it is not ASCII"))?;
    Ok(SanType::DnsName(text))
}

/// The name of this machine.
fn machine() -> String {
    #[cfg(unix)]
    if let Ok(name) = rustix::system::uname().nodename().to_str()
        && !name.is_empty()
    {
        return name.to_owned();
    }
    "localhost".to_owned()
}
