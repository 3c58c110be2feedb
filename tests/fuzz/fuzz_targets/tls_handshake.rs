#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hioload_fuzz::tls_handshake::run(input));
