//! Every target over its seeds, over what once failed, and over mutations of both that a seed chooses.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use cairn_fuzz::{TARGETS, Target};

/// Mutations for each target, and the seed of the first. The log's cost a few syncs each.
const MUTATIONS: u64 = 8000;
const MUTATIONS_OF_LOGS: u64 = 400;
const SEED: u64 = 1;
/// Changes made to an input at once, and the most bytes that one of them inserts.
const CHANGES_MAX: u64 = 6;
const INSERTED_BYTES_MAX: u64 = 16;

/// What JSON, XML, forms, framings and heads are made of, and numbers at the ends of their ranges.
const WORDS: [&[u8]; 24] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"<",
    b">",
    b"/",
    b"&",
    b"=",
    b"%",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\\u0000",
    b"null",
    b"-1",
    b"1e309",
    b"18446744073709551615",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
    b"\xc3\xa9",
];

/// Splitmix64: the same changes on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).expect("below a usize")
    }
}

/// The inputs that are kept of a target.
fn kept(folder: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(target);
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut inputs: Vec<_> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("the input can be read")))
        .collect();
    inputs.sort();
    inputs
}

fn mutated(inputs: &[(String, Vec<u8>)], random: &mut Random) -> Vec<u8> {
    let mut input = inputs[random.index(inputs.len())].1.clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        let at = random.index(input.len() + 1);
        let to = (at + random.index(input.len() - at + 1).min(64)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..to)),
            3 => drop(input.splice(at..at, WORDS[random.index(WORDS.len())].iter().copied())),
            4 => drop(input.splice(at..to, WORDS[random.index(WORDS.len())].iter().copied())),
            5 => {
                let part = input[at..to].to_vec();
                let place = random.index(input.len() + 1);
                drop(input.splice(place..place, part));
            }
            6 => {
                let other = &inputs[random.index(inputs.len())].1;
                input.truncate(at);
                input.extend_from_slice(&other[random.index(other.len() + 1)..]);
            }
            _ => {
                let count = random.below(INSERTED_BYTES_MAX);
                let bytes: Vec<u8> = (0..count).map(|_| random.below(256) as u8).collect();
                drop(input.splice(at..at, bytes));
            }
        }
    }
    input
}

/// Runs the target; where it panics, keeps the input and says where.
fn check((name, run): Target, origin: &str, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| run(input))).is_err() {
        let path = std::env::temp_dir().join(format!("cairn-fuzz-{name}-failure"));
        fs::write(&path, input).expect("the input can be kept");
        panic!("{name} fails on {origin}; the input is in {}", path.display());
    }
}

#[test]
fn every_target_has_seeds_and_holds_over_what_is_kept() {
    for target in TARGETS {
        let (seeds, regressions) = (kept("corpus", target.0), kept("regressions", target.0));
        assert!(!seeds.is_empty(), "{} has no seeds", target.0);
        for (path, input) in seeds.iter().chain(&regressions) {
            check(target, path, input);
        }
    }
}

#[test]
fn every_target_holds_over_mutations() {
    for target in TARGETS {
        let inputs = [kept("corpus", target.0), kept("regressions", target.0)].concat();
        let mutations = if target.0 == "log" { MUTATIONS_OF_LOGS } else { MUTATIONS };
        for seed in SEED..SEED + mutations {
            let input = mutated(&inputs, &mut Random(seed));
            check(target, &format!("the mutation of seed {seed}"), &input);
        }
    }
}

#[test]
fn every_target_is_a_program_of_libfuzzers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("libfuzzer/Cargo.toml")).unwrap();
    let library = fs::read_to_string(root.join("src/lib.rs")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        assert!(
            library.contains(&format!("(\"{name}\", {name}::run)")),
            "{name} is another target's function"
        );
    }
}
