//! How many claims each scope holds in this process.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shared::OneOf;

type Counts = Mutex<HashMap<Box<[u8]>, usize>>;

/// Bounds the running claims of each scope. It remembers the scopes that hold one, and no others.
#[derive(Clone, Debug)]
pub(crate) struct Scopes {
    at_most: NonZeroUsize,
    counts: Arc<Counts>,
}

/// A place among the running claims of a scope. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place {
    scope: Box<[u8]>,
    counts: Arc<Counts>,
}

/// Room for a running claim: in its layer, and in its scope where that has a limit. Dropping it gives it back.
pub(crate) struct Room {
    pub(crate) _in_layer: OneOf,
    pub(crate) _in_scope: Option<Place>,
}

impl Scopes {
    pub(crate) fn new(at_most: NonZeroUsize) -> Self {
        Self {
            at_most,
            counts: Arc::default(),
        }
    }

    /// Whether the scope has as many as it may have.
    pub(crate) fn is_full(&self, scope: &[u8]) -> bool {
        let counts = lock(&self.counts);
        counts
            .get(scope)
            .is_some_and(|count| *count >= self.at_most.get())
    }

    /// `None` when the scope has as many as it may have.
    pub(crate) fn enter(&self, scope: &[u8]) -> Option<Place> {
        let mut counts = lock(&self.counts);
        match counts.get_mut(scope) {
            Some(count) if *count >= self.at_most.get() => return None,
            Some(count) => *count += 1,
            None => drop(counts.insert(scope.into(), 1)),
        }
        Some(Place {
            scope: scope.into(),
            counts: Arc::clone(&self.counts),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.scope) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.scope);
            }
        }
    }
}

fn lock(counts: &Counts) -> MutexGuard<'_, HashMap<Box<[u8]>, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_has_its_own_places_and_gives_them_back() {
        let scopes = Scopes::new(NonZeroUsize::new(2).unwrap());
        let (first, second) = (scopes.enter(b"a"), scopes.enter(b"a"));
        assert!(first.is_some() && second.is_some());
        assert!(scopes.enter(b"a").is_none());
        assert!(scopes.enter(b"b").is_some(), "another scope has its own");
        drop(first);
        assert!(scopes.enter(b"a").is_some());
        drop(second);
        assert!(lock(&scopes.counts).is_empty(), "no scope is remembered");
    }
}
