//! The bounds of flights.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Audience, Observer};
use crate::flights::Flights;
use crate::table::{SHARDS, Table};

/// Bounds of [`Flights`].
#[derive(Clone)]
#[must_use]
pub struct FlightsBuilder {
    max_flights: NonZeroUsize,
    max_waiters: NonZeroUsize,
    wait_timeout: Option<Duration>,
    max_age: Option<Duration>,
    landed_for: Duration,
    audience: Audience,
}

impl FlightsBuilder {
    /// How many keys may be in flight at once; over it, [`Role::Full`](crate::Role::Full). Rounded up to a multiple of sixteen, and divided evenly among as many parts of the
    /// table by the hash of the key: a key finds it full when its part is.
    pub fn max_flights(self, max_flights: NonZeroUsize) -> Self {
        Self {
            max_flights,
            ..self
        }
    }

    /// How many followers one flight may have; over it, [`Role::Full`](crate::Role::Full). Once it has [landed](crate::Leader::land), as
    /// many newcomers again may join it; who comes after them starts a new flight.
    pub fn max_waiters(self, max_waiters: NonZeroUsize) -> Self {
        Self {
            max_waiters,
            ..self
        }
    }

    /// How long a follower waits: [`Waited::TimedOut`](crate::Waited::TimedOut). Measured by tokio's clock, with one timer per flight.
    ///
    /// # Panics
    ///
    /// A follower's future does then, when it is polled outside of a tokio runtime with time enabled.
    pub fn wait_timeout(self, timeout: Duration) -> Self {
        Self {
            wait_timeout: Some(timeout),
            ..self
        }
    }

    /// How old a flight may be that is joined; who comes later starts a new one beside it, as after [`forget`](Flights::forget). So
    /// nobody gets a result that was begun longer ago than this, and an operation that hangs holds up only those who came
    /// early. A leader that is promoted counts from when its flight was started. Measured by tokio's clock. Default: any age.
    ///
    /// In a layer with a [`Coordinator`](crate::Coordinator) it is twice this at most: a flight waits for another process whose work is this old at most, and can itself be
    /// joined until it is this old.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self {
            max_age: Some(max_age),
            ..self
        }
    }

    /// For how long a flight that has [landed](crate::Leader::land) can be joined, if its [`Landing`](crate::Landing) lives for so long; who
    /// comes later starts a new flight. Measured by tokio's clock. Default: 1 s.
    pub fn landed_for(self, landed_for: Duration) -> Self {
        Self { landed_for, ..self }
    }

    /// How old a flight may be that is joined.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.max_age
    }

    /// Until when a body may be waited for, once its head is there.
    #[cfg(feature = "http")]
    pub(crate) fn landed(&self) -> Duration {
        self.landed_for
    }

    /// One more who hears of it.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.audience.add(observer);
        self
    }

    /// The flights.
    #[must_use]
    pub fn build<K, V>(self) -> Flights<K, V> {
        Flights::of(Table::new(&self.limits(), &self.audience))
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            flights_per_shard: self.max_flights.get().div_ceil(SHARDS),
            waiters: self.max_waiters.get(),
            wait_timeout: self.wait_timeout,
            max_age: self.max_age,
            landed_for: self.landed_for,
            since: Instant::now(),
        }
    }
}

/// 65 536 flights at once, 1024 followers each, who wait as long as it takes.
impl Default for FlightsBuilder {
    fn default() -> Self {
        const FLIGHTS: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();
        const WAITERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
        Self {
            max_flights: FLIGHTS,
            max_waiters: WAITERS,
            wait_timeout: None,
            max_age: None,
            landed_for: Duration::from_secs(1),
            audience: Audience::default(),
        }
    }
}

impl fmt::Debug for FlightsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightsBuilder")
            .field("max_flights", &self.max_flights)
            .field("max_waiters", &self.max_waiters)
            .field("wait_timeout", &self.wait_timeout)
            .field("max_age", &self.max_age)
            .field("landed_for", &self.landed_for)
            .finish_non_exhaustive()
    }
}

/// What was chosen, as the table needs it, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) flights_per_shard: usize,
    pub(crate) waiters: usize,
    wait_timeout: Option<Duration>,
    max_age: Option<Duration>,
    landed_for: Duration,
    /// When the table was made.
    since: Instant,
}

impl Limits {
    /// When a follower that comes now gives up. `None` is never.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wait_timeout.and_then(from_now)
    }

    /// For how many nanoseconds a flight can be joined. `None` is for ever.
    pub(crate) fn max_age_nanos(&self) -> Option<u64> {
        self.max_age.map(nanos)
    }

    /// What time it is for the table, in nanoseconds. It may be used where tokio's clock is behind that of the place where it was built: it counts from the middle.
    pub(crate) fn age(&self) -> u64 {
        let now = Instant::now();
        let after = nanos(now.saturating_duration_since(self.since));
        let before = nanos(self.since.saturating_duration_since(now));
        (1_u64 << 63).saturating_add(after).saturating_sub(before)
    }

    /// Until when a flight that lands now can be joined. `None` is for ever.
    pub(crate) fn landed_until(&self) -> Option<Instant> {
        from_now(self.landed_for)
    }
}

/// Those of five hundred years and more are all the same.
fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// `None` beyond the end of the clock.
fn from_now(after: Duration) -> Option<Instant> {
    Instant::now().checked_add(after)
}
