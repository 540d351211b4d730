//! Where new ids come from.

use std::cell::RefCell;
use std::num::{NonZeroU64, NonZeroU128};
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::{RequestId, SpanId, TraceId};

/// Where new ids come from.
pub trait IdGenerator: Send + Sync + 'static {
    /// The id of a new trace.
    fn trace_id(&self) -> TraceId;

    /// The id of a new span.
    fn span_id(&self) -> SpanId;

    /// The id of a request that brought none.
    fn request_id(&self) -> RequestId;

    /// Whether the 56 low bits of [`trace_id`](Self::trace_id) are uniformly random: the `random` flag of the
    /// traces started here (W3C Trace Context level 2, 3.2.2.5.2).
    fn is_random(&self) -> bool;
}

/// Uniformly random ids from a fast generator per thread, seeded by the operating system. The default.
///
/// Unique, and not secret: who sees many of them may predict the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct FastIds;

/// Uniformly random ids from a cryptographic generator: nobody predicts the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct SecureIds;

/// 1, 2, 3, … for tests.
#[derive(Debug, Default)]
pub struct SequentialIds(AtomicU64);

thread_local! {
    static FAST: RefCell<SmallRng> = RefCell::new(rand::make_rng());
}

fn fast<R>(draw: impl FnOnce(&mut SmallRng) -> R) -> R {
    FAST.with_borrow_mut(draw)
}

fn non_zero_u128(rng: &mut impl Rng) -> NonZeroU128 {
    loop {
        if let Some(id) = NonZeroU128::new(rng.random()) {
            return id;
        }
    }
}

fn non_zero_u64(rng: &mut impl Rng) -> NonZeroU64 {
    loop {
        if let Some(id) = NonZeroU64::new(rng.random()) {
            return id;
        }
    }
}

impl IdGenerator for FastIds {
    fn trace_id(&self) -> TraceId {
        fast(non_zero_u128).into()
    }

    fn span_id(&self) -> SpanId {
        fast(non_zero_u64).into()
    }

    fn request_id(&self) -> RequestId {
        // Drawn as a number: an array is drawn byte by byte.
        RequestId::from_bytes(fast(|rng| rng.random::<u128>()).to_ne_bytes())
    }

    fn is_random(&self) -> bool {
        true
    }
}

impl IdGenerator for SecureIds {
    fn trace_id(&self) -> TraceId {
        non_zero_u128(&mut rand::rng()).into()
    }

    fn span_id(&self) -> SpanId {
        non_zero_u64(&mut rand::rng()).into()
    }

    fn request_id(&self) -> RequestId {
        RequestId::from_bytes(rand::rng().random::<u128>().to_ne_bytes())
    }

    fn is_random(&self) -> bool {
        true
    }
}

impl SequentialIds {
    /// Starts at 1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn next(&self) -> NonZeroU64 {
        let previous = self.0.fetch_add(1, Ordering::Relaxed);
        NonZeroU64::MIN.saturating_add(previous)
    }
}

impl IdGenerator for SequentialIds {
    fn trace_id(&self) -> TraceId {
        NonZeroU128::from(self.next()).into()
    }

    fn span_id(&self) -> SpanId {
        self.next().into()
    }

    fn request_id(&self) -> RequestId {
        RequestId::from_bytes(u128::from(self.next().get()).to_be_bytes())
    }

    fn is_random(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn all_differ(ids: &dyn IdGenerator) {
        let mut seen = HashSet::new();
        for _ in 0..1000 {
            assert!(seen.insert(ids.trace_id().to_string()));
            assert!(seen.insert(ids.span_id().to_string()));
            assert!(seen.insert(ids.request_id().to_string()));
        }
    }

    #[test]
    fn ids_do_not_repeat() {
        all_differ(&FastIds);
        all_differ(&SecureIds);
    }

    #[test]
    fn two_threads_draw_different_ids() {
        let there = std::thread::spawn(|| FastIds.trace_id()).join().unwrap();
        assert_ne!(FastIds.trace_id(), there);
    }

    #[test]
    fn sequential_ids_count_from_one() {
        let ids = SequentialIds::new();
        assert_eq!(ids.span_id().to_string(), "0000000000000001");
        assert_eq!(ids.trace_id().to_string(), format!("{:032x}", 2));
    }
}
