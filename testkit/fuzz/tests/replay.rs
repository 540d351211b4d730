//! Replays every corpus: what once was found stays found.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn every_corpus_is_replayed() {
    for target in fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let mut inputs = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            (target.run)(&std::fs::read(file.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} has no corpus", target.name);
    }
}
