//! Transitions: one at a time, and told in order.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::nanos;
use crate::event::{Cause, Event, Transition};
use crate::machine::{Slots, State, Word, deadline};
use crate::policy::Backoff;
use crate::stamped::Stamp;
use crate::subscription::Subscribers;
use crate::sync::MutexGuard;

/// What only transitions need.
#[derive(Debug)]
pub(crate) struct Control {
    openings: u32,
    /// On the breaker's clock.
    closed_at: u64,
    luck: fastrand::Rng,
    /// What the observer has not heard yet.
    untold: VecDeque<Untold>,
    subscribers: Option<Arc<Subscribers>>,
    /// Somebody is telling, and will also tell what is added meanwhile.
    telling: bool,
}

/// What happened, until it is told as an [`Event`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Untold {
    Built,
    Transition(Transition),
    Reconfigured,
}

/// How much waits for a slow observer.
const MAX_UNTOLD: usize = 256;

impl Control {
    /// Where anybody observes, that it was built is the first thing to tell.
    pub(crate) fn new(now: u64, has_observers: bool) -> Self {
        Self {
            openings: 0,
            closed_at: now,
            luck: fastrand::Rng::with_seed(seed()),
            untold: has_observers.then_some(Untold::Built).into_iter().collect(),
            subscribers: None,
            telling: false,
        }
    }

    /// How often the breaker has opened since it was last quiet, and for how long it has been closed.
    pub(crate) fn history(&self, now: u64) -> (u32, Duration) {
        let closed_for = now.saturating_sub(self.closed_at);
        (self.openings, Duration::from_nanos(closed_for))
    }

    pub(crate) fn set_history(&mut self, openings: u32, closed_for: Duration, now: u64) {
        self.openings = openings;
        self.closed_at = now.saturating_sub(nanos(closed_for));
    }

    pub(crate) fn forget(&mut self, now: u64) {
        self.openings = 0;
        self.closed_at = now;
    }

    /// How long to be open this time: by the back-off, and no less than was `requested`.
    fn next_opening(
        &mut self,
        from: State,
        backoff: &Backoff,
        requested: Option<Duration>,
        now: u64,
    ) -> Duration {
        let quiet = now.saturating_sub(self.closed_at) >= nanos(backoff.quiet());
        if from == State::Closed && quiet {
            self.openings = 0;
        }
        let roll = self.luck.f64() * 2.0 - 1.0;
        let time = backoff.time(self.openings, roll);
        let time = requested.map_or(time, |least| time.max(backoff.spread(least, roll.abs())));
        self.openings = self.openings.saturating_add(1);
        time
    }

    pub(crate) fn subscribers(&mut self) -> &mut Option<Arc<Subscribers>> {
        &mut self.subscribers
    }

    pub(crate) fn enqueue(&mut self, untold: Untold) {
        if self.untold.len() == MAX_UNTOLD {
            self.untold.pop_front();
        }
        self.untold.push_back(untold);
    }

    pub(crate) fn enqueue_transition(
        &mut self,
        from: Word,
        to: Word,
        cause: Cause,
        open_for: Option<Duration>,
    ) {
        self.enqueue(Untold::Transition(Transition {
            generation: to.generation(),
            from: from.state(),
            to: to.state(),
            cause,
            open_for,
        }));
    }
}

#[cfg(not(buttress_loom))]
fn seed() -> u64 {
    fastrand::u64(..)
}

/// Under loom every run of a story must be the same.
#[cfg(buttress_loom)]
fn seed() -> u64 {
    7
}

/// The next word, and for how long it is open, if it is.
type Plan = Option<(Word, Option<Duration>)>;

impl Breaker {
    /// A rule has tripped, or probes have failed.
    pub(crate) fn trip(&self, generation: u32, cause: Cause) {
        let config = self.config();
        let backoff = &config.settings.backoff;
        self.shift(cause, |control, word, now| {
            if word.generation() != generation {
                return None;
            }
            match word.state() {
                // ## MetricsOnly => MetricsOnly: the windows start anew, and the rule may trip again.
                State::MetricsOnly => Some((word.next(State::MetricsOnly, 0), None)),
                // ## (Closed | HalfOpen) => Open
                from @ (State::Closed | State::HalfOpen) => {
                    let requested = self.requested(generation, now);
                    Some(control.open(word, from, backoff, requested, now))
                }
                State::Open | State::ForcedOpen | State::ForcedClosed => None,
            }
        });
    }

    /// Enough probes have succeeded.
    pub(crate) fn close(&self, generation: u32) {
        let ramp = self.config().settings.ramp;
        self.shift(Cause::ProbesSucceeded, |_, word, now| {
            let until = ramp.map_or(0, |ramp| deadline(now, ramp.time));
            // ## HalfOpen => Closed
            (word.generation() == generation && word.is_half_open())
                .then(|| (word.next(State::Closed, until), None))
        });
    }

    /// All slots are taken and the wait is over: who has not answered has failed.
    pub(crate) fn time_out_probes(&self, generation: u32, asked_at: u64) {
        let config = self.config();
        let backoff = &config.settings.backoff;
        self.shift(Cause::ProbesTimedOut, |control, word, now| {
            let over = word.remaining(asked_at).is_none() && self.is_full(word);
            // ## HalfOpen => Open
            (word.generation() == generation && word.is_half_open() && over).then(|| {
                let requested = self.requested(generation, now);
                control.open(word, State::HalfOpen, backoff, requested, now)
            })
        });
    }

    /// Takes a slot, of this half-open generation or as the first of a new one. `None` if somebody was faster.
    pub(crate) fn take_probe(&self, word: Word, now: u64) -> Option<u32> {
        let probes = self.config().settings.probes;
        if word.state() == State::Open {
            self.shift(Cause::OpenTimeOver, |_, word, _| {
                // ## Open => HalfOpen
                (word.state() == State::Open && word.remaining(now).is_none())
                    .then(|| (word.next(State::HalfOpen, 0), None))
            });
        }
        let control = self.control();
        let word = self.word();
        if !word.is_half_open() {
            return None;
        }
        let stamp = Stamp::new(word.generation().into());
        let take = |slots| Some(Slots(slots).take(probes.count)?.0);
        self.0.slots.update(stamp, take)?;
        // The wait counts from the last slot on: a probe that comes late, for want of traffic, has its full time.
        self.set_word(word.until(deadline(now, probes.max_wait)));
        drop(control);
        Some(word.generation())
    }

    /// The service has its whole load again.
    pub(crate) fn end_ramp(&self, ramping: Word) {
        let _control = self.control();
        if self.word() == ramping {
            self.set_word(ramping.for_good());
        }
    }

    /// The one place where a generation ends. Racing transitions see each other's word and give way.
    pub(crate) fn shift(&self, cause: Cause, plan: impl FnOnce(&mut Control, Word, u64) -> Plan) {
        // A clock of the user's must not run under the lock.
        let now = self.now();
        let mut control = self.control();
        let word = self.word();
        let Some((next, open_for)) = plan(&mut control, word, now) else {
            return;
        };
        if next.state() == State::Closed && cause != Cause::Restored {
            control.closed_at = now;
        }
        self.set_word(next);
        control.enqueue_transition(word, next, cause, open_for);
        drop(control);
        self.0.waiters.wake_all();
        self.tell(self.control());
    }

    /// Tells the observer what it has not heard, without the lock. Only one call does so at a time, and so the order holds.
    pub(crate) fn tell<'a>(&'a self, mut control: MutexGuard<'a, Control>) {
        let observers = &self.0.fixed.observers;
        if observers.is_empty() && control.subscribers.is_none() {
            control.untold.clear();
            return;
        }
        if std::mem::replace(&mut control.telling, true) {
            return;
        }
        while let Some(untold) = control.untold.pop_front() {
            let subscribers = control.subscribers.clone();
            drop(control);
            let event = self.event(untold);
            observers.tell(&event);
            if let Some(subscribers) = subscribers {
                subscribers.tell(&event);
            }
            control = self.control();
        }
        control.telling = false;
    }

    /// Nothing that happens to it is told before.
    pub(crate) fn tell_built(&self) {
        self.tell(self.control());
    }

    /// Tells what is no transition, and needs no order.
    #[cfg(feature = "keyed")]
    pub(crate) fn tell_aside(&self, event: &Event<'_>) {
        self.0.fixed.observers.tell(event);
    }

    fn event(&self, untold: Untold) -> Event<'_> {
        let transition = match untold {
            Untold::Built => return Event::Built(self),
            Untold::Reconfigured => return Event::Reconfigured(self),
            Untold::Transition(transition) => transition,
        };
        match (transition.cause, transition.to) {
            (Cause::Tripped(_), State::MetricsOnly) => Event::WouldOpen(self, transition),
            _ => Event::Transition(self, transition),
        }
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        let control = self.0.control.lock();
        control.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    fn open(
        &mut self,
        word: Word,
        from: State,
        backoff: &Backoff,
        requested: Option<Duration>,
        now: u64,
    ) -> (Word, Option<Duration>) {
        let time = self.next_opening(from, backoff, requested, now);
        (word.next(State::Open, deadline(now, time)), Some(time))
    }
}
