//! When a breaker opens.

use std::time::Duration;

use super::{Ratio, check_time};
use crate::error::ConfigError;
use crate::window::Window;

/// Trips when at least the share `ratio` of the calls in the window failed. By default over the last ten seconds, from 20 calls on.
pub fn failure_rate(ratio: f64) -> Rate {
    Rate::new(Subject::Failures, ratio)
}

/// The same, when *more* than the share `ratio` of them failed, as opossum has it. Shares differ by no less than a millionth here: more than all of them is a share that
/// is refused.
pub fn failure_rate_above(ratio: f64) -> Rate {
    Rate::new(Subject::Failures, ratio + 1e-6)
}

/// Trips when at least the share `ratio` of the calls in the window took `longer_than` or more, whatever their verdict; ignored calls
/// are not counted. By default over the last ten seconds, from 20 calls on. A slow probe is a failed probe.
pub fn slow_calls(longer_than: Duration, ratio: f64) -> Rate {
    Rate::new(Subject::Slow(longer_than), ratio)
}

/// Trips at the `failures`-th failure in a row. A success starts anew; an ignored call changes nothing.
pub fn consecutive(failures: u32) -> Trip {
    Trip(vec![RuleSpec::Consecutive(failures)])
}

/// A rule about the share of the calls in a window. Made by [`failure_rate`] and [`slow_calls`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Rate {
    pub(crate) subject: Subject,
    ratio: f64,
    pub(crate) window: Window,
    min_calls: Option<u32>,
}

/// What counts as a hit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    Failures,
    Slow(Duration),
}

const DEFAULT_MIN_CALLS: u32 = 20;

impl Rate {
    fn new(subject: Subject, ratio: f64) -> Self {
        Self {
            subject,
            ratio,
            window: Window::time(Duration::from_secs(10)),
            min_calls: None,
        }
    }

    /// Sets the calls that the rate is taken over.
    pub fn over(self, window: Window) -> Self {
        Self { window, ..self }
    }

    /// Sets how many calls the window must hold before the rule may trip. Default 20, or the whole window where that is less.
    pub fn min_calls(self, calls: u32) -> Self {
        Self {
            min_calls: Some(calls),
            ..self
        }
    }

    /// Trips also when `other` does.
    pub fn or(self, other: impl Into<Trip>) -> Trip {
        Trip::from(self).or(other)
    }

    pub(crate) fn threshold(&self) -> Result<Ratio, ConfigError> {
        Ratio::new(self.ratio)
    }

    pub(crate) fn volume(&self) -> u32 {
        self.min_calls.unwrap_or_else(|| {
            let fits = |calls: &u32| self.window.can_hold(*calls);
            (1..=DEFAULT_MIN_CALLS).rev().find(fits).unwrap_or(1)
        })
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.threshold()?;
        self.window.check()?;
        if let Subject::Slow(longer_than) = self.subject {
            check_time(longer_than)?;
        }
        let volume = self.volume();
        let fits = volume > 0 && self.window.can_hold(volume);
        fits.then_some(()).ok_or(ConfigError::MinCalls(volume))
    }
}

/// The rules of a breaker: it opens when any of them trips.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Trip(Vec<RuleSpec>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RuleSpec {
    Rate(Rate),
    Consecutive(u32),
}

impl Trip {
    /// Trips also when `other` does.
    pub fn or(mut self, other: impl Into<Self>) -> Self {
        self.0.extend(other.into().0);
        self
    }

    pub(crate) fn rules(&self) -> &[RuleSpec] {
        &self.0
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.0.iter().try_for_each(|rule| match rule {
            RuleSpec::Rate(rate) => rate.check(),
            RuleSpec::Consecutive(0) => Err(ConfigError::NoFailures),
            RuleSpec::Consecutive(_) => Ok(()),
        })
    }
}

impl From<Rate> for Trip {
    fn from(rate: Rate) -> Self {
        Self(vec![RuleSpec::Rate(rate)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_could_never_trip_is_refused() {
        let ten = Window::calls(10);
        for (rule, error) in [
            (failure_rate(0.0).into(), ConfigError::Ratio(0.0)),
            (failure_rate(1.5).into(), ConfigError::Ratio(1.5)),
            (
                failure_rate(0.5).min_calls(0).into(),
                ConfigError::MinCalls(0),
            ),
            (
                failure_rate(0.5).over(ten).min_calls(11).into(),
                ConfigError::MinCalls(11),
            ),
            (
                failure_rate(0.5).over(Window::calls(0)).into(),
                ConfigError::Window(Window::calls(0)),
            ),
            (
                failure_rate(0.5)
                    .over(Window::time(Duration::from_millis(15)))
                    .into(),
                ConfigError::Window(Window::time(Duration::from_millis(15))),
            ),
            (
                slow_calls(Duration::ZERO, 0.5).into(),
                ConfigError::Time(Duration::ZERO),
            ),
            (
                failure_rate(0.5).or(consecutive(0)),
                ConfigError::NoFailures,
            ),
        ] {
            assert_eq!(Trip::check(&rule), Err(error));
        }
    }

    #[test]
    fn the_default_volume_fits_its_window() {
        for (window, volume) in [
            (Window::calls(10), 10),
            (Window::calls(100), 20),
            (Window::time(Duration::from_secs(1)), 20),
        ] {
            let rate = failure_rate(0.5).over(window);
            assert_eq!(rate.volume(), volume);
            assert_eq!(Trip::from(rate).check(), Ok(()));
        }
    }
}
