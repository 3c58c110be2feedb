//! Records of 1 KiB: the AEAD alone, our record layer, and all that happens to a text message until the handler has it.

use std::hint::black_box;
use std::time::Duration;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hioload_tls::record::{Half, KeyCache, KeyOwner, Opened, Role, Session, Suite, Version};
use hioload_ws_proto::{Assembler, AssemblerOptions, Decoder, Event, OpCode, Role as Side, encode};

use crate::client::Failure;
use crate::report::{Row, median};
use crate::world::cpu_time;

const RECORDS: usize = 2000;
/// Rounds for each that was asked for: they are short.
const ROUNDS: usize = 10;
const TEXT: usize = 1024;
const OWNER: KeyOwner = KeyOwner {
    index: 0,
    generation: 0,
};

fn session(seq: u64) -> Result<Session, Failure> {
    let half = || Half::from_secret(Suite::Aes128Gcm, &[1; 32], seq);
    let (rx, tx) = half().zip(half()).ok_or("no keys")?;
    Ok(Session::new(
        Version::Tls13,
        Suite::Aes128Gcm,
        Role::Server,
        rx,
        tx,
    ))
}

/// Records with a masked text message each, with numbers from 0.
fn records() -> Result<Vec<Vec<u8>>, Failure> {
    let text: String = "Grüße an alle, die dies lesen: 1 KiB text. ".repeat(30);
    let mut end = TEXT;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut frame = Vec::new();
    let payload = &text.as_bytes()[..end];
    encode::fragment_into(
        &mut frame,
        true,
        false,
        OpCode::Text,
        payload,
        Some([1, 2, 3, 4]),
    );
    let (mut session, mut keys) = (session(0)?, KeyCache::new(2));
    (0..RECORDS)
        .map(|_| {
            let mut record = vec![0; frame.len() + session.overhead()];
            session
                .seal(&mut keys, OWNER, &frame, &mut record)
                .map_err(|error| format!("{error:?}"))?;
            Ok(record)
        })
        .collect()
}

/// Time of `each` for each record, which is a fresh copy.
fn timed(
    records: &[Vec<u8>],
    mut each: impl FnMut(u64, &mut [u8]) -> Result<(), Failure>,
) -> Result<f64, Failure> {
    let mut spent = Duration::ZERO;
    // As many as stay in the cache, as they do when they have just arrived.
    for (at, chunk) in records.chunks(100).enumerate() {
        let mut copies = chunk.to_vec();
        let begin = cpu_time();
        for (n, record) in copies.iter_mut().enumerate() {
            each((at * 100 + n) as u64, record)?;
        }
        spent += cpu_time() - begin;
    }
    Ok(spent.as_nanos() as f64 / records.len() as f64)
}

/// Measures each, in turn.
pub fn measure(rounds: usize) -> Result<Vec<Row>, Failure> {
    let records = records()?;
    let (key, iv) = exported()?;
    let (mut alone, mut opened) = (Vec::new(), Vec::new());
    let (mut expanded, mut decoded) = (Vec::new(), Vec::new());
    for _ in 0..rounds * ROUNDS {
        alone.push(timed(&records, |number, record| {
            let mut nonce = iv;
            for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
                *byte ^= number;
            }
            let (header, body) = record.split_at_mut(5);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let plain = key.open_in_place(nonce, Aad::from(&*header), body);
            black_box(plain.map_err(|_| "a record does not open")?);
            Ok(())
        })?);
        let (mut open, mut keys) = (session(0)?, KeyCache::new(2));
        opened.push(timed(&records, |_, record| {
            let opened = open.open(&mut keys, OWNER, record, &mut |_| {});
            black_box(opened.map_err(|error| format!("{error:?}"))?);
            Ok(())
        })?);
        let (mut open, mut keys) = (session(0)?, KeyCache::new(2));
        expanded.push(timed(&records, |_, record| {
            keys.remove(OWNER);
            let opened = open.open(&mut keys, OWNER, record, &mut |_| {});
            black_box(opened.map_err(|error| format!("{error:?}"))?);
            Ok(())
        })?);
        let (mut open, mut keys) = (session(0)?, KeyCache::new(2));
        let mut assembler = Assembler::new(AssemblerOptions::default());
        let mut decoder = Decoder::new(Side::Server);
        decoded.push(timed(&records, |_, record| {
            let opened = open.open(&mut keys, OWNER, record, &mut |_| {});
            let Ok(Opened::Data(frame)) = opened else {
                return Err("a record does not open".into());
            };
            match decoder.decode(&mut assembler, frame) {
                Ok((_, Some(Event::Message(message)))) => {
                    black_box(message.as_text().ok_or("no text")?);
                    Ok(())
                }
                _ => Err("no message".into()),
            }
        })?);
    }
    let ratios = |of: &[f64]| -> Vec<f64> {
        of.iter()
            .zip(&alone)
            .map(|(one, alone)| one / alone)
            .collect()
    };
    Ok(vec![
        Row::nanos("1 KiB, AES-128-GCM alone", median(&alone), None),
        Row::nanos("  a record opened", median(&opened), None),
        Row::at_least("    ratio", median(&ratios(&opened)), "x", 0.0),
        Row::nanos(
            "  a record opened whose key is not in the cache",
            median(&expanded),
            None,
        ),
        Row::nanos(
            "  a record opened, unmasked, checked as UTF-8",
            median(&decoded),
            None,
        ),
        Row::at_most("    ratio", median(&ratios(&decoded)), "x", 1.15),
    ])
}

/// The key and IV of the records, for the AEAD alone.
fn exported() -> Result<(LessSafeKey, [u8; 12]), Failure> {
    let bytes = session(0)?.export().ok_or("no export")?;
    let key = UnboundKey::new(&AES_128_GCM, &bytes[52..68]).map_err(|_| "no key")?;
    let mut iv = [0; 12];
    iv.copy_from_slice(&bytes[84..96]);
    Ok((LessSafeKey::new(key), iv))
}
