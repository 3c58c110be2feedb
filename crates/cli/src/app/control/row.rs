//! The lines of a response.

use std::time::Duration;

use hioload_device::tap::TapReport;
use hioload_transport::FlowInfo;
use serde::{Deserialize, Serialize};

/// The first line of a response.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// The server's transport.
    pub transport: String,
    /// The number of its lcores.
    pub lcores: usize,
    /// Its endpoints.
    pub listen: Vec<String>,
}

/// The last line of a response.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ends {
    /// The response is complete.
    #[serde(default)]
    pub end: bool,
    /// Why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One connection. Sizes are bytes, times microseconds.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub lcore: u16,
    pub local: String,
    pub peer: String,
    /// The client, if the peer is a proxy that has named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    pub state: String,
    pub recv_queue: usize,
    pub send_queue: usize,
    pub recv_window: usize,
    /// `None` before the first measurement.
    pub rtt: Option<u64>,
    pub rto: u64,
    pub retransmits: u32,
    /// The server has closed it, and the peer has not.
    pub orphan: bool,
    #[serde(flatten)]
    pub details: Option<Details>,
}

/// Details, which a question has to ask for.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Details {
    pub in_flight: usize,
    pub send_window: usize,
    pub cwnd: usize,
    pub mss: usize,
}

/// The result of a recording.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
pub(crate) struct Recorded {
    pub written: u64,
    pub dropped: u64,
    pub over_limit: u64,
    pub bytes: u64,
}

impl From<TapReport> for Recorded {
    fn from(report: TapReport) -> Self {
        let TapReport {
            written,
            dropped,
            over_limit,
            bytes,
        } = report;
        Self {
            written,
            dropped,
            over_limit,
            bytes,
        }
    }
}

impl Recorded {
    pub(crate) fn text(&self) -> String {
        let Self { written, bytes, .. } = self;
        let mut text = format!("{written} packets recorded, {bytes} bytes");
        if self.dropped > 0 {
            text.push_str(&format!(
                "; {} dropped, because the writer was too slow",
                self.dropped
            ));
        }
        if self.over_limit > 0 {
            text.push_str(&format!(
                "; {} dropped after the file was full",
                self.over_limit
            ));
        }
        text
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Row {
    pub(crate) fn new(lcore: u16, flow: &FlowInfo) -> Self {
        Self {
            lcore,
            local: flow.local.to_string(),
            peer: flow.peer.to_string(),
            client: flow.client.map(|client| client.to_string()),
            state: flow.state.to_owned(),
            recv_queue: flow.recv_queue,
            send_queue: flow.send_queue,
            recv_window: flow.recv_window,
            rtt: flow.srtt.map(micros),
            rto: micros(flow.rto),
            retransmits: flow.retransmits,
            orphan: flow.orphan,
            details: flow.details.map(|details| Details {
                in_flight: details.in_flight,
                send_window: details.send_window,
                cwnd: details.cwnd,
                mss: details.mss,
            }),
        }
    }

    /// Two lines, as `ss -ti` prints them: state, queues and addresses in columns, then the rest.
    pub(crate) fn text(&self) -> String {
        let millis = |micros: u64| format!("{}.{:03}", micros / 1000, micros % 1000);
        let mut more = format!("lcore:{} rcv_wnd:{}", self.lcore, self.recv_window);
        if let Some(details) = &self.details {
            more.push_str(&format!(
                " snd_wnd:{} cwnd:{} mss:{} unacked:{}",
                details.send_window, details.cwnd, details.mss, details.in_flight
            ));
        }
        if let Some(rtt) = self.rtt {
            more.push_str(&format!(" rtt:{}", millis(rtt)));
        }
        more.push_str(&format!(
            " rto:{} retrans:{}",
            millis(self.rto),
            self.retransmits
        ));
        if let Some(client) = &self.client {
            more.push_str(&format!(" client:{client}"));
        }
        if self.orphan {
            more.push_str(" orphan");
        }
        format!(
            "{:<11} {:>7} {:>7} {:>25} {:>25}\n\t {more}",
            self.state, self.recv_queue, self.send_queue, self.local, self.peer
        )
    }

    /// The heading of the columns.
    pub(crate) fn heading() -> String {
        format!(
            "{:<11} {:>7} {:>7} {:>25} {:>25}",
            "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port"
        )
    }
}

#[cfg(test)]
mod tests {
    use hioload_transport::FlowDetails;

    use super::*;

    fn flow() -> FlowInfo {
        FlowInfo {
            local: "10.77.0.2:9001".parse().expect("an address"),
            peer: "[fd77::1]:40000".parse().expect("an address"),
            conn: (7, 1),
            client: None,
            state: "ESTABLISHED",
            recv_queue: 5,
            send_queue: 1460,
            recv_window: 65_531,
            srtt: Some(Duration::from_micros(1234)),
            rto: Duration::from_millis(200),
            retransmits: 3,
            orphan: false,
            details: Some(FlowDetails {
                in_flight: 1000,
                send_window: 64_000,
                cwnd: 14_600,
                mss: 1460,
            }),
        }
    }

    #[test]
    fn a_row_survives_serialization() {
        let brief = FlowInfo {
            details: None,
            ..flow()
        };
        let proxied = FlowInfo {
            client: "192.0.2.7:0".parse().ok(),
            ..flow()
        };
        assert!(
            Row::new(1, &proxied)
                .text()
                .ends_with(" client:192.0.2.7:0")
        );
        for flow in [flow(), brief, proxied] {
            let row = Row::new(1, &flow);
            let line = serde_json::to_string(&row).expect("JSON");
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Row>(&line).expect("a row"), row);
        }
    }

    #[test]
    fn a_recording_reports_the_packets_that_it_lacks() {
        let mut recorded = Recorded::from(TapReport {
            written: 7,
            bytes: 900,
            ..TapReport::default()
        });
        assert_eq!(recorded.text(), "7 packets recorded, 900 bytes");
        (recorded.dropped, recorded.over_limit) = (1, 2);
        assert!(
            recorded
                .text()
                .contains("1 dropped, because the writer was too slow; 2 dropped after")
        );
    }

    #[test]
    fn a_row_looks_like_that_of_ss() {
        let text = Row::new(1, &flow()).text();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(
            words,
            [
                "ESTABLISHED",
                "5",
                "1460",
                "10.77.0.2:9001",
                "[fd77::1]:40000",
                "lcore:1",
                "rcv_wnd:65531",
                "snd_wnd:64000",
                "cwnd:14600",
                "mss:1460",
                "unacked:1000",
                "rtt:1.234",
                "rto:200.000",
                "retrans:3"
            ]
        );
        let heading = Row::heading();
        let first = text.lines().next().expect("a line");
        assert_eq!(heading.len(), first.len(), "columns are aligned");
        let early = FlowInfo {
            srtt: None,
            orphan: true,
            details: None,
            ..flow()
        };
        let text = Row::new(0, &early).text();
        assert!(!text.contains("rtt:") && text.ends_with("retrans:3 orphan"));
    }
}
