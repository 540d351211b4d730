//! What a response goes by: mostly nothing.

use std::ops::Deref;
use std::sync::Arc;

/// A list that many share. An empty one is nowhere, and costs nobody a count.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct List<T>(Option<Arc<[T]>>);

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<T> From<Vec<T>> for List<T> {
    fn from(all: Vec<T>) -> Self {
        Self((!all.is_empty()).then(|| all.into()))
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}
