//! How a half-open breaker finds out.

use std::time::Duration;

use super::{Ratio, check_time};
use crate::error::ConfigError;

/// The calls that a half-open breaker lets through to see whether the service is back.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Probes {
    pub(crate) count: u32,
    success_ratio: f64,
    pub(crate) max_wait: Duration,
}

const MAX_PROBES: u32 = 4095;

impl Probes {
    /// Lets `count` calls through, all of which must succeed. From 1 to 4095.
    pub const fn new(count: u32) -> Self {
        Self {
            count,
            success_ratio: 1.0,
            max_wait: Duration::from_secs(30),
        }
    }

    /// Closes when this share of the probes has succeeded. The breaker decides as soon as the outcome is certain.
    pub const fn success_ratio(self, ratio: f64) -> Self {
        Self {
            success_ratio: ratio,
            ..self
        }
    }

    /// Sets how long to wait for the probes after the last slot was given out; then those that have not answered have failed, and
    /// the breaker opens again. Default 30 seconds, at most a day.
    pub const fn max_wait(self, wait: Duration) -> Self {
        Self {
            max_wait: wait,
            ..self
        }
    }

    pub(crate) fn needed(&self) -> Result<u32, ConfigError> {
        Ok(Ratio::new(self.success_ratio)?.least_of(self.count))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !(1..=MAX_PROBES).contains(&self.count) {
            return Err(ConfigError::Probes(self.count));
        }
        check_time(self.max_wait)?;
        self.needed().map(|_| ())
    }
}
