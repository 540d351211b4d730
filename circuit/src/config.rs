//! The settings of a breaker, and what they make of it.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::event::Reading;
use crate::kept::Kept;
use crate::policy::{Backoff, Cancel, Probes, Ramp, Trip, check_time, failure_rate};
use crate::rule::Rule;

/// What can be changed while the breaker runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) trip: Trip,
    pub(crate) backoff: Backoff,
    pub(crate) probes: Probes,
    pub(crate) ramp: Option<Ramp>,
    pub(crate) cancel: Cancel,
    pub(crate) max_in_flight: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        let (first, longest) = (Duration::from_secs(5), Duration::from_mins(1));
        Self {
            trip: failure_rate(0.5).into(),
            backoff: Backoff::exponential(first, 2.0, longest).jitter(0.1),
            probes: Probes::new(3),
            ramp: None,
            cancel: Cancel::Ignore,
            max_in_flight: None,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.trip.check()?;
        self.backoff.check()?;
        self.probes.check()?;
        if let Some(ramp) = self.ramp {
            ramp.check()?;
        }
        if let Cancel::FailureAfter(time) = self.cancel {
            check_time(time)?;
        }
        match self.max_in_flight {
            Some(0) => Err(ConfigError::NoRoom),
            _ => Ok(()),
        }
    }
}

/// The settings at work: what a call asks, computed once.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) rules: Box<[Rule]>,
    /// From how many nanoseconds on some rule calls a call slow.
    pub(crate) slow_from: u64,
    /// Whether anybody asks how long a call took.
    pub(crate) reads_start: bool,
    /// Whether a rule asks when a call ended. Observers and cancelled calls ask for themselves.
    pub(crate) reads_end: bool,
    /// How many probes must succeed.
    pub(crate) needed: u32,
    pub(crate) settings: Arc<Settings>,
}

impl Config {
    /// `times_calls` where somebody beside the rules asks how long calls take.
    pub(crate) fn new(settings: Arc<Settings>, times_calls: bool) -> Result<Self, ConfigError> {
        settings.check()?;
        let specs = settings.trip.rules();
        let mut rules = Vec::with_capacity(specs.len());
        for spec in specs {
            rules.push(Rule::new(spec)?);
        }
        let slow_from = rules.iter().filter_map(Rule::slow_from).min();
        let by_age = matches!(settings.cancel, Cancel::FailureAfter(_));
        let reads_start = slow_from.is_some() || by_age || times_calls;
        Ok(Self {
            reads_end: slow_from.is_some() || rules.iter().any(Rule::needs_time),
            rules: rules.into(),
            slow_from: slow_from.unwrap_or(u64::MAX),
            reads_start,
            needed: settings.probes.needed()?,
            settings,
        })
    }
}

impl Config {
    /// Whether another success would leave every rule as it is.
    #[inline]
    pub(crate) fn is_untouched_by_success(&self, generation: u32) -> bool {
        let is_untouched = |rule: &Rule| rule.is_untouched_by_success(generation);
        self.rules.iter().all(is_untouched)
    }

    pub(crate) fn readings(&self, generation: u32, now: u64) -> Vec<Reading> {
        let read = |rule: &Rule| rule.reading(generation, now);
        self.rules.iter().map(read).collect()
    }

    /// What the rules hold.
    pub(crate) fn keep(&self, generation: u32, now: u64) -> Vec<Kept> {
        let keep = |rule: &Rule| rule.keep(generation, now);
        self.rules.iter().map(keep).collect()
    }

    /// Gives each rule what was kept of the first one of its kind that no other rule has taken up.
    pub(crate) fn remember(&self, generation: u32, now: u64, kept: &[Kept]) {
        let mut left: Vec<&Kept> = kept.iter().collect();
        for rule in &self.rules {
            let fits = |kept: &&Kept| kept.about == rule.about();
            if let Some(at) = left.iter().position(fits) {
                rule.remember(generation, now, &left.remove(at).contents);
            }
        }
    }

    /// How many calls may be under way. Any number, where that is the largest there is.
    pub(crate) fn max_in_flight(&self) -> u32 {
        self.settings.max_in_flight.unwrap_or(u32::MAX)
    }
}

/// The configuration that holds at the moment. One that was never changed is read without any cost.
pub(crate) enum Current<'a> {
    First(&'a Config),
    Changed(arc_swap::Guard<Arc<Config>>),
}

impl Deref for Current<'_> {
    type Target = Config;

    #[inline]
    fn deref(&self) -> &Config {
        match self {
            Self::First(config) => config,
            Self::Changed(config) => config,
        }
    }
}
