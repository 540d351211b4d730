//! `std`'s locks, or loom's when the crate is model-checked.

#[cfg(buttress_loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(buttress_loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};
