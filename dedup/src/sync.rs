//! `std`'s locks, or loom's when the crate is model-checked.

#[cfg(buttress_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(buttress_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

use std::sync::PoisonError;

/// What a panic leaves behind in our locks is whole: of what is a user's only the `Eq` of keys and the `Clone` of wakers run while one is held, and both before
/// anything is changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
