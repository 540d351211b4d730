//! What time it is.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::monotonic::Start;

/// The clock of a breaker. Clones tell the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Start),
    #[cfg(feature = "quanta")]
    Quanta {
        clock: quanta::Clock,
        origin: u64,
    },
    Manual(ManualClock),
    Custom(Arc<dyn Fn() -> Duration + Send + Sync>),
}

impl Clock {
    /// The monotonic clock of the system, as the standard library's `Instant`. The default.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Start::now()))
    }

    /// The processor's time stamp counter, read in less than half the time. The first one in a process takes a moment to calibrate.
    #[cfg(feature = "quanta")]
    #[must_use]
    pub fn quanta() -> Self {
        let clock = quanta::Clock::new();
        let origin = clock.raw();
        Self(Source::Quanta { clock, origin })
    }

    /// Tokio's clock: that of the system, but paused where tokio's is.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn tokio() -> Self {
        let start = tokio::time::Instant::now();
        Self::from_fn(move || start.elapsed())
    }

    /// A clock of yours: the time since some moment of its choice. With
    /// `let start = tokio::time::Instant::now(); Clock::from_fn(move || start.elapsed())` a breaker follows tokio's paused clock.
    #[must_use]
    pub fn from_fn(elapsed: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Source::Custom(Arc::new(elapsed)))
    }

    /// Nanoseconds since a day before the origin of this clock: so long ago may be what is restored from a snapshot.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        DAY + self.elapsed()
    }

    #[inline]
    fn elapsed(&self) -> u64 {
        match &self.0 {
            Source::System(start) => start.elapsed(),
            #[cfg(feature = "quanta")]
            Source::Quanta { clock, origin } => clock.delta_as_nanos(*origin, clock.raw()),
            _ => self.ask(),
        }
    }

    /// Apart: what is slow to ask would only be in the way of what is quick.
    #[inline(never)]
    fn ask(&self) -> u64 {
        let elapsed = match &self.0 {
            Source::Manual(clock) => clock.0.load(Ordering::Acquire),
            Source::Custom(elapsed) => nanos(elapsed()),
            _ => unreachable!("read in `now`"),
        };
        elapsed.min(u64::MAX - DAY)
    }
}

const DAY: u64 = crate::policy::A_DAY.as_secs() * 1_000_000_000;

/// Saturates: 64 bits of nanoseconds are five centuries.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(time.subsec_nanos().into())
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System(_) => "Clock::System",
            #[cfg(feature = "quanta")]
            Source::Quanta { .. } => "Clock::Quanta",
            Source::Manual(_) => "Clock::Manual",
            Source::Custom(_) => "Clock::Custom",
        })
    }
}

/// A clock that stands still until a test moves it.
///
/// ```
/// use buttress_circuit::{Breaker, ManualClock, State, Verdict, consecutive};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let breaker = Breaker::builder("payments").trip(consecutive(1)).clock(&clock).build()?;
/// breaker.try_acquire()?.failure();
/// assert_eq!(breaker.state(), State::Open);
/// clock.advance(Duration::from_mins(1));
/// assert_eq!(breaker.state(), State::HalfOpen);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let later = |now: u64| Some(now.saturating_add(nanos(time)));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Sets the time that has passed since zero, also to an earlier one: no clock of a breaker's own does that.
    pub fn set(&self, elapsed: Duration) {
        self.0.store(nanos(elapsed), Ordering::Release);
    }
}

impl From<&ManualClock> for Clock {
    fn from(clock: &ManualClock) -> Self {
        Self(Source::Manual(clock.clone()))
    }
}
