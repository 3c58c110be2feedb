//! The certificates and keys of a server.

use std::time::{SystemTime, UNIX_EPOCH};

use hioload_certs::{CertificateReport, ServerTls};

use super::Findings;
use crate::config::tls::TlsSettings;

/// Reads the files as the server does, and lists what is in them.
pub(super) fn look(findings: &mut Findings, settings: &TlsSettings) {
    if !settings.is_on() {
        return findings.note("TLS", "off", "set tls_certificate in [tls]");
    }
    let loaded = settings
        .for_check()
        .and_then(|options| ServerTls::load(options).map_err(|why| why.to_string()));
    let tls = match loaded {
        Ok(tls) => tls,
        Err(why) => return findings.missing("TLS", why, "correct the file or the setting"),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_secs());
    for certificate in tls.certificates() {
        certificate_of(findings, &certificate, now);
    }
    for warning in tls.warnings() {
        findings.note("TLS", warning, "");
    }
    if let Some(concern) = tls.ticket_concern() {
        findings.note("tickets", concern, "");
    }
}

fn certificate_of(findings: &mut Findings, certificate: &CertificateReport, now: u64) {
    let names: Vec<String> = certificate.names.iter().map(ToString::to_string).collect();
    let days = certificate.days_left(now);
    match certificate.concern(now) {
        Some(concern) if days < 0 => findings.missing("certificate", concern, "renew it"),
        Some(concern) => findings.note("certificate", concern, "renew it"),
        None => findings.ok(
            "certificate",
            format!(
                "{} for {}: {days} days left",
                certificate.path.display(),
                names.join(", ")
            ),
        ),
    }
}
