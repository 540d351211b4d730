//! What a breaker holds, to look at and to keep.

use std::sync::atomic::Ordering::Acquire;
use std::time::Duration;

use crate::breaker::Breaker;
use crate::clock::nanos;
use crate::config::Config;
use crate::event::{Cause, Reading};
use crate::kept::Memory;
use crate::machine::{Finding, Slots, State, Word, deadline};
use crate::name::Name;
use crate::policy::A_DAY;
use crate::stamped::Stamp;

impl Breaker {
    /// What the breaker holds, for people and dashboards, and for [`restore`](Self::restore). The parts are read one after the other, while calls
    /// go on.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (word, now, config) = (self.word(), self.now(), self.config());
        let state = self.state_at(word, now);
        let generation = word.generation();
        let left = word.remaining(now).map(Duration::from_millis);
        let (openings, closed_for) = self.control().history(now);
        Snapshot {
            name: self.0.name.clone(),
            state,
            generation,
            remaining: left.filter(|_| state == State::Open),
            ramp: left.filter(|_| state == State::Closed),
            in_flight: self.in_flight(&config),
            openings,
            probes: self.slots(word).into(),
            rules: config.readings(generation, now),
            #[cfg(feature = "histogram")]
            latencies: self.0.latencies.as_ref().map(|kept| kept.read(now)),
            memory: Memory {
                rules: config.keep(generation, now),
                closed_for,
                requested: self.requested(generation, now),
            },
        }
    }

    /// Takes up where a snapshot, of this breaker or of one in another process, left off `age` ago: state, what remains of its times, back-off and
    /// windows, as far as they fit the settings of this breaker. Probes that were under way have said nothing. The name
    /// and the settings stay those of this breaker.
    ///
    /// A snapshot from elsewhere is taken for what it is worth: no value in it does more than make the breaker wait for a day.
    pub fn restore(&self, snapshot: &Snapshot, age: Duration) {
        let config = self.config();
        self.shift(Cause::Restored, |control, word, now| {
            let next = self.restored_word(snapshot, age, word, now, &config);
            let generation = next.generation();
            let aged = |kept: &crate::kept::Kept| kept.aged(age);
            let rules: Vec<_> = snapshot.memory.rules.iter().map(aged).collect();
            config.remember(generation, now, &rules);
            if let Some(time) = snapshot.memory.requested {
                let left = nanos(time.saturating_sub(age).min(A_DAY));
                self.request_until(generation, now.saturating_add(left));
            }
            let closed_for = snapshot.memory.closed_for.saturating_add(age);
            control.set_history(snapshot.openings, closed_for, now);
            Some((next, None))
        });
    }

    fn restored_word(
        &self,
        snapshot: &Snapshot,
        age: Duration,
        word: Word,
        now: u64,
        config: &Config,
    ) -> Word {
        let left = |time: Option<Duration>| {
            let left = time.unwrap_or_default().saturating_sub(age);
            deadline(now, left.min(A_DAY))
        };
        match snapshot.state {
            State::Closed if snapshot.ramp > Some(age) => {
                word.next(State::Closed, left(snapshot.ramp))
            }
            State::Open => word.next(State::Open, left(snapshot.remaining)),
            State::HalfOpen => {
                let next = word.next(State::HalfOpen, 0);
                self.restore_probes(next.generation(), snapshot.probes, config);
                next
            }
            state => word.next(state, 0),
        }
    }

    /// Probes that have answered, unless these settings would have decided by now: then all start anew.
    fn restore_probes(&self, generation: u32, probes: ProbeCounts, config: &Config) {
        let count = config.settings.probes.count;
        let ProbeCounts {
            succeeded, failed, ..
        } = probes;
        // By the numbers as they came: they fit once these settings would not have decided by them.
        if Finding::of(succeeded, failed, count, config.needed) == Finding::Undecided {
            let slots = Slots::new(succeeded + failed, succeeded, failed);
            let stamp = Stamp::new(generation.into());
            self.0.slots.update(stamp, |_| Some(slots.0));
        }
    }

    fn in_flight(&self, config: &Config) -> Option<u32> {
        let is_bounded = config.settings.max_in_flight.is_some();
        is_bounded.then(|| self.0.in_flight.load(Acquire))
    }
}

/// What a breaker held at a moment.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of the breaker.
    pub name: Name,
    /// As [`Breaker::state`].
    pub state: State,
    /// The number of the state. Wraps around at 2 097 152.
    pub generation: u32,
    /// How much longer it is open.
    pub remaining: Option<Duration>,
    /// How much longer it admits only a share of the calls, after a recovery.
    pub ramp: Option<Duration>,
    /// The calls under way, where they are bounded.
    pub in_flight: Option<u32>,
    /// How often it has opened since it was last quiet: what the back-off goes by.
    pub openings: u32,
    /// The probes of this generation.
    pub probes: ProbeCounts,
    /// The trip rules, in the order in which they were given.
    pub rules: Vec<Reading>,
    /// How long calls take, where that is [kept](crate::Builder::latencies).
    #[cfg(feature = "histogram")]
    pub latencies: Option<crate::latency::Latencies>,
    /// What else [`Breaker::restore`] needs.
    pub memory: Memory,
}

/// The probes of a half-open breaker.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ProbeCounts {
    /// Under way.
    pub in_flight: u32,
    /// Succeeded.
    pub succeeded: u32,
    /// Failed.
    pub failed: u32,
}

impl From<Slots> for ProbeCounts {
    fn from(slots: Slots) -> Self {
        let (succeeded, failed) = (slots.succeeded(), slots.failed());
        Self {
            in_flight: slots.taken() - succeeded - failed,
            succeeded,
            failed,
        }
    }
}
