//! Floods of requests, forged names, and claims on our addresses.

use super::*;

/// A request for our address from this host.
fn request_from(mac: [u8; 6], sender: [u8; 4]) -> Vec<u8> {
    arp_frame(ether::BROADCAST, None, Arp::request(mac, sender, HERE4))
}

/// Requests of strangers, each with a MAC address of its own.
fn strangers(n: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..n).map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        request_from([6, a, b, c, d, 1], [10, 78, c, d])
    })
}

#[test]
fn the_gateway_is_known_from_the_start() {
    let mut host = Host::behind_router();
    let asked = host.due(ms(0));
    let asked: Vec<_> = asked
        .iter()
        .filter_map(|frame| Arp::parse(&frame[14..]))
        .collect();
    assert!(
        asked.contains(&Arp::request(MAC, HERE4, ROUTER4)),
        "{asked:?}"
    );
    // It was off, and comes later.
    for second in 1..10 {
        host.due(ms(second * 1000));
    }
    host.action(&request_from(OTHER, ROUTER4), ms(20_000));
    let asked = host.due(ms(20_000));
    assert_eq!(asked.len(), 1);
    let reply = Arp::request(MAC, HERE4, ROUTER4).reply(OTHER);
    let reply = arp_frame(MAC, None, reply);
    assert_eq!(
        host.action(&reply, ms(20_001)),
        Action::Learned(ROUTER4.into())
    );
}

#[test]
fn a_flood_of_strangers_leaves_the_answers_of_the_gateway_and_of_known_hosts() {
    let mut host = Host::behind_router();
    host.due(ms(0));
    let learn = |host: &mut Host, ip: [u8; 4], mac| {
        host.responder.resolve(ip.into(), ms(0));
        host.due(ms(0));
        let reply = Arp::request(MAC, HERE4, ip).reply(mac);
        let learned = host.action(&arp_frame(MAC, None, reply), ms(1));
        assert_eq!(learned, Action::Learned(ip.into()));
    };
    let (router, neighbour) = ([2, 0, 0, 0, 0, 0xfe], [2, 0, 0, 0, 0, 0xaa]);
    learn(&mut host, ROUTER4, router);
    learn(&mut host, [10, 77, 0, 7], neighbour);
    // 20,000 requests a second, for two seconds.
    let (mut answered, mut of_router, mut of_neighbour, mut of_client) = (0, 0, 0, 0);
    for window in 1..=20 {
        let now = ms(window * 100);
        answered += host.answered(strangers(2000), now);
        of_router += host.answered([request_from(router, ROUTER4)], now);
        of_neighbour += host.answered([request_from(neighbour, [10, 77, 0, 7])], now);
        host.proven = true;
        of_client += host.answered([request_from([2, 0, 0, 0, 0, 0xcc], [10, 77, 0, 8])], now);
        host.proven = false;
    }
    assert_eq!((of_router, of_neighbour, of_client), (20, 20, 20));
    assert!((20 * 50..=20 * 100).contains(&answered), "{answered}");
    let limited = host.responder.counters().discovery_limited;
    assert_eq!(limited, 20 * 2000 - answered as u64);
    // The same in neighbour discovery, whose budgets are the same.
    let now = ms(20_000);
    host.answered(strangers(2000), now);
    assert_eq!(host.answered([solicitation("fd77::2")], now), 0);
    host.proven = true;
    assert_eq!(host.answered([solicitation("fd77::2")], now), 1);
}

#[test]
fn a_flood_from_one_host_does_not_take_the_share_of_another() {
    let mut host = Host::new();
    for proven in [false, true] {
        host.proven = proven;
        for window in 1..10 {
            let now = ms(window * 100 + u64::from(proven) * 10_000);
            let flood = (0..1000).map(|_| request_from(OTHER, [10, 77, 0, 9]));
            let flood = host.answered(flood, now);
            assert!((6..=12).contains(&flood), "{flood}");
            assert_eq!(host.answered([request_from(PEER, THERE4)], now), 1);
        }
    }
}

#[test]
fn the_name_of_the_gateway_alone_gives_no_right_to_its_answers() {
    let mut host = Host::behind_router();
    host.due(ms(0));
    let router = [2, 0, 0, 0, 0, 0xfe];
    let reply = Arp::request(MAC, HERE4, ROUTER4).reply(router);
    host.action(&arp_frame(MAC, None, reply), ms(1));
    // A forger asks in its name, from many MAC addresses, and in its name with its MAC address inside the packet only.
    let forged = (0..2000_u32).map(|n| {
        let [a, b, c, d] = n.to_be_bytes();
        let mut frame = request_from([6, a, b, c, d, 1], ROUTER4);
        if n % 2 == 0 {
            frame[22..28].copy_from_slice(&router);
        }
        frame
    });
    host.answered(forged, ms(100));
    assert_eq!(host.answered([request_from(router, ROUTER4)], ms(100)), 1);
}

#[test]
fn each_address_is_defended_once_in_an_interval_whatever_claims_it() {
    let mut host = Host::new();
    for now in [ms(0), ms(2000)] {
        host.due(now);
    }
    let other = arp_frame(ether::BROADCAST, None, Arp::request(OTHER, HERE4, THERE4));
    let reply = arp_frame(MAC, None, Arp::request(MAC, THERE4, HERE4).reply(OTHER));
    let announcement = arp_frame(ether::BROADCAST, None, Arp::announcement(OTHER, HERE4));
    let advertisement = |to: [u8; 6]| {
        ndp_frame(to, |buf| {
            ndp::emit_advertisement(buf, v6("fd77::2"), None, OTHER).expect("room");
        })
    };
    // A claim on one address does not delay the defence of the other.
    for (round, now) in [(1, 3000), (2, 12_999), (3, 13_000)] {
        for claim in [&other, &reply, &announcement] {
            host.action(claim, ms(now));
        }
        host.action(&advertisement([0x33, 0x33, 0, 0, 0, 1]), ms(now));
        let frames = host.due(ms(now));
        assert_eq!(
            frames.len(),
            if round == 2 { 0 } else { 2 },
            "round {round}"
        );
        assert_eq!(host.responder.counters().conflicts, round * 4);
    }
    // A probe is not a claim: it is answered, and so the other host does not take the address (RFC 5227 §2.1.1).
    let probe = arp_frame(ether::BROADCAST, None, Arp::request(OTHER, [0; 4], HERE4));
    assert_eq!(host.answered([probe], ms(13_000)), 1);
    assert_eq!(host.responder.counters().conflicts, 12);
    // Another lcore has received the claim; it has counted it.
    let parsed = parse(&announcement, RxChecksum::Unknown, &host.ours);
    host.responder
        .handle_shared(&parsed, &announcement, ms(30_000));
    assert_eq!(host.responder.counters().conflicts, 12);
    assert_eq!(host.due(ms(30_000)).len(), 0);
}

#[test]
fn forged_news_does_not_keep_the_news_of_the_gateway_from_other_lcores() {
    let mut host = Host::behind_router();
    host.due(ms(0));
    for n in 0..500_u32 {
        let [.., c, d] = n.to_be_bytes();
        let rumour = Arp::announcement([6, 0, 0, 0, c, d], [10, 78, c, d]);
        host.receive(&arp_frame(ether::BROADCAST, None, rumour), ms(100));
    }
    let rumour = Arp::announcement(OTHER, [10, 77, 200, 9]);
    let (handled, _) = host.receive(&arp_frame(ether::BROADCAST, None, rumour), ms(100));
    assert!(!handled.share);
    // A standby router takes over.
    let news = Arp::announcement(OTHER, ROUTER4);
    let (handled, _) = host.receive(&arp_frame(ether::BROADCAST, None, news), ms(100));
    assert!(handled.share);
}
