//! The settings of a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::Clock;
use crate::error::ConfigError;
use crate::event::Observer;
use crate::name::Name;
use crate::policy::{Backoff, Cancel, Probes, Trip, check_time, failure_rate};

/// Shared by the breakers that were made of one another.
pub(crate) struct Settings {
    pub(crate) trip: Trip,
    pub(crate) backoff: Backoff,
    pub(crate) probes: Probes,
    pub(crate) cancel: Cancel,
    pub(crate) clock: Clock,
    pub(crate) observer: Option<Arc<dyn Observer>>,
}

impl Settings {
    pub(crate) fn reads_start(&self) -> bool {
        matches!(self.cancel, Cancel::FailureAfter(_))
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.trip.check()?;
        self.backoff.check()?;
        self.probes.check()?;
        match self.cancel {
            Cancel::FailureAfter(time) => check_time(time).map(drop),
            Cancel::Ignore | Cancel::Failure => Ok(()),
        }
    }
}

/// Builds a [`Breaker`].
#[must_use = "a builder builds nothing until it is told to"]
pub struct Builder {
    name: Name,
    settings: Settings,
}

impl Builder {
    pub(crate) fn new(name: Name) -> Self {
        let (first, longest) = (Duration::from_secs(5), Duration::from_mins(1));
        Self {
            name,
            settings: Settings {
                trip: failure_rate(0.5).into(),
                backoff: Backoff::exponential(first, 2.0, longest).jitter(0.1),
                probes: Probes::new(3),
                cancel: Cancel::Ignore,
                clock: Clock::default(),
                observer: None,
            },
        }
    }

    /// When to open. Default: half of the calls of the last ten seconds failed, from 20 calls on.
    pub fn trip(mut self, trip: impl Into<Trip>) -> Self {
        self.settings.trip = trip.into();
        self
    }

    /// How long to stay open. Default: 5 s, doubled at each further opening, up to a minute, ±10 %.
    pub fn open_for(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// How to find out whether the service is back. Default: three probes, all of which must succeed, within 30 s.
    pub fn half_open(mut self, probes: Probes) -> Self {
        self.settings.probes = probes;
        self
    }

    /// What a caller's leaving means. Default: nothing.
    pub fn on_cancel(mut self, cancel: Cancel) -> Self {
        self.settings.cancel = cancel;
        self
    }

    /// The clock to go by. Default: [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.settings.clock = clock.into();
        self
    }

    /// Who hears of transitions. Default: nobody.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.settings.observer = Some(Arc::new(observer));
        self
    }

    /// Builds the breaker, closed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a setting that no breaker can have.
    pub fn build(self) -> Result<Breaker, ConfigError> {
        self.settings.check()?;
        Breaker::from_settings(self.name, Arc::new(self.settings))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("trip", &self.settings.trip)
            .field("open_for", &self.settings.backoff)
            .field("half_open", &self.settings.probes)
            .field("on_cancel", &self.settings.cancel)
            .field("clock", &self.settings.clock)
            .finish_non_exhaustive()
    }
}
