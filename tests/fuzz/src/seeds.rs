//! The inputs that fuzzing starts from: one for each thing that a peer can do, valid or not.
//!
//! They are committed in `corpus/`, where the fuzzer reads them. An ordinary test compares them with this code, and writes them
//! if `HIOLOAD_WRITE_SEEDS` is set.

use hioload_ws_proto::deflate::Deflater;

mod control;
mod deflate;
mod frames;
mod handshake;
mod packets;
mod parse;
mod proxy;
#[cfg(target_os = "linux")]
mod redirect;
mod session;
mod tls_handshake;
mod tls_records;
mod topics;

/// Name and content.
pub type Seed = (String, Vec<u8>);

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "handshake" => handshake::seeds(),
        "frames" => frames::seeds(),
        "deflate" => deflate::seeds(),
        "packets" => packets::seeds(),
        "parse" => parse::seeds(),
        #[cfg(target_os = "linux")]
        "redirect" => redirect::seeds(),
        "proxy" => proxy::seeds(),
        "session" => session::seeds(),
        "topics" => topics::seeds(),
        "control" => control::seeds(),
        "tls_handshake" => tls_handshake::seeds(),
        "tls_records" => tls_records::seeds(),
        other => panic!("no such target: {other}"),
    }
}

fn seed(name: &str, parts: &[&[u8]]) -> Seed {
    (name.to_owned(), parts.concat())
}

const SPLITS: &[u8] = &[0, 0, 0, 7];

fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Deflater::new(6, 9, 1)
        .deflate(payload, &mut out)
        .expect("never fails");
    out
}
