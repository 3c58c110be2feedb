//! Seeds of the target `tls_records`.

use super::{SPLITS, Seed, seed};

fn of(options: u8, name: &str, records: &[(u8, &[u8])]) -> Seed {
    let mut parts = vec![options];
    parts.extend_from_slice(SPLITS);
    for (kind, bytes) in records {
        parts.extend_from_slice(&[*kind, bytes.len() as u8]);
        parts.extend_from_slice(bytes);
    }
    seed(name, &[&parts])
}

pub fn seeds() -> Vec<Seed> {
    const UPDATE: &[u8] = &[24, 0, 0, 1, 1, 22];
    let ticket = [&[4, 0, 0, 9][..], &[7; 9], &[22]].concat();
    let data: (u8, &[u8]) = (1, b"content\x17");
    vec![
        of(0, "aes-128", &[data, data]),
        of(1, "aes-256", &[data, data]),
        of(2, "chacha", &[data, data]),
        of(0, "padding", &[(1, b"content\x17\0\0\0\0"), (1, &[0; 9])]),
        of(
            0,
            "key-update",
            &[data, (1, UPDATE), data, (1, UPDATE), data],
        ),
        of(
            0,
            "key-update-in-pieces",
            &[(1, &[24, 0, 22]), (1, &[0, 1, 22]), (1, &[0, 22])],
        ),
        of(0, "key-update-and-more", &[(1, &[24, 0, 0, 1, 0, 24, 22])]),
        of(8, "ticket", &[(1, &ticket), data]),
        of(0, "ticket-to-a-server", &[(1, &ticket)]),
        of(0, "alert", &[(1, &[1, 90, 21]), (1, &[2, 40, 21])]),
        of(0, "close-notify", &[data, (1, &[1, 0, 21])]),
        of(0, "empty", &[(1, &[23]), (1, &[23]), data]),
        of(0, "empty-handshake", &[(1, &[22])]),
        of(0, "change-cipher-spec", &[(1, &[1, 20])]),
        of(
            0,
            "not-sealed",
            &[(
                0,
                &[
                    23, 3, 3, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                ],
            )],
        ),
        of(0, "too-long", &[(0, &[23, 3, 3, 0x41, 1])]),
        of(0, "too-short", &[(0, &[23, 3, 3, 0, 5])]),
        of(4, "tls12-aes-128", &[data, data]),
        of(5, "tls12-aes-256", &[data, data]),
        of(6, "tls12-chacha", &[data, data]),
        of(4, "tls12-client-hello", &[data, (5, &[1, 0, 0, 1, 0])]),
        of(12, "tls12-hello-request", &[(5, &[0, 0, 0, 0]), data]),
        of(4, "tls12-warning", &[(9, &[1, 100]), data]),
        of(4, "tls12-close-notify", &[(9, &[1, 0])]),
    ]
}
