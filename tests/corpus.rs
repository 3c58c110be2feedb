//! The fuzz targets without a fuzzer: every committed input, and random changes of these.
//!
//! An input that fuzzing finds is added to `tests/fuzz/corpus/<target>` together with the fix. An input that fails here is
//! written to `tests/fuzz/artifacts`, as the fuzzer does.
#![allow(missing_docs, unreachable_pub)]

#[path = "fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use fuzz::input::Random;
use fuzz::{TARGETS, seeds};

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(kind)
        .join(target)
}

/// The committed inputs of a target, in a fixed order.
fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder("corpus", target)).expect("every target has a corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).expect("readable")))
        .collect()
}

/// Runs one input, and prints its name if it fails.
fn check(run: fn(&[u8]), input: &[u8], what: impl FnOnce() -> String) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("failed: {}", what());
        resume_unwind(panic);
    }
}

fn replay(target: usize) {
    let (name, run) = TARGETS[target];
    for (path, input) in corpus(name) {
        check(run, &input, || path.display().to_string());
    }
}

/// The number of random inputs: `HIOLOAD_FUZZ_INPUTS`, or a number that takes a second or two.
fn rounds(default: u64) -> u64 {
    let asked = std::env::var("HIOLOAD_FUZZ_INPUTS").ok();
    asked.map_or(default, |n| {
        n.parse().expect("HIOLOAD_FUZZ_INPUTS is a number")
    })
}

fn random(target: usize, inputs: u64) {
    let (name, run) = TARGETS[target];
    let corpus = corpus(name);
    for seed in 0..rounds(inputs) {
        let input = mutated(&corpus, &mut Random::new(seed));
        check(run, &input, || {
            let path = folder("artifacts", name).join(format!("random-{seed}"));
            let kept = fs::create_dir_all(path.parent().expect("a folder"))
                .and_then(|()| fs::write(&path, &input));
            format!(
                "random input {seed}, written to {} ({kept:?})",
                path.display()
            )
        });
    }
}

/// An input made from one or two committed ones.
fn mutated(corpus: &[(PathBuf, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].1.clone();
    if random.below(3) == 0 {
        let other = &corpus[random.below(corpus.len())].1;
        input.truncate(random.below(input.len() + 1));
        input.extend_from_slice(&other[random.below(other.len())..]);
    }
    for _ in 0..random.below(6) {
        let at = random.below(input.len().max(1));
        match (random.below(5), input.get_mut(at)) {
            (_, None) => input.push(random.below(256) as u8),
            (0, Some(byte)) => *byte ^= 1 << random.below(8),
            (1, Some(byte)) => *byte = random.below(256) as u8,
            (2, _) => drop(input.remove(at)),
            (3, _) => input.insert(at, [0, 1, 127, 128, 255][random.below(5)]),
            _ => {
                let end = (at + 1 + random.below(40)).min(input.len());
                let copy = input[at..end].to_vec();
                input.splice(at..at, copy);
            }
        }
    }
    // The seed of the splits.
    for byte in input.iter_mut().skip(1).take(4) {
        *byte = random.below(256) as u8;
    }
    input
}

#[test]
fn the_committed_seeds_are_those_of_the_code() {
    let write = std::env::var_os("HIOLOAD_WRITE_SEEDS").is_some();
    for &(target, _) in TARGETS {
        for (name, content) in seeds::of(target) {
            let path = folder("corpus", target).join(name);
            if write {
                fs::create_dir_all(folder("corpus", target)).expect("writable");
                fs::write(&path, &content).expect("writable");
            }
            let committed = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(
                committed == content,
                "{} differs: HIOLOAD_WRITE_SEEDS=1 writes it",
                path.display()
            );
        }
    }
}

#[test]
fn handshake_corpus() {
    replay(place("handshake"));
}

#[test]
fn frames_corpus() {
    replay(place("frames"));
}

#[test]
fn deflate_corpus() {
    replay(place("deflate"));
}

#[test]
fn session_corpus() {
    replay(place("session"));
}

#[test]
fn packets_corpus() {
    replay(place("packets"));
}

#[test]
fn parse_corpus() {
    replay(place("parse"));
}

/// The place of a target.
fn place(name: &str) -> usize {
    let mut targets = TARGETS.iter();
    targets
        .position(|target| target.0 == name)
        .expect("a target")
}

#[test]
fn proxy_corpus() {
    replay(place("proxy"));
}

#[test]
fn topics_corpus() {
    replay(place("topics"));
}

#[test]
fn control_corpus() {
    replay(place("control"));
}

#[test]
fn tls_handshake_corpus() {
    replay(place("tls_handshake"));
}

#[test]
fn tls_records_corpus() {
    replay(place("tls_records"));
}

#[cfg(target_os = "linux")]
#[test]
fn redirect_corpus() {
    replay(place("redirect"));
}

#[cfg(target_os = "linux")]
#[test]
fn the_inputs_of_redirect_reach_every_verdict_in_both_modes() {
    use hioload_redirect_native::{Action, Verdict};

    let inputs = corpus("redirect");
    for shared in [0, fuzz::redirect::SHARED] {
        let of_mode = inputs
            .iter()
            .filter(|(_, input)| input[0] & fuzz::redirect::SHARED == shared);
        let results: Vec<_> = of_mode
            .map(|(_, input)| fuzz::redirect::outcome(input))
            .collect();
        // A shared address has no ARP and neighbour discovery of ours, and keeps other protocols.
        let never = [Verdict::Arp, Verdict::Nd, Verdict::OtherProtocol];
        for verdict in Verdict::ALL {
            let reached = results.iter().any(|result| result.1 == verdict);
            let wanted = shared == 0 || !never.contains(&verdict);
            assert_eq!(reached, wanted, "{verdict:?} with {shared}");
        }
        let dropped = |verdict| results.contains(&(Action::Drop, verdict));
        assert!(dropped(Verdict::StackedTags) && dropped(Verdict::Malformed));
        assert_eq!(dropped(Verdict::Fragment), shared != 0);
    }
}

#[test]
fn the_inputs_of_parse_reach_every_result() {
    use hioload_tcp::Reason;
    use hioload_tcp::fuzzing::Parsed;

    let inputs = corpus("parse");
    let results: Vec<Parsed> = inputs
        .iter()
        .map(|(_, input)| fuzz::parse::outcome(input))
        .collect();
    for &reason in Reason::ALL {
        assert!(results.contains(&Parsed::Dropped(reason)), "{reason:?}");
    }
    let is = |is: fn(&Parsed) -> bool| results.iter().filter(|&result| is(result)).count();
    assert!(is(|result| matches!(result, Parsed::Tcp(_))) >= 13);
    assert_eq!(is(|result| matches!(result, Parsed::Arp(..))), 1);
    assert_eq!(is(|result| matches!(result, Parsed::Icmp(..))), 2);
}

#[test]
fn handshake_random() {
    random(place("handshake"), 3000);
}

#[test]
fn frames_random() {
    random(place("frames"), 3000);
}

#[test]
fn deflate_random() {
    random(place("deflate"), 500);
}

#[test]
fn session_random() {
    random(place("session"), 200);
}

#[test]
fn packets_random() {
    random(place("packets"), 1000);
}

#[test]
fn parse_random() {
    random(place("parse"), 20_000);
}

#[test]
fn proxy_random() {
    random(place("proxy"), 20_000);
}

#[test]
fn topics_random() {
    random(place("topics"), 300);
}

#[test]
fn control_random() {
    random(place("control"), 5000);
}

#[test]
fn tls_handshake_random() {
    random(place("tls_handshake"), 300);
}

#[test]
fn tls_records_random() {
    random(place("tls_records"), 5000);
}

#[cfg(target_os = "linux")]
#[test]
fn redirect_random() {
    random(place("redirect"), 20_000);
}
