use super::*;

/// 10.0.0.0/8 and fd00::/8 are proxies.
fn is_proxy(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 10,
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    }
}

fn x(values: &[&str]) -> Result<Said, Malformed> {
    x_forwarded_for(values.iter().map(|value| value.as_bytes()), is_proxy)
}

fn f(values: &[&str]) -> Result<Said, Malformed> {
    forwarded(values.iter().map(|value| value.as_bytes()), is_proxy)
}

fn client(addr: &str) -> Result<Said, Malformed> {
    Ok(Said::Client(addr.parse().unwrap()))
}

#[test]
fn the_client_is_the_rightmost_address_that_is_no_proxys() {
    for (values, expected) in [
        (&["192.0.2.1"][..], client("192.0.2.1:0")),
        (&["192.0.2.1:4711"], client("192.0.2.1:4711")),
        (&["2001:db8::1"], client("[2001:db8::1]:0")),
        (&["[2001:db8::1]"], client("[2001:db8::1]:0")),
        (&["[2001:db8::1]:80"], client("[2001:db8::1]:80")),
        (&["::ffff:192.0.2.1"], client("192.0.2.1:0")),
        (&["6.6.6.6, 192.0.2.1"], client("192.0.2.1:0")),
        (
            &["6.6.6.6,192.0.2.1,10.0.0.1 ,\t10.0.0.2"],
            client("192.0.2.1:0"),
        ),
        (
            &["6.6.6.6", "192.0.2.1", "10.0.0.1", "fd00::1"],
            client("192.0.2.1:0"),
        ),
        // The client's own text does not matter, whatever it is.
        (&["\", garbage\0, 192.0.2.1"], client("192.0.2.1:0")),
        (&["nonsense", "192.0.2.1"], client("192.0.2.1:0")),
        (
            &["10.0.0.9, nonsense, 192.0.2.1, 10.0.0.1"],
            client("192.0.2.1:0"),
        ),
        // All are proxies: the leftmost is the client.
        (&["10.0.0.3, 10.0.0.2", "10.0.0.1"], client("10.0.0.3:0")),
        (&["unknown"], Ok(Said::Nothing)),
        (&["6.6.6.6, Unknown, 10.0.0.1"], Ok(Said::Nothing)),
        (&[""], Ok(Said::Nothing)),
        (&[" , ,", ""], Ok(Said::Nothing)),
        (&[], Ok(Said::Nothing)),
    ] {
        assert_eq!(x(values), expected, "{values:?}");
    }
    for element in [
        "nonsense",
        "192.0.2",
        "192.0.2.1:",
        "192.0.2.1:+80",
        "192.0.2.1:65536",
        "192.0.2.1:80:80",
        "192.0.2.1 80",
        "192.0.2.1/24",
        "[192.0.2.1]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "fe80::1%eth0",
        "\"192.0.2.1\"",
        "for=192.0.2.1",
        "_hidden",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "ff02::1",
        "::",
    ] {
        assert_eq!(x(&[element]), Err(Malformed), "{element}");
        let behind = format!("192.0.2.1, {element}, 10.0.0.1");
        assert_eq!(x(&[&behind]), Err(Malformed), "{behind}");
    }
}

#[test]
fn forwarded_follows_the_grammar_of_rfc_7239() {
    for (values, expected) in [
        // The examples of RFC 7239 §4 and §7.1.
        (&["for=\"_gazonk\""][..], Ok(Said::Nothing)),
        (
            &["For=\"[2001:db8:cafe::17]:4711\""],
            client("[2001:db8:cafe::17]:4711"),
        ),
        (
            &["for=192.0.2.60;proto=http;by=203.0.113.43"],
            client("192.0.2.60:0"),
        ),
        (
            &["for=192.0.2.43, for=198.51.100.17"],
            client("198.51.100.17:0"),
        ),
        (
            &["for=192.0.2.43, for=\"[2001:db8:cafe::17]\""],
            client("[2001:db8:cafe::17]:0"),
        ),
        (
            &["for=192.0.2.43,for=\"[2001:db8:cafe::17]\",for=unknown"],
            Ok(Said::Nothing),
        ),
        (&["for=_hidden, for=_SEVKISEK"], Ok(Said::Nothing)),
        // White space, empty pairs and elements, other parameters, ports.
        (
            &[" ,; for=\"192.0.2.1:80\" ; by=_x;;, ,for=10.0.0.1"],
            client("192.0.2.1:80"),
        ),
        (&["for=\"192.0.2.1:_obf\""], client("192.0.2.1:0")),
        (&["for=\"unknown:80\""], Ok(Said::Nothing)),
        (
            &["host=\"a,for=6.6.6.6;\\\"\";for=192.0.2.1"],
            client("192.0.2.1:0"),
        ),
        (&["proto=https;by=\"10.0.0.1\""], Ok(Said::Nothing)),
        (
            &["for=6.6.6.6", "for=192.0.2.1", "for=10.0.0.1;by=10.0.0.2"],
            client("192.0.2.1:0"),
        ),
        // A field of the client that does not end does not reach the proxy's field.
        (
            &["for=6.6.6.6;x=\"", "for=192.0.2.1"],
            client("192.0.2.1:0"),
        ),
        (&["nonsense", "for=192.0.2.1"], client("192.0.2.1:0")),
        (&[], Ok(Said::Nothing)),
    ] {
        assert_eq!(f(values), expected, "{values:?}");
    }
    for value in [
        "nonsense",
        "for=",
        "for=\"",
        "for=\"192.0.2.1",
        "for=\"192.0.2.1\\",
        "for=\"192.0.2.1\\\"",
        "for=\"192.0.2\\.1\"",
        "for=2001:db8::1",
        "for=[2001:db8::1]",
        "for=\"2001:db8::1\"",
        "for=192.0.2.1:80",
        "for = 192.0.2.1",
        "for=192.0.2.1 by=10.0.0.1",
        "for=\"192.0.2.1\"x",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;FOR=192.0.2.1",
        "for=\"_\"",
        "for=\"_a b\"",
        "=192.0.2.1",
        "for=0.0.0.0",
    ] {
        assert_eq!(f(&[value]), Err(Malformed), "{value}");
    }
}

/// A client sends the begin of a quoted string, into which the proxy's element would fall.
#[test]
fn a_quote_of_the_client_does_not_hide_the_element_of_the_proxy() {
    for theirs in [
        "for=6.6.6.6;x=\"",
        "for=6.6.6.6;x=\"\\",
        "for=\"",
        "x=\"a\", for=6.6.6.6, y=\"",
    ] {
        for ours in [
            "for=192.0.2.1",
            "for=\"[2001:db8::1]\"",
            "for=\"_a\";by=\"_b\"",
            "by=\"_a\";for=192.0.2.1",
        ] {
            let value = format!("{theirs}, {ours}");
            assert_eq!(f(&[&value]), Err(Malformed), "{value}");
        }
    }
}
