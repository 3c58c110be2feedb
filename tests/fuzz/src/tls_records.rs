//! The record layer of TLS after a handshake.
//!
//! Input: a byte with the suite (2 bits), the version (1 bit) and the role (1 bit), the seed of the splits (unused, 4 bytes), then records.
//! A record begins with a byte that says what it is: bytes sealed with the right key, whose last ones are the content type and padding,
//! or bytes as they are; and their length (1 byte).
//!
//! What is sealed as content arrives as it was. Whatever else arrives, nothing panics, and a session that refuses a record has not
//! counted it.

use aws_lc_rs::aead;
use hioload_tls::record::{
    Half, KeyCache, KeyOwner, Opened, Role, Session, Suite, Version, content, record_len,
};

use super::input::Input;

const OWNER: KeyOwner = KeyOwner {
    index: 1,
    generation: 0,
};
const RECORDS: usize = 64;

/// Runs one input; see the module.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    let options = input.byte();
    input.word();
    let suite = match options & 3 {
        0 => Suite::Aes128Gcm,
        1 => Suite::Aes256Gcm,
        _ => Suite::ChaCha20Poly1305,
    };
    let version = match options & 4 {
        0 => Version::Tls13,
        _ => Version::Tls12,
    };
    let role = match options & 8 {
        0 => Role::Server,
        _ => Role::Client,
    };
    let half = |byte: u8| half(version, suite, byte);
    let session = Session::new(version, suite, role, half(1), half(2));
    let mut receiver = Receiver {
        session,
        keys: KeyCache::new(2),
        tickets: 0,
    };
    for _ in 0..RECORDS {
        if input.is_empty() || !receiver.next(&mut input) {
            break;
        }
    }
    receiver.answer();
}

fn half(version: Version, suite: Suite, byte: u8) -> Half {
    let (secret, key) = match suite {
        Suite::Aes128Gcm => (32, 16),
        Suite::Aes256Gcm => (48, 32),
        Suite::ChaCha20Poly1305 => (32, 32),
    };
    let bytes = [byte; 48];
    match version {
        Version::Tls13 => Half::from_secret(suite, &bytes[..secret], 0),
        Version::Tls12 => Half::from_key(suite, &bytes[..key], &[byte; 12], 0),
    }
    .expect("the lengths are right")
}

struct Receiver {
    session: Session,
    keys: KeyCache,
    tickets: usize,
}

impl Receiver {
    /// Opens the next record of the input. Whether the connection goes on.
    fn next(&mut self, input: &mut Input<'_>) -> bool {
        let kind = input.byte();
        let bytes = input.bytes();
        let before = self.session.numbers();
        let mut record = match kind & 3 {
            0 => bytes.to_vec(),
            _ => match sealed(&self.session, bytes, kind) {
                Some(record) => record,
                // Keys cannot be read while a message is unfinished.
                None => return false,
            },
        };
        let whole = match record_len(self.session.version(), &record) {
            Ok(Some(n)) if n <= record.len() => n,
            _ => return false,
        };
        let tickets = &mut self.tickets;
        let opened = self
            .session
            .open(&mut self.keys, OWNER, &mut record[..whole], &mut |_| {
                *tickets += 1;
            });
        match opened {
            Ok(Opened::Data(data)) => {
                assert_ne!(kind & 3, 0, "nobody can forge a record");
                assert!(bytes.starts_with(data) && !data.is_empty());
                assert_eq!(self.session.numbers(), (before.0 + 1, before.1));
                true
            }
            Ok(Opened::Control) => {
                let (received, sent) = self.session.numbers();
                assert!(received == before.0 + 1 || received == 0);
                assert_eq!(sent, before.1);
                true
            }
            Ok(Opened::Closed | Opened::Alert(_)) => false,
            Err(_) => {
                assert!(self.session.numbers().0 <= before.0 + 1);
                false
            }
        }
    }

    /// The session sends: a requested KeyUpdate first.
    fn answer(&mut self) {
        let mut out = [0; 256];
        let Self { session, keys, .. } = self;
        if session.needs_key_update() {
            let n = session.key_update(keys, OWNER, &mut out);
            assert_eq!(n, Ok(session.key_update_len()));
        }
        assert!(!session.needs_key_update());
        let (taken, written) = session
            .seal(keys, OWNER, b"answer", &mut out)
            .expect("there is space");
        assert_eq!((taken, written), (6, 6 + session.overhead()));
        if let Some(bytes) = session.export() {
            let again = Session::import(&bytes).expect("an exported session");
            assert_eq!(again.numbers(), session.numbers());
        }
    }
}

/// Seals `inner` with the key that the session receives by, as a peer that sends what it wants.
fn sealed(session: &Session, inner: &[u8], kind: u8) -> Option<Vec<u8>> {
    let exported = session.export()?;
    // The receiving half: 4 bytes before it, then secret, key, IV.
    let (key, iv) = (&exported[52..84], &exported[84..96]);
    let (algorithm, key) = match session.suite() {
        Suite::Aes128Gcm => (&aead::AES_128_GCM, &key[..16]),
        Suite::Aes256Gcm => (&aead::AES_256_GCM, key),
        Suite::ChaCha20Poly1305 => (&aead::CHACHA20_POLY1305, key),
    };
    let number = session.numbers().0;
    let mut nonce: [u8; 12] = iv.try_into().ok()?;
    for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    let tls13 = session.version() == Version::Tls13;
    let explicit = !tls13 && session.suite() != Suite::ChaCha20Poly1305;
    let outer = if tls13 {
        content::DATA
    } else {
        // alert, handshake, application_data, and now and then something else.
        [content::DATA, content::HANDSHAKE, content::ALERT, 20][usize::from(kind >> 2 & 3)]
    };
    let len = inner.len() + 16 + if explicit { 8 } else { 0 };
    let [high, low] = (len as u16).to_be_bytes();
    let header = [outer, 3, 3, high, low];
    let aad = if tls13 {
        header.to_vec()
    } else {
        let [high, low] = (inner.len() as u16).to_be_bytes();
        [&number.to_be_bytes()[..], &[outer, 3, 3, high, low]].concat()
    };
    let mut bytes = inner.to_vec();
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
    let assumed = aead::Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(assumed, aead::Aad::from(aad), &mut bytes)
        .ok()?;
    let nonce = if explicit { &nonce[4..] } else { &[] };
    Some([&header[..], nonce, &bytes].concat())
}
