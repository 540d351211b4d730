//! The atomics of the clock, so that loom can take their place.

#[cfg(not(buttress_loom))]
pub(crate) use std::sync::atomic::AtomicU64;

#[cfg(buttress_loom)]
pub(crate) use loom::sync::atomic::AtomicU64;
