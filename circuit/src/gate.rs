//! Who may pass, and what came of it: the path of every call, without a lock but for probes.

use crate::breaker::Breaker;
use crate::error::{Reason, Refusal, Rejected};
use crate::event::Cause;
use crate::machine::{Finding, Slots, State, Word};
use crate::policy::Cancel;
use crate::rule::Call;
use crate::stamped::Stamp;
use crate::verdict::Verdict;

/// While probes are out their answer may come at any moment, and nobody is told to stay away for longer.
const PROBING_MILLIS: u64 = 1000;

impl Breaker {
    /// The generation that the call belongs to, and when it began if anybody asks.
    #[inline]
    pub(crate) fn admit(&self) -> Result<(u32, u64), Refusal> {
        let word = self.word();
        let generation = match word.state() {
            State::Closed | State::ForcedClosed | State::MetricsOnly => word.generation(),
            State::ForcedOpen => return Err(Refusal::FORCED),
            State::Open | State::HalfOpen => self.admit_probe()?,
        };
        Ok((generation, self.started()))
    }

    /// When a call began, if anybody asks.
    #[inline]
    pub(crate) fn started(&self) -> u64 {
        if self.0.reads_start { self.now() } else { 0 }
    }

    /// Apart, so that admitting a call is small enough to be part of its caller: a permit that is returned through memory costs
    /// more than all the rest.
    #[inline(never)]
    fn now(&self) -> u64 {
        self.0.clock.now()
    }

    /// Goes round again only if another call or the operator was faster.
    #[inline(never)]
    fn admit_probe(&self) -> Result<u32, Refusal> {
        let now = self.0.clock.now();
        loop {
            let word = self.word();
            match word.state() {
                State::Open | State::HalfOpen => {}
                State::ForcedOpen => return Err(Refusal::FORCED),
                State::Closed | State::ForcedClosed | State::MetricsOnly => {
                    return Ok(word.generation());
                }
            }
            if let Some(refusal) = self.refusal(word, now) {
                return Err(refusal);
            }
            if word.state() == State::HalfOpen && self.is_full(word) {
                self.time_out_probes(word.generation(), now);
            } else if let Some(generation) = self.take_probe(now) {
                return Ok(generation);
            }
        }
    }

    /// The refusal that an open or a half-open breaker has for a call at `now`, if it has one.
    fn refusal(&self, word: Word, now: u64) -> Option<Refusal> {
        let left = word.remaining(now)?;
        match word.state() {
            State::Open => Some(Refusal::new(Reason::Open, left)),
            State::HalfOpen if self.is_full(word) => {
                Some(Refusal::new(Reason::Probing, left.min(PROBING_MILLIS)))
            }
            _ => None,
        }
    }

    /// How a call would be rejected now, if it would, and in which state of affairs that holds. Takes no slot; hung
    /// probes time out here as in `admit_probe`.
    #[inline]
    pub(crate) fn foresee(&self) -> Option<(Word, Refusal)> {
        let word = self.word();
        match word.state() {
            State::Closed | State::ForcedClosed | State::MetricsOnly => None,
            State::ForcedOpen => Some((word, Refusal::FORCED)),
            State::Open => {
                let left = word.remaining(self.0.clock.now())?;
                Some((word, Refusal::new(Reason::Open, left)))
            }
            State::HalfOpen => self.foresee_probe(word),
        }
    }

    fn foresee_probe(&self, word: Word) -> Option<(Word, Refusal)> {
        let now = self.0.clock.now();
        if word.remaining(now).is_none() && self.is_full(word) {
            self.time_out_probes(word.generation(), now);
        }
        let word = self.word();
        Some((word, self.refusal(word, now)?))
    }

    /// Rejects a call whose caller was not made ready, since a rejection was foreseen then. By now a call may be allowed, but by
    /// somebody who is: at once.
    pub(crate) fn reject_unready(&self, foreseen: Option<(Word, Refusal)>) -> Rejected {
        self.rejected(match foreseen {
            Some((word, refusal)) if word == self.word() => refusal,
            _ => Refusal::new(Reason::Open, 1),
        })
    }

    /// Counts what came of a call, unless the state that admitted it is over: then it says nothing about this one.
    #[inline]
    pub(crate) fn settle(&self, generation: u32, started: u64, verdict: Verdict) {
        let word = self.word();
        if word.generation() != generation || verdict == Verdict::Ignore && !word.is_half_open() {
            return;
        }
        if let Some(time) = verdict.asks_for() {
            self.keep_request(generation, time);
        }
        match word.state() {
            State::Closed | State::MetricsOnly => {
                let call = self.finished(started, verdict);
                self.count(generation, call);
            }
            State::HalfOpen if verdict == Verdict::Ignore => self.give_back(generation),
            State::HalfOpen => {
                let call = self.finished(started, verdict);
                self.conclude(generation, !call.failed && call.took < self.0.slow_from);
            }
            State::Open | State::ForcedOpen | State::ForcedClosed => {}
        }
    }

    /// Its caller went away.
    pub(crate) fn cancel(&self, generation: u32, started: u64) {
        let verdict = match self.0.settings.cancel {
            Cancel::Ignore => Verdict::Ignore,
            Cancel::Failure => Verdict::Failure,
            Cancel::FailureAfter(time) => {
                let ran = self.0.clock.now().saturating_sub(started);
                if ran >= crate::clock::nanos(time) {
                    Verdict::Failure
                } else {
                    Verdict::Ignore
                }
            }
        };
        self.settle(generation, started, verdict);
    }

    #[inline]
    fn finished(&self, started: u64, verdict: Verdict) -> Call {
        let now = if self.0.reads_end {
            self.0.clock.now()
        } else {
            0
        };
        Call {
            failed: verdict.is_failure(),
            overloaded: matches!(verdict, Verdict::Overloaded(_)),
            took: if self.0.reads_start {
                now.saturating_sub(started)
            } else {
                0
            },
            now,
        }
    }

    #[inline]
    fn count(&self, generation: u32, call: Call) {
        let tripped = |rule: &crate::rule::Rule| rule.record(generation, call);
        if let Some(reading) = self.0.rules.iter().find_map(tripped) {
            self.trip(generation, Cause::Tripped(reading));
        }
    }

    fn give_back(&self, generation: u32) {
        let stamp = Stamp::new(generation.into());
        let give_back = |slots| Some(Slots::unpack(slots).give_back()?.pack());
        if self.0.slots.update(stamp, give_back).is_some() {
            self.0.waiters.wake_one();
        }
    }

    fn conclude(&self, generation: u32, success: bool) {
        let stamp = Stamp::new(generation.into());
        let conclude = |slots| Some(Slots::unpack(slots).conclude(success).pack());
        let Some(change) = self.0.slots.update(stamp, conclude) else {
            return;
        };
        let count = self.0.settings.probes.count;
        match Slots::unpack(change.after).finding(count, self.0.needed) {
            Finding::Undecided => {}
            Finding::Recovered => self.close(generation),
            Finding::StillDown => self.trip(generation, Cause::ProbesFailed),
        }
    }

    pub(crate) fn is_full(&self, word: Word) -> bool {
        self.slots(word).taken >= self.0.settings.probes.count
    }

    #[inline]
    pub(crate) fn rejected(&self, refusal: Refusal) -> Rejected {
        Rejected::new(&self.0.name, refusal)
    }
}
