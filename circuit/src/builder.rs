//! The settings of a breaker.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::Clock;
use crate::config::Settings;
use crate::error::ConfigError;
use crate::event::Observer;
use crate::name::Name;
use crate::policy::{Backoff, Cancel, Probes, Ramp, Trip, check_time};
use crate::watch::{Hears, Observers};

/// What a breaker is made with, and keeps.
#[derive(Clone)]
pub(crate) struct Fixed {
    pub(crate) clock: Clock,
    /// From its start on no rule opens it for so long.
    pub(crate) warm_up: Duration,
    pub(crate) observers: Arc<Observers>,
    /// The span over which latencies are kept.
    #[cfg(feature = "histogram")]
    pub(crate) latencies: Option<Duration>,
}

impl Fixed {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::default(),
            warm_up: Duration::ZERO,
            observers: Arc::default(),
            #[cfg(feature = "histogram")]
            latencies: None,
        }
    }

    /// Whether anybody beside the rules asks how long calls take.
    pub(crate) fn times_calls(&self) -> bool {
        #[cfg(feature = "histogram")]
        if self.latencies.is_some() {
            return true;
        }
        self.observers.hear_calls()
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.warm_up > Duration::ZERO {
            check_time(self.warm_up)?;
        }
        #[cfg(feature = "histogram")]
        if let Some(span) = self.latencies {
            check_time(span)?;
        }
        Ok(())
    }
}

/// Builds a [`Breaker`], or as a [`Change`] sets what can be changed while one runs.
#[must_use = "a builder builds nothing until it is told to"]
pub struct Builder<Of = New> {
    name: Name,
    settings: Settings,
    fixed: Fixed,
    of: PhantomData<Of>,
}

/// The [`Builder`] that a breaker in use is changed by: [`Breaker::reconfigure`].
pub type Change = Builder<Running>;

/// Marks the [`Builder`] of a new breaker.
#[derive(Clone, Copy, Debug)]
pub enum New {}

/// Marks a [`Change`] of a running one.
#[derive(Clone, Copy, Debug)]
pub enum Running {}

impl<Of> Builder<Of> {
    pub(crate) fn new(name: Name, settings: Settings, fixed: Fixed) -> Self {
        Self {
            name,
            settings,
            fixed,
            of: PhantomData,
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

    /// How a service gets its load back after it has recovered. Default: all at once.
    pub fn ramp(mut self, ramp: impl Into<Option<Ramp>>) -> Self {
        self.settings.ramp = ramp.into();
        self
    }

    /// How many calls may be under way at the same time, in every state. Further ones are rejected with
    /// [`Reason::Saturated`](crate::Reason::Saturated), which is no failure of anybody. Default: any number.
    pub fn max_in_flight(mut self, calls: impl Into<Option<u32>>) -> Self {
        self.settings.max_in_flight = calls.into();
        self
    }
}

impl Builder<New> {
    /// The clock to go by. Default: [`Clock::system`].
    pub fn clock(mut self, clock: impl Into<Clock>) -> Self {
        self.fixed.clock = clock.into();
        self
    }

    /// No rule opens the breaker for so long after it was built, at most a day; calls are counted all the while. For services that fail until
    /// their caches and pools have filled. A breaker of a key is built when its key is first asked for, and warms up from then on. opossum's `allowWarmUp` lasts
    /// one window. Default: not at all.
    pub fn warm_up(mut self, time: Duration) -> Self {
        self.fixed.warm_up = time;
        self
    }

    /// One more who hears of transitions. Default: nobody.
    pub fn observer(self, observer: impl Observer) -> Self {
        self.add_observer(observer, Hears::Transitions)
    }

    /// One more who hears of transitions and of every single call. Costs two readings of the clock per call, and what the observer costs.
    pub fn observer_of_calls(self, observer: impl Observer) -> Self {
        self.add_observer(observer, Hears::Calls)
    }

    fn add_observer(mut self, observer: impl Observer, hears: Hears) -> Self {
        Arc::make_mut(&mut self.fixed.observers).add(Arc::new(observer), hears);
        self
    }

    /// Keeps how long calls take, for [`Snapshot::latencies`](crate::Snapshot::latencies): over the last one to two spans of this length, from a
    /// millisecond to a day, in about 8 KiB. Default: not kept.
    #[cfg(feature = "histogram")]
    pub fn latencies(mut self, span: Duration) -> Self {
        self.fixed.latencies = Some(span);
        self
    }

    /// Builds the breaker, closed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a setting that no breaker can have.
    pub fn build(self) -> Result<Breaker, ConfigError> {
        self.fixed.check()?;
        let breaker = Breaker::new(self.name, Arc::new(self.settings), self.fixed)?;
        breaker.tell_built();
        Ok(breaker)
    }
}

impl Builder<Running> {
    pub(crate) fn into_settings(self) -> Settings {
        self.settings
    }
}

impl<Of> fmt::Debug for Builder<Of> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .field("clock", &self.fixed.clock)
            .finish_non_exhaustive()
    }
}
