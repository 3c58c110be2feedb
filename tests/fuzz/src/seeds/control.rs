//! Seeds of the target `control`.

use super::{SPLITS, Seed, seed};

const ROW: &str = r#"{"lcore":1,"local":"10.77.0.2:9001","peer":"[fd77::1]:40000","state":"ESTABLISHED","recv_queue":5,"send_queue":1460,"recv_window":65531,"rtt":1234,"rto":200000,"retransmits":3,"orphan":false"#;

pub fn seeds() -> Vec<Seed> {
    let ask = |name: &str, text: &str| seed(name, &[&[0], SPLITS, text.as_bytes()]);
    let respond = |name: &str, text: &str| seed(name, &[&[1], SPLITS, text.as_bytes()]);
    vec![
        ask("flows", "flows\n"),
        ask("flows-details", "flows details 10.0.0.1:80\n"),
        ask("flows-of-ipv6", "flows fd77::1 details\r\nflows\n"),
        ask("flows-of-a-port", "flows [fd77::1]:443"),
        ask("tap-start", "tap start 128 1048576 /tmp/a b.pcapng\n"),
        ask("tap-start-relative", "tap start 128 1 a\n"),
        ask("tap-stop", "tap stop\n"),
        ask("unknown", "dance\n"),
        ask("too-long", &"x".repeat(5000)),
        respond(
            "start",
            "{\"transport\":\"af-xdp\",\"lcores\":2,\"listen\":[\"10.77.0.2:9001\"]}\n{\"end\":true}\n",
        ),
        respond("row", &format!("{ROW}}}\n")),
        respond(
            "row-details",
            &format!("{ROW},\"in_flight\":1,\"send_window\":2,\"cwnd\":3,\"mss\":4}}\n"),
        ),
        respond("row-half-details", &format!("{ROW},\"in_flight\":1}}\n")),
        respond("error", "{\"error\":\"lcore 1: \\u001b[31m\"}\n"),
        respond(
            "recorded",
            "{\"written\":1,\"dropped\":2,\"over_limit\":0,\"bytes\":18446744073709551615}\n",
        ),
    ]
}
