//! What an operator may do to a breaker.

use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::builder::Change;
use crate::config::{Config, Settings};
use crate::control::Untold;
use crate::error::ConfigError;
use crate::event::Cause;
use crate::machine::State;
use crate::policy::A_DAY;

impl Breaker {
    /// Rejects every call until told otherwise: time does not end it.
    pub fn force_open(&self) {
        self.force(State::ForcedOpen);
    }

    /// Lets every call pass and counts nothing, until told otherwise.
    pub fn force_closed(&self) {
        self.force(State::ForcedClosed);
    }

    /// Lets every call pass, counts them, and only tells when it would have opened, until told otherwise.
    pub fn metrics_only(&self) {
        self.force(State::MetricsOnly);
    }

    /// Ends what was forced: closed and with empty windows. Does nothing else.
    pub fn auto(&self) {
        self.shift(Cause::Manual, |_, word, _| {
            word.state()
                .is_manual()
                .then(|| (word.next(State::Closed, 0), None))
        });
    }

    /// As new: closed, with empty windows and the first open time before it, whatever the state was.
    pub fn reset(&self) {
        self.shift(Cause::Manual, |control, word, now| {
            control.forget(now);
            Some((word.next(State::Closed, 0), None))
        });
    }

    /// Opens for `time`, between a millisecond and a day, and then probes: for a health check that knows better. What was forced stays.
    pub fn open_for(&self, time: Duration) {
        let time = time.clamp(Duration::from_millis(1), A_DAY);
        self.shift(Cause::Manual, |_, word, now| {
            let until = crate::machine::deadline(now, time);
            (!word.state().is_manual()).then(|| (word.next(State::Open, until), Some(time)))
        });
    }

    /// Changes the settings, while calls go on: state, back-off and what the windows hold stay as they are, as far as they fit. A window that
    /// is made smaller keeps the latest calls; one of another kind starts empty. A half-open breaker starts its probes anew. Calls that
    /// were admitted before are not counted against a bound on calls in flight that is new.
    ///
    /// `change` is called again if somebody else has reconfigured the breaker at the same time.
    ///
    /// ```
    /// use buttress_circuit::{Breaker, failure_rate};
    ///
    /// let breaker = Breaker::builder("payments").build()?;
    /// breaker.reconfigure(|now| now.trip(failure_rate(0.2)).max_in_flight(100))?;
    /// # Ok::<(), buttress_circuit::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a setting that no breaker can have. Nothing has changed then.
    pub fn reconfigure(&self, change: impl Fn(Change) -> Change) -> Result<(), ConfigError> {
        loop {
            let current = Arc::clone(&self.config().settings);
            let settings = Settings::clone(&current);
            let builder = Change::new(self.name().clone(), settings, self.0.fixed.clone());
            let settings = Arc::new(change(builder).into_settings());
            let config = Config::new(settings, self.0.fixed.times_calls())?;
            if self.adopt(config, &current) {
                return Ok(());
            }
        }
    }

    /// Goes by `config` from now on, unless it was made from another than `current`.
    fn adopt(&self, config: Config, current: &Arc<Settings>) -> bool {
        let now = self.now();
        let mut control = self.control();
        let before = self.config();
        if !Arc::ptr_eq(&before.settings, current) {
            return false;
        }
        let word = self.word();
        let kept = before.keep(word.generation(), now);
        config.remember(word.generation(), now, &kept);
        self.set_config(config);
        if word.is_half_open() {
            let anew = word.next(State::HalfOpen, 0);
            self.set_word(anew);
            control.enqueue_transition(word, anew, Cause::Reconfigured, None);
        }
        control.enqueue(Untold::Reconfigured);
        self.tell(control);
        true
    }

    fn force(&self, state: State) {
        self.shift(Cause::Manual, |_, word, _| {
            (word.state() != state).then(|| (word.next(state, 0), None))
        });
    }
}
