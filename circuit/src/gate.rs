//! Who may pass, and what came of it: the path of every call, without a lock but for probes.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::breaker::Breaker;
use crate::config::Config;
use crate::error::{Reason, Refusal, Rejected};
use crate::event::{Cause, Reading};
use crate::machine::{Finding, Slots, State, Word};
use crate::policy::{Cancel, spend};
use crate::rule::{Call, Counted, Rule};
use crate::stamped::Stamp;
use crate::ticket::Ticket;
use crate::verdict::Verdict;

/// While probes are out their answer may come at any moment, and while a service gets its load back a call may pass at any moment: nobody is told
/// to stay away for longer.
const ANY_MOMENT_MILLIS: u64 = 1000;

impl Breaker {
    #[inline]
    pub(crate) fn admit(&self) -> Result<Ticket, Refusal> {
        let max = self.0.max_in_flight.load(Relaxed);
        if max != u32::MAX {
            return self.admit_bounded(max);
        }
        let ticket = self.admit_by_state()?;
        Ok(self.starting(ticket))
    }

    /// A ticket and not a generation: a refusal is as wide, and of two that are, either is returned in a register.
    #[inline]
    fn admit_by_state(&self) -> Result<Ticket, Refusal> {
        let word = self.word();
        if word.passes() {
            Ok(Ticket::new(word.generation()))
        } else {
            self.admit_unless_open(word)
        }
    }

    /// An open breaker refuses as many calls as a closed one lets pass. Apart from what is rare, so that it saves no registers for that.
    #[inline(never)]
    fn admit_unless_open(&self, word: Word) -> Result<Ticket, Refusal> {
        if word.is_half_open() {
            return self.admit_half_open(word);
        }
        if word.state() == State::Open
            && let Some(left) = word.remaining(self.0.fixed.clock.now())
        {
            return Err(Refusal::new(Reason::Open, left));
        }
        self.admit_slowly()
    }

    #[inline(never)]
    fn admit_half_open(&self, word: Word) -> Result<Ticket, Refusal> {
        match self.take_slot_but_the_last(word) {
            Some(generation) => Ok(Ticket::new(generation)),
            None => self.admit_slowly(),
        }
    }

    /// A probe takes its room before its slot: a slot that is taken and given back for want of room would be missed by one who looked meanwhile, and
    /// who has nobody to wake him. A call during a ramp takes it after it has paid.
    #[inline(never)]
    fn admit_bounded(&self, max: u32) -> Result<Ticket, Refusal> {
        let is_probe = matches!(self.word().state(), State::Open | State::HalfOpen);
        let ticket = if is_probe {
            // What is refused anyway takes no room, not even for a moment.
            if let Some((_, refusal)) = self.foresee() {
                return Err(refusal);
            }
            self.take_room(max)?;
            self.admit_by_state().inspect_err(|_| self.leave_room())?
        } else {
            let ticket = self.admit_by_state()?;
            self.take_room(max)?;
            ticket
        };
        Ok(self.starting(ticket.holding_room()))
    }

    /// From now on, if anybody asks when a call began.
    #[inline]
    pub(crate) fn starting(&self, ticket: Ticket) -> Ticket {
        if self.0.reads_start.load(Relaxed) {
            ticket.starting(self.now())
        } else {
            ticket
        }
    }

    /// Apart, so that admitting a call is small enough to be part of its caller: a permit that is returned through memory costs
    /// more than all the rest.
    #[inline(never)]
    pub(crate) fn now(&self) -> u64 {
        self.0.fixed.clock.now()
    }

    /// Goes round again only if another call or the operator was faster.
    #[inline(never)]
    fn admit_slowly(&self) -> Result<Ticket, Refusal> {
        let now = self.now();
        loop {
            let word = self.word();
            let admitted = match word.state() {
                State::ForcedOpen => return Err(Refusal::FORCED),
                State::Open | State::HalfOpen => self.admit_probe(word, now)?,
                State::Closed if !word.passes() => self.admit_ramping(word, now)?,
                State::Closed | State::ForcedClosed | State::MetricsOnly => Some(word.generation()),
            };
            if let Some(generation) = admitted {
                return Ok(Ticket::new(generation));
            }
        }
    }

    fn admit_probe(&self, word: Word, now: u64) -> Result<Option<u32>, Refusal> {
        if let Some(refusal) = self.refusal(word, now) {
            return Err(refusal);
        }
        if word.is_half_open() && self.is_full(word) {
            self.time_out_probes(word.generation(), now);
            return Ok(None);
        }
        Ok(self.take_probe(word, now))
    }

    /// A slot that is not the last: the wait for the probes begins with the last one, and so this one need not ask for the time, nor take the lock. A breaker
    /// that was reconfigured goes the long way.
    #[inline]
    fn take_slot_but_the_last(&self, word: Word) -> Option<u32> {
        let early = self.first_config()?.settings.probes.count - 1;
        let stamp = Stamp::new(word.generation().into());
        let take = |slots| Some(Slots(slots).take(early)?.0);
        self.0.slots.update(stamp, take)?;
        // If the state has changed meanwhile, nobody will ever ask for a slot of this one again.
        (self.word().generation() == word.generation()).then_some(word.generation())
    }

    fn admit_ramping(&self, word: Word, now: u64) -> Result<Option<u32>, Refusal> {
        let (Some(ramp), Some(left)) = (self.config().settings.ramp, word.remaining(now)) else {
            self.end_ramp(word);
            return Ok(None);
        };
        let (generation, share) = (word.generation(), ramp.share(left));
        let stamp = Stamp::new(generation.into());
        let pay = |credit| Some(spend(credit, share).0);
        let Some(change) = self.0.credit.update(stamp, pay) else {
            return Ok(None);
        };
        if spend(change.before, share).1 {
            return Ok(Some(generation));
        }
        Err(Refusal::new(Reason::Ramping, left.min(ANY_MOMENT_MILLIS)))
    }

    fn take_room(&self, max: u32) -> Result<(), Refusal> {
        let one_more = |calls: u32| (calls < max).then_some(calls + 1);
        let taken = self.0.in_flight.fetch_update(AcqRel, Acquire, one_more);
        taken.map(drop).map_err(|_| Refusal::SATURATED)
    }

    fn leave_room(&self) {
        self.0.in_flight.fetch_sub(1, AcqRel);
        self.0.waiters.wake_one();
    }

    /// The refusal that an open or a half-open breaker has for a call at `now`, if it has one.
    fn refusal(&self, word: Word, now: u64) -> Option<Refusal> {
        let left = word.remaining(now)?;
        match word.state() {
            State::Open => Some(Refusal::new(Reason::Open, left)),
            State::HalfOpen if self.is_full(word) => {
                Some(Refusal::new(Reason::Probing, left.min(ANY_MOMENT_MILLIS)))
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
                let left = word.remaining(self.now())?;
                Some((word, Refusal::new(Reason::Open, left)))
            }
            State::HalfOpen => self.foresee_probe(word),
        }
    }

    fn foresee_probe(&self, word: Word) -> Option<(Word, Refusal)> {
        if !self.is_full(word) {
            return None;
        }
        let now = self.now();
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

    /// A call is over.
    #[inline]
    pub(crate) fn finish(&self, ticket: Ticket, verdict: Verdict) {
        let counted = match verdict {
            Verdict::Success => Counted::Success,
            Verdict::Failure => Counted::Failure,
            _ => return self.finish_apart(ticket, verdict),
        };
        if ticket.holds_room() || self.0.watches_calls {
            return self.finish_apart(ticket, verdict);
        }
        if counted == Counted::Failure || !self.is_untouched_by_success(ticket) {
            self.settle(ticket, counted);
        }
    }

    /// Whether nothing changes when this call succeeds, as in the full window of a healthy service: then its threads only read what they share. A few
    /// loads in line, and no registers to save.
    #[inline]
    fn is_untouched_by_success(&self, ticket: Ticket) -> bool {
        let Some(config) = self.first_config() else {
            return false;
        };
        // Where a rule is about time, every call leaves a trace.
        if config.reads_end {
            return false;
        }
        let word = self.word();
        word.counts()
            && word.generation() == ticket.generation()
            && config.is_untouched_by_success(ticket.generation())
    }

    /// Apart, like everything that is not the path of a healthy call.
    #[inline(never)]
    fn finish_apart(&self, ticket: Ticket, verdict: Verdict) {
        if ticket.holds_room() {
            self.leave_room();
        }
        if let Some(time) = verdict.asks_for() {
            self.keep_request(ticket.generation(), time);
        }
        match Counted::from_verdict(verdict) {
            Some(counted) => self.settle(ticket, counted),
            None => self.ignore(ticket),
        }
        if self.0.watches_calls {
            self.watch_end(ticket, verdict);
        }
    }

    /// Its caller went away.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        if ticket.holds_room() {
            self.leave_room();
        }
        let is_failure = match self.config().settings.cancel {
            Cancel::Ignore => false,
            Cancel::Failure => true,
            Cancel::FailureAfter(time) => ticket.took(self.now()) >= crate::clock::nanos(time),
        };
        let verdict = if is_failure {
            self.settle(ticket, Counted::Failure);
            Verdict::Failure
        } else {
            self.ignore(ticket);
            Verdict::Ignore
        };
        if self.0.watches_calls {
            self.watch_cancel(ticket, verdict);
        }
    }

    /// Counts what came of a call, unless the state that admitted it is over: then it says nothing about this one. In line from here down to
    /// the window: each step is a few instructions, and to call it would be more.
    #[inline(never)]
    fn settle(&self, ticket: Ticket, counted: Counted) {
        let word = self.word();
        if word.generation() != ticket.generation() {
            return;
        }
        if word.counts() {
            self.count(ticket, counted);
        } else if word.is_half_open() {
            self.conclude(ticket, counted);
        }
    }

    /// The call has said nothing.
    fn ignore(&self, ticket: Ticket) {
        let word = self.word();
        if word.generation() == ticket.generation() && word.is_half_open() {
            self.give_back(ticket.generation());
        }
    }

    #[inline(always)]
    fn count(&self, ticket: Ticket, counted: Counted) {
        let tripped = match self.first_config() {
            Some(config) => self.count_by(config, ticket, counted),
            None => self.count_by_changed(ticket, counted),
        };
        if let Some(reading) = tripped {
            self.trip_unless_cold(ticket.generation(), reading);
        }
    }

    #[inline(never)]
    fn count_by_changed(&self, ticket: Ticket, counted: Counted) -> Option<Reading> {
        self.count_by(&self.config(), ticket, counted)
    }

    #[inline(always)]
    fn count_by(&self, config: &Config, ticket: Ticket, counted: Counted) -> Option<Reading> {
        let call = self.ended(config, ticket, counted);
        match &*config.rules {
            [only] => only.record(call),
            rules => count_by_each(rules, call),
        }
    }

    /// What a configuration makes of a call that has just ended.
    #[inline]
    fn ended(&self, config: &Config, ticket: Ticket, counted: Counted) -> Call {
        Call {
            counted,
            ticket,
            now: if config.reads_end { self.now() } else { 0 },
        }
    }

    #[inline(never)]
    fn trip_unless_cold(&self, generation: u32, reading: Reading) {
        let is_cold = self.0.warm_at > 0 && self.now() < self.0.warm_at;
        if !is_cold {
            self.trip(generation, Cause::Tripped(reading));
        }
    }

    fn give_back(&self, generation: u32) {
        let stamp = Stamp::new(generation.into());
        let give_back = |slots| Some(Slots(slots).give_back()?.0);
        self.0.slots.update(stamp, give_back);
        self.0.waiters.wake_one();
    }

    #[inline(never)]
    fn conclude(&self, ticket: Ticket, counted: Counted) {
        let success = counted == Counted::Success;
        match self.first_config() {
            Some(config) if config.slow_from == u64::MAX => {
                self.conclude_as(config, ticket.generation(), success);
            }
            _ => self.conclude_by_time(ticket, success),
        }
    }

    /// Apart, like what a decision takes: most probes ask nobody for the time and decide nothing.
    #[inline(never)]
    fn conclude_by_time(&self, ticket: Ticket, success: bool) {
        let config = self.config();
        let is_slow = config.slow_from < u64::MAX && ticket.took(self.now()) >= config.slow_from;
        self.conclude_as(&config, ticket.generation(), success && !is_slow);
    }

    #[inline(always)]
    fn conclude_as(&self, config: &Config, generation: u32, success: bool) {
        let stamp = Stamp::new(generation.into());
        let conclude = |slots| Some(Slots(slots).conclude(success).0);
        if let Some(change) = self.0.slots.update(stamp, conclude) {
            let count = config.settings.probes.count;
            let finding = Slots(change.after).finding(count, config.needed);
            if finding != Finding::Undecided {
                self.decide(finding, generation);
            }
        }
    }

    #[inline(never)]
    fn decide(&self, finding: Finding, generation: u32) {
        match finding {
            Finding::Undecided => {}
            Finding::Recovered => self.close(generation),
            Finding::StillDown => self.trip(generation, Cause::ProbesFailed),
        }
    }

    pub(crate) fn is_full(&self, word: Word) -> bool {
        self.slots(word).taken() >= self.config().settings.probes.count
    }

    #[inline]
    pub(crate) fn rejected(&self, refusal: Refusal) -> Rejected {
        if self.0.watches_calls {
            self.watch_rejection(refusal);
        }
        Rejected::new(&self.0.name, refusal)
    }
}

/// Apart: a loop would make the path of a call by one rule, as most breakers have, longer by half.
#[inline(never)]
fn count_by_each(rules: &[Rule], call: Call) -> Option<Reading> {
    rules.iter().find_map(|rule| rule.record(call))
}
