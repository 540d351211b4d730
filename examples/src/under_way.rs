//! What goes on in a program while somebody asks, and must be nothing when nobody does.

use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use buttress_circuit::Breaker;
use buttress_idempotency::MemoryStore;
use buttress_trace_ctx::{Finished, Sink, Started};

/// How much is under way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct UnderWay {
    /// Requests, in and out, whose end the trace layers have not seen yet.
    pub requests: usize,
    /// Calls that breakers have let pass, and whose verdict they wait for.
    pub permits: u32,
    /// Requests that others can join: single flight's, and the caches'.
    pub flights: usize,
    /// Those who wait for somebody else's flight, or for the first request of their key.
    pub waiters: usize,
    /// Idempotency keys that are claimed, and not settled.
    pub claims: usize,
    /// What goes on without a caller: detached work, leases that are kept, refreshes.
    pub tasks: usize,
}

/// What is kept on purpose, and grows with what was done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Kept {
    /// Orders that were placed.
    pub orders: u64,
    /// Idempotency keys, of those in memory.
    pub keys: usize,
    /// Bytes of the responses that are recorded under them.
    pub recorded: usize,
    /// Bytes that the invalidation clocks of caches take: they grow to a bound, and never shrink.
    pub clocks: u64,
}

impl Kept {
    pub(crate) fn keys(store: &MemoryStore) -> Self {
        let now = store.snapshot();
        Self {
            keys: now.keys,
            recorded: now.bytes,
            ..Self::default()
        }
    }
}

impl Add for Kept {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            orders: self.orders + other.orders,
            keys: self.keys + other.keys,
            recorded: self.recorded + other.recorded,
            clocks: self.clocks + other.clocks,
        }
    }
}

/// The calls that these breakers have let pass. Outside of probes they are known where a breaker
/// [bounds](buttress_circuit::Change::max_in_flight) them.
pub fn permits<'a>(breakers: impl IntoIterator<Item = &'a Breaker>) -> u32 {
    let of_one = |breaker: &Breaker| {
        let now = breaker.snapshot();
        now.in_flight.unwrap_or(0).max(now.probes.in_flight)
    };
    breakers.into_iter().map(of_one).sum()
}

/// Counts the requests whose end the trace layers have not seen: a sink for them.
#[derive(Clone, Debug, Default)]
pub struct Active(Arc<AtomicUsize>);

/// One such request.
#[derive(Debug)]
pub struct Open(Active);

impl Active {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Sink for Active {
    type Span = Open;

    const TIMES_HEAD: bool = false;

    fn begin(&self, _: &Started<'_>) -> Option<Open> {
        self.0.fetch_add(1, Relaxed);
        Some(Open(self.clone()))
    }

    fn end(&self, _: Open, _: &Finished<'_>) {}
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
