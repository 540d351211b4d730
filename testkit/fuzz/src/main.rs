//! `cargo run -p fuzz --release -- [SECONDS]`: mutates the corpora, so long for each target. A panic is a find: the input is printed,
//! to be put into the corpus.
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::path::Path;
use std::time::{Duration, Instant};

fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|arg| arg.parse().ok())
        .unwrap_or(10);
    for target in fuzz::TARGETS {
        let runs = attack(target, Duration::from_secs(seconds));
        println!("{:12} {runs} inputs, no find", target.name);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program that runs for a time reads the clock"
)]
fn attack(target: &fuzz::Target, time: Duration) -> u64 {
    let corpus = corpus(target.name);
    let started = Instant::now();
    let mut runs = 0;
    while started.elapsed() < time {
        for _ in 0..1000 {
            let input = mutate(&corpus);
            let survived = std::panic::catch_unwind(|| (target.run)(&input));
            assert!(survived.is_ok(), "{}: {:?}", target.name, bytes_of(&input));
            runs += 1;
        }
    }
    runs
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let files = std::fs::read_dir(folder).expect("each target has a corpus");
    files
        .map(|file| std::fs::read(file.expect("a file").path()).expect("its bytes"))
        .collect()
}

/// An input of the corpus, or two halves of two, with a few bytes changed, taken out or put in.
fn mutate(corpus: &[Vec<u8>]) -> Vec<u8> {
    let any = || &corpus[fastrand::usize(..corpus.len())];
    let mut input = any().clone();
    if fastrand::u8(..4) == 0 {
        input.truncate(fastrand::usize(..=input.len()));
        let other = any();
        input.extend_from_slice(&other[fastrand::usize(..=other.len())..]);
    }
    for _ in 0..fastrand::u8(1..6) {
        let at = fastrand::usize(..=input.len());
        match fastrand::u8(..4) {
            0 if at < input.len() => input[at] = fastrand::u8(..),
            1 if at < input.len() => drop(input.remove(at)),
            2 => input.insert(
                at,
                *fastrand::choice(b",;=\"\\ \t*/-0q\x00\xff").unwrap_or(&b','),
            ),
            _ => input.insert(at, fastrand::u8(..)),
        }
    }
    input
}

fn bytes_of(input: &[u8]) -> String {
    input.escape_ascii().to_string()
}
