//! Settings that somebody brings along.

use std::time::Duration;

use crate::breaker::Breaker;
use crate::builder::{Builder, New};
use crate::name::Name;
use crate::policy::{Backoff, Cancel, Probes, failure_rate_above};
use crate::window::Window;

impl Breaker {
    /// Starts a breaker with the defaults of opossum 10: it opens when more than half of the calls of the last ten seconds failed, from the first
    /// call on; stays open for 30 seconds; and lets one probe decide. With the feature `histogram` it keeps latencies.
    ///
    /// What is different, and why:
    ///
    /// - opossum's `timeout` of ten seconds belongs to the layer: `CircuitLayer::timeout` (feature `tokio`).
    /// - A probe that does not answer within 30 seconds has failed. In opossum without a timeout it would be waited for, for ever.
    /// - Rejected calls are not part of the rate, and neither are answers from a cache.
    /// - An answer that comes after a transition counts for nothing, and the window is empty after each.
    /// - The window has 16 buckets in place of ten.
    /// - opossum's `fallback` also answers calls that failed or took too long: that is `CircuitLayer::fallback_if`.
    ///
    /// opossum's options are this breaker's, one by one:
    ///
    /// ```
    /// use buttress_circuit::{Breaker, Window, failure_rate_above};
    /// use std::time::Duration;
    ///
    /// // { errorThresholdPercentage: 40, volumeThreshold: 10, rollingCountTimeout: 20000, allowWarmUp: true }
    /// let window = Duration::from_secs(20);
    /// let breaker = Breaker::like_opossum("payments")
    ///     .trip(failure_rate_above(0.4).over(Window::time(window)).min_calls(10))
    ///     .warm_up(window)
    ///     .build()?;
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// ```
    ///
    /// Its defaults:
    ///
    /// ```
    /// use buttress_circuit::{Breaker, State};
    ///
    /// let breaker = Breaker::like_opossum("payments").build()?;
    /// breaker.try_acquire()?.failure();
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn like_opossum(name: impl Into<Name>) -> Builder<New> {
        let (window, reset) = (Duration::from_secs(10), Duration::from_secs(30));
        let trip = failure_rate_above(0.5).over(Window::time(window));
        let builder = Self::builder(name)
            .trip(trip.min_calls(1))
            .open_for(Backoff::constant(reset))
            .half_open(Probes::new(1).max_wait(reset))
            .on_cancel(Cancel::Ignore);
        #[cfg(feature = "histogram")]
        let builder = builder.latencies(window);
        builder
    }
}
