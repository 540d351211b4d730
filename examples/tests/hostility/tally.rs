//! What was done, by its kind.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// A clone counts in the same place.
#[derive(Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Tally {
    pub(crate) fn up(&self, kind: &'static str) {
        *self.0.lock().unwrap().entry(kind).or_default() += 1;
    }

    pub(crate) fn count(&self, kind: &str) -> u64 {
        self.0.lock().unwrap().get(kind).copied().unwrap_or(0)
    }

    /// How many acts were those of somebody who means well.
    pub(crate) fn good(&self) -> u64 {
        let kinds = self.0.lock().unwrap();
        let good = kinds.iter().filter(|(kind, _)| kind.starts_with("good "));
        good.map(|(_, count)| count).sum()
    }

    /// How many acts there were, without what is told of their answers.
    pub(crate) fn total(&self) -> u64 {
        let kinds = self.0.lock().unwrap();
        let acts = kinds
            .iter()
            .filter(|(kind, _)| !kind.starts_with("answers "));
        acts.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in &*self.0.lock().unwrap() {
            writeln!(f, "  {count:>9}  {kind}")?;
        }
        Ok(())
    }
}
