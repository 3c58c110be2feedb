//! The record layer against rustls: each direction, each suite, any split; and records that must not be accepted.
#![allow(clippy::unwrap_used)]

#[allow(dead_code, unreachable_pub)]
mod common;

use std::io::{Read, Write};

use common::{as_client, as_server, records, suites};
use hioload_tls::record::{
    Alert, HEADER, KeyCache, KeyOwner, Opened, SealError, Session, record_len,
};
use proptest::prelude::*;
use rustls::ConnectionCommon;

const OWNER: KeyOwner = KeyOwner {
    index: 3,
    generation: 7,
};

/// A session with what an lcore has beside it.
struct Ours {
    session: Session,
    keys: KeyCache,
    tickets: usize,
}

impl Ours {
    fn new(session: Session) -> Self {
        Self {
            session,
            keys: KeyCache::new(16),
            tickets: 0,
        }
    }

    /// Opens whole records; returns the content, and whether the stream has ended.
    fn open(&mut self, record: &mut [u8]) -> Result<(Vec<u8>, bool), Alert> {
        let len = record_len(self.session.version(), record)?;
        assert_eq!(len, Some(record.len()));
        let tickets = &mut self.tickets;
        let opened = self
            .session
            .open(&mut self.keys, OWNER, record, &mut |_| *tickets += 1)?;
        Ok(match opened {
            Opened::Data(content) => (content.to_vec(), false),
            Opened::Control => (Vec::new(), false),
            Opened::Closed => (Vec::new(), true),
            Opened::Alert(alert) => panic!("alert {alert}"),
        })
    }

    fn seal(&mut self, content: &[u8], record: usize) -> Vec<u8> {
        let (mut sealed, mut at) = (Vec::new(), 0);
        while at < content.len() {
            let mut out = vec![0; record + self.session.overhead()];
            if self.session.needs_key_update() {
                let n = self.session.key_update(&mut self.keys, OWNER, &mut out);
                sealed.extend_from_slice(&out[..n.unwrap()]);
            }
            let (taken, written) = self
                .session
                .seal(&mut self.keys, OWNER, &content[at..], &mut out)
                .unwrap();
            sealed.extend_from_slice(&out[..written]);
            at += taken;
        }
        sealed
    }
}

/// What rustls reads from `bytes`.
fn read<D>(peer: &mut ConnectionCommon<D>, mut bytes: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    while !bytes.is_empty() {
        peer.read_tls(&mut bytes).unwrap();
        peer.process_new_packets().unwrap();
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = peer.reader().read(&mut chunk) {
            content.extend_from_slice(&chunk[..n]);
        }
    }
    content
}

/// What rustls writes.
fn write<D>(peer: &mut ConnectionCommon<D>, content: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < content.len() || peer.wants_write() {
        if at < content.len() {
            at += peer.writer().write(&content[at..]).unwrap();
        }
        while peer.wants_write() {
            peer.write_tls(&mut bytes).unwrap();
        }
    }
    bytes
}

/// Content in both directions: pieces of the given sizes in records of at most `record` bytes.
fn exchange<D>(
    ours: &mut Ours,
    peer: &mut ConnectionCommon<D>,
    sizes: &[usize],
    record: usize,
    updates: bool,
) {
    for (i, &size) in sizes.iter().enumerate() {
        let content: Vec<u8> = (0..size).map(|n| (n * 31 + i) as u8).collect();
        let sealed = ours.seal(&content, record);
        assert!(read(peer, &sealed) == content, "to rustls: {size}");
        if updates && i % 3 == 1 {
            peer.refresh_traffic_keys().unwrap();
        }
        let mut received = Vec::new();
        for mut record in records(&mut write(peer, &content)) {
            received.extend(ours.open(&mut record).unwrap().0);
        }
        assert!(received == content, "from rustls: {size}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Each suite and role, any sizes, with changes of keys in between.
    #[test]
    fn content_is_the_same_on_both_sides(
        sizes in prop::collection::vec(prop_oneof![0usize..200, 0usize..40_000], 1..8),
        record in prop_oneof![1usize..100, 1usize..=16_384],
        fragment in prop_oneof![Just(None), (64usize..16_000).prop_map(Some)],
        suite in 0usize..6,
        client in any::<bool>(),
    ) {
        let record = record.max(sizes.iter().sum::<usize>() / 500);
        let suite = suites()[suite];
        let updates = suite.version().version == rustls::ProtocolVersion::TLSv1_3;
        if client {
            let (session, mut peer, tickets) = as_client(suite);
            peer.set_buffer_limit(None);
            let mut ours = Ours::new(session);
            for mut record in tickets {
                ours.open(&mut record).unwrap();
            }
            exchange(&mut ours, &mut peer, &sizes, record, updates);
        } else {
            let (session, mut peer) = as_server(suite);
            peer.set_buffer_limit(fragment);
            exchange(&mut Ours::new(session), &mut peer, &sizes, record, updates);
        }
    }

    /// A change of any bit of a record is found, whatever it is, and nothing of it is delivered.
    #[test]
    fn a_changed_record_is_not_accepted(suite in 0usize..6, size in 1usize..300, at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (session, mut peer) = as_server(suites()[suite]);
        let mut ours = Ours::new(session);
        let mut record = records(&mut write(&mut peer, &vec![7; size])).remove(0);
        let at = at.index(record.len());
        record[at] ^= 1 << bit;
        let before = ours.session.numbers();
        let result = record_len(ours.session.version(), &record);
        let is_whole = result == Ok(Some(record.len()));
        let error = if is_whole {
            ours.open(&mut record).unwrap_err()
        } else {
            match result {
                Err(alert) => alert,
                // A longer length waits for more bytes, a shorter one is a record that does not decrypt.
                Ok(Some(n)) if n < record.len() => ours.open(&mut record[..n]).unwrap_err(),
                _ => return Ok(()),
            }
        };
        prop_assert!(match error {
            Alert::BadRecordMac => at != 1,
            Alert::UnexpectedMessage => at <= 1,
            Alert::RecordOverflow => at == 3 || at == 4,
            _ => false,
        }, "{error:?} for byte {at}");
        prop_assert_eq!(ours.session.numbers(), before);
    }
}

#[test]
fn records_that_are_cut_repeated_reordered_or_left_out_are_not_accepted() {
    for suite in suites() {
        let pair = || {
            let (session, mut peer) = as_server(suite);
            let mut bytes = write(&mut peer, b"first");
            bytes.extend(write(&mut peer, b"second"));
            let all = records(&mut bytes);
            (Ours::new(session), all)
        };
        let (mut ours, mut all) = pair();
        assert_eq!(ours.open(&mut all[1].clone()), Err(Alert::BadRecordMac));
        let (mut first, mut again) = (all[0].clone(), all[0].clone());
        assert_eq!(ours.open(&mut first).unwrap().0, b"first");
        assert_eq!(ours.open(&mut again), Err(Alert::BadRecordMac));
        assert_eq!(ours.open(&mut all[1]).unwrap().0, b"second");

        let (mut ours, all) = pair();
        let mut cut = all[0].clone();
        cut.pop();
        let len = (cut.len() - HEADER) as u16;
        cut[3..HEADER].copy_from_slice(&len.to_be_bytes());
        assert_eq!(ours.open(&mut cut), Err(Alert::BadRecordMac));
    }
}

/// A peer that sends what it wants: it seals with the keys that a session receives by.
struct Forger {
    key: Vec<u8>,
    iv: [u8; 12],
    seq: u64,
}

impl Forger {
    fn of(session: &Session) -> Self {
        let exported = session.export().unwrap();
        // The receiving half: 4 bytes before it, then secret, key, IV.
        let half = &exported[4..];
        Self {
            key: half[48..64].to_vec(),
            iv: half[80..92].try_into().unwrap(),
            seq: session.numbers().0,
        }
    }

    /// A record of TLS 1.3 with any inner plaintext.
    fn record(&mut self, inner: &[u8]) -> Vec<u8> {
        use aws_lc_rs::aead;
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.seq.to_be_bytes()) {
            *byte ^= number;
        }
        self.seq += 1;
        let len = ((inner.len() + 16) as u16).to_be_bytes();
        let header = [23, 3, 3, len[0], len[1]];
        let mut sealed = inner.to_vec();
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &self.key).unwrap();
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut sealed)
            .unwrap();
        [&header[..], &sealed].concat()
    }
}

/// A record with what `change` writes, and the content type that it returns.
fn forged(session: &Session, change: impl FnOnce(&mut Vec<u8>) -> u8) -> Vec<u8> {
    let mut inner = Vec::new();
    let content_type = change(&mut inner);
    inner.push(content_type);
    Forger::of(session).record(&inner)
}

fn tls13() -> Ours {
    Ours::new(as_server(suites()[0]).0)
}

#[test]
fn padding_is_removed_and_a_record_of_padding_alone_ends_the_connection() {
    let mut ours = tls13();
    // The type stands before the padding, so what is pushed as the type is padding.
    let mut record = forged(&ours.session, |plain| {
        plain.extend_from_slice(b"padded\x17");
        plain.extend_from_slice(&[0; 300]);
        0
    });
    assert_eq!(ours.open(&mut record).unwrap().0, b"padded");
    let mut record = forged(&ours.session, |plain| {
        plain.extend_from_slice(&[0; 40]);
        0
    });
    assert_eq!(ours.open(&mut record), Err(Alert::UnexpectedMessage));
}

#[test]
fn a_record_longer_than_permitted_is_refused_before_and_after_it_is_opened() {
    let mut ours = tls13();
    let header = |len: u16| {
        let [high, low] = len.to_be_bytes();
        record_len(ours.session.version(), &[23, 3, 3, high, low])
    };
    assert_eq!(header(16_384 + 256), Ok(Some(16_384 + 256 + HEADER)));
    assert_eq!(header(16_384 + 257), Err(Alert::RecordOverflow));
    assert_eq!(header(15), Err(Alert::BadRecordMac));
    let mut record = forged(&ours.session, |plain| {
        plain.resize(16_384, 1);
        23
    });
    assert_eq!(ours.open(&mut record).unwrap().0.len(), 16_384);
    let mut record = forged(&ours.session, |plain| {
        plain.resize(16_385, 1);
        23
    });
    assert_eq!(ours.open(&mut record), Err(Alert::RecordOverflow));
    // RFC 8446 §5.4: padding counts.
    for (padding, fits) in [(16_383, true), (16_384, false), (16_600, false)] {
        let mut ours = tls13();
        let mut record = forged(&ours.session, |plain| {
            plain.extend_from_slice(b"x\x17");
            plain.resize(1 + padding, 0);
            0
        });
        match ours.open(&mut record) {
            Ok((content, _)) => assert!(fits && content == b"x", "{padding}"),
            Err(alert) => assert!(!fits && alert == Alert::RecordOverflow, "{padding}"),
        }
    }
}

const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

#[test]
fn messages_after_the_handshake_are_checked() {
    let cases: [(&[u8], u8, Result<(), Alert>); 12] = [
        (&KEY_UPDATE, 22, Ok(())),
        (&[24, 0, 0, 1, 1], 22, Ok(())),
        (&[24, 0, 0, 1, 2], 22, Err(Alert::IllegalParameter)),
        (&[24, 0, 0, 2, 0, 0], 22, Err(Alert::DecodeError)),
        // Something behind a KeyUpdate.
        (&[24, 0, 0, 1, 0, 24], 22, Err(Alert::UnexpectedMessage)),
        // A ClientHello; a ticket from a client; an empty handshake record.
        (&[1, 0, 0, 0], 22, Err(Alert::UnexpectedMessage)),
        (&[4, 0, 0, 0], 22, Err(Alert::UnexpectedMessage)),
        (&[], 22, Err(Alert::UnexpectedMessage)),
        // A change_cipher_spec, an unknown type.
        (&[1], 20, Err(Alert::UnexpectedMessage)),
        (&[1], 24, Err(Alert::UnexpectedMessage)),
        // An alert that is none, and one that may be ignored.
        (&[1, 0, 0], 21, Err(Alert::DecodeError)),
        (&[1, 90], 21, Ok(())),
    ];
    for (message, content_type, expected) in cases {
        let mut ours = tls13();
        let mut record = forged(&ours.session, |plain| {
            plain.extend_from_slice(message);
            content_type
        });
        let opened = ours.open(&mut record).map(|(content, _)| {
            assert!(content.is_empty());
        });
        assert_eq!(opened, expected, "{message:?} of type {content_type}");
    }
}

#[test]
fn a_key_update_cut_into_records_changes_the_key_when_it_is_whole() {
    let mut ours = tls13();
    let mut forger = Forger::of(&ours.session);
    for byte in KEY_UPDATE {
        ours.open(&mut forger.record(&[byte, 22])).unwrap();
    }
    assert_eq!(ours.session.numbers().0, 0, "of the new key");
    let mut forger = Forger::of(&ours.session);
    assert_eq!(
        ours.open(&mut forger.record(b"after\x17")).unwrap().0,
        b"after"
    );
    ours.open(&mut forger.record(&[24, 22])).unwrap();
    assert!(ours.session.export().is_none(), "a message is unfinished");
}

#[test]
fn content_between_the_parts_of_a_message_ends_the_connection() {
    let mut ours = tls13();
    let mut forger = Forger::of(&ours.session);
    ours.open(&mut forger.record(&[24, 22])).unwrap();
    let mut between = forger.record(b"content\x17");
    assert_eq!(ours.open(&mut between), Err(Alert::UnexpectedMessage));
}

#[test]
fn a_storm_of_records_without_content_ends_the_connection() {
    for (message, content_type) in [(&[][..], 23), (&KEY_UPDATE[..], 22)] {
        let mut ours = tls13();
        let mut storm = |n: usize| -> Result<(), Alert> {
            for _ in 0..n {
                let mut record = forged(&ours.session, |plain| {
                    plain.extend_from_slice(message);
                    content_type
                });
                ours.open(&mut record)?;
            }
            let mut record = forged(&ours.session, |plain| {
                plain.push(1);
                23
            });
            ours.open(&mut record).map(|_| ())
        };
        storm(32).unwrap();
        storm(32).unwrap();
        assert_eq!(storm(33), Err(Alert::UnexpectedMessage));
    }
}

#[test]
fn a_requested_key_update_is_answered_once_however_often_it_was_requested() {
    let (session, mut peer) = as_server(suites()[0]);
    let mut ours = Ours::new(session);
    for _ in 0..5 {
        let mut record = forged(&ours.session, |plain| {
            plain.extend_from_slice(&[24, 0, 0, 1, 1]);
            22
        });
        ours.open(&mut record).unwrap();
    }
    let sealed = ours.seal(b"content", 100);
    assert_eq!(records(&mut sealed.clone()).len(), 2);
    assert!(!ours.session.needs_key_update());
    assert_eq!(read(&mut peer, &sealed), b"content");
}

#[test]
fn a_key_protects_no_more_records_than_it_may() {
    for suite in suites() {
        let (session, mut peer) = as_server(suite);
        // The number of the next record is the last thing in an exported session.
        let mut bytes = *session.export().unwrap();
        let at = bytes.len() - 8;
        bytes[at..].copy_from_slice(&((1u64 << 24) - 1).to_be_bytes());
        let mut ours = Ours::new(Session::import(&bytes).unwrap());
        let mut out = [0; 100];
        let seal = |ours: &mut Ours, out: &mut [u8]| {
            let Ours { session, keys, .. } = ours;
            session.seal(keys, OWNER, b"x", out)
        };
        assert!(seal(&mut ours, &mut out).is_ok());
        let is_gcm = !format!("{suite:?}").contains("CHACHA");
        let is_tls13 = suite.version().version == rustls::ProtocolVersion::TLSv1_3;
        assert_eq!(ours.session.needs_key_update(), is_gcm && is_tls13);
        if is_gcm && !is_tls13 {
            assert_eq!(seal(&mut ours, &mut out), Err(SealError::Exhausted));
        }
        drop(peer.process_new_packets());
    }
}

#[test]
fn an_exported_session_continues_elsewhere() {
    for suite in suites() {
        let (session, mut peer) = as_server(suite);
        let mut ours = Ours::new(session);
        exchange(&mut ours, &mut peer, &[10, 5000], 1000, false);
        let bytes = ours.session.export().unwrap();
        let mut moved = Ours::new(Session::import(&bytes).unwrap());
        exchange(&mut moved, &mut peer, &[20_000, 1], 16_384, false);
        let mut wrong = *bytes;
        wrong[0] = 9;
        assert!(Session::import(&wrong).is_none());
    }
}

#[test]
fn a_count_that_no_session_exports_ends_the_connection_as_the_highest_one_does() {
    let mut bytes = *tls13().session.export().unwrap();
    bytes[3] = u8::MAX;
    let mut ours = Ours::new(Session::import(&bytes).unwrap());
    let mut empty = forged(&ours.session, |_| 23);
    assert_eq!(ours.open(&mut empty), Err(Alert::UnexpectedMessage));
}

#[test]
fn tickets_reach_what_stores_them_and_a_close_notify_ends_the_stream() {
    let (session, mut peer, tickets) = as_client(suites()[0]);
    let mut ours = Ours::new(session);
    assert!(!tickets.is_empty());
    for mut record in tickets.clone() {
        ours.open(&mut record).unwrap();
    }
    assert_eq!(ours.tickets, 2, "rustls sends two, in one record");
    peer.send_close_notify();
    let mut bytes = write(&mut peer, b"");
    let mut record = records(&mut bytes).remove(0);
    assert_eq!(ours.open(&mut record), Ok((Vec::new(), true)));

    let mut out = [0; 64];
    let Ours { session, keys, .. } = &mut ours;
    let n = session
        .alert(keys, OWNER, Alert::CloseNotify, &mut out)
        .unwrap();
    peer.read_tls(&mut &out[..n]).unwrap();
    assert!(peer.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn secrets_are_not_printed() {
    let (session, _) = as_server(suites()[0]);
    let bytes = session.export().unwrap();
    let printed = format!("{session:?} {:?}", KeyCache::new(4));
    for part in bytes[4..52].chunks(4) {
        let number = format!("{}, {}, {}, {}", part[0], part[1], part[2], part[3]);
        assert!(!printed.contains(&number));
    }
    assert!(
        !printed.contains("key:") && !printed.contains("secret:"),
        "{printed}"
    );
}
