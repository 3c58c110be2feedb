//! When certificates expire, and when that is logged.

use crate::pair::CertificateReport;

const DAY: i64 = 86_400;
/// Whole days before the end at which the log has a line.
const NOTICES: [i64; 3] = [30, 7, 1];

impl CertificateReport {
    /// Whole days until the certificate, or one of its chain, expires. Negative: it has.
    pub fn days_left(&self, now: u64) -> i64 {
        (self.not_after - now as i64).div_euclid(DAY)
    }

    /// What an operator should do, if anything: it expires in at most 30 days, has expired, or is not valid yet.
    pub fn concern(&self, now: u64) -> Option<String> {
        let path = self.path.display();
        let days = self.days_left(now);
        if self.not_before > now as i64 {
            let days = (self.not_before - now as i64).div_euclid(DAY) + 1;
            return Some(format!(
                "{path}: the certificate is not valid yet, for {days} days: clients refuse it"
            ));
        }
        match days {
            ..0 => Some(format!(
                "{path}: the certificate has expired: clients refuse it"
            )),
            0 => Some(format!("{path}: the certificate expires within a day")),
            1..=30 => Some(format!("{path}: the certificate expires in {days} days")),
            _ => None,
        }
    }
}

/// Which notices have been given. One is given when it falls due, and again after a start.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    /// The digest of each certificate and its last notice.
    given: Vec<(String, i64)>,
}

impl Notices {
    /// The lines that are due.
    pub(crate) fn due(&mut self, certificates: &[CertificateReport], now: u64) -> Vec<String> {
        self.given.retain(|(known, _)| {
            certificates
                .iter()
                .any(|report| report.fingerprint == *known)
        });
        let mut lines = Vec::new();
        for report in certificates {
            let Some(line) = report.concern(now) else {
                continue;
            };
            let step = step(report.days_left(now));
            let known = self
                .given
                .iter_mut()
                .find(|(known, _)| *known == report.fingerprint);
            match known {
                Some((_, last)) if *last == step => {}
                Some((_, last)) => {
                    *last = step;
                    lines.push(line);
                }
                None => {
                    self.given.push((report.fingerprint.clone(), step));
                    lines.push(line);
                }
            }
        }
        lines
    }
}

/// The step of the notices that a number of days belongs to. After the end there is one each day.
fn step(days: i64) -> i64 {
    if days < 0 {
        return days;
    }
    let reached = NOTICES.into_iter().filter(|notice| days <= *notice);
    reached.min().unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(not_after: i64) -> CertificateReport {
        CertificateReport {
            path: "/c.pem".into(),
            subject: "CN=a".into(),
            issuer: "CN=b".into(),
            names: vec![],
            fingerprint: not_after.to_string(),
            not_before: 0,
            not_after,
        }
    }

    #[test]
    fn a_notice_is_given_at_30_7_and_1_days_and_daily_after_the_end() {
        let mut notices = Notices::default();
        let certificates = [report(100 * DAY)];
        let days: Vec<i64> = (0..104)
            .filter(|day| !notices.due(&certificates, (day * DAY) as u64).is_empty())
            .collect();
        assert_eq!(days, [70, 93, 99, 101, 102, 103]);
    }

    #[test]
    fn a_renewed_certificate_begins_anew() {
        let mut notices = Notices::default();
        let now = (80 * DAY) as u64;
        assert_eq!(
            notices.due(&[report(100 * DAY)], now),
            ["/c.pem: the certificate expires in 20 days"]
        );
        assert_eq!(notices.due(&[report(100 * DAY)], now), [] as [String; 0]);
        assert_eq!(notices.due(&[report(300 * DAY)], now), [] as [String; 0]);
        assert!(notices.given.is_empty());
    }

    #[test]
    fn days_are_whole() {
        for (left, days, concern) in [
            (31 * DAY, 31, None),
            (31 * DAY - 1, 30, Some("expires in 30 days")),
            (DAY - 1, 0, Some("within a day")),
            (0, 0, Some("within a day")),
            (-1, -1, Some("has expired")),
        ] {
            let report = report(1_000_000 + left);
            assert_eq!(report.days_left(1_000_000), days);
            let said = report.concern(1_000_000);
            assert_eq!(said.is_some(), concern.is_some());
            assert!(
                said.unwrap_or_default()
                    .contains(concern.unwrap_or_default())
            );
        }
        let mut early = report(1_000_000);
        early.not_before = 500_000;
        assert!(
            early
                .concern(0)
                .expect("a concern")
                .contains("not valid yet")
        );
    }
}
