//! The breaker as one would explain it.

use std::collections::VecDeque;
use std::time::Duration;

use buttress_circuit::{Reason, State};

/// Times are in milliseconds, shares in twentieths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) span: Span,
    pub(crate) twentieths: u32,
    pub(crate) min_calls: u32,
    pub(crate) consecutive: Option<u32>,
    pub(crate) slow: Option<(u64, u32)>,
    pub(crate) base: u64,
    pub(crate) factor: u32,
    pub(crate) max: u64,
    pub(crate) quiet: u64,
    pub(crate) probes: u32,
    pub(crate) probe_twentieths: u32,
    pub(crate) max_wait: u64,
    /// After how long a cancelled call is a failure.
    pub(crate) cancel: Option<u64>,
    /// For how long after a recovery only a share passes, and which share at first.
    pub(crate) ramp: Option<(u64, u32)>,
    pub(crate) max_in_flight: Option<u32>,
}

impl Settings {
    fn times_calls(&self) -> bool {
        self.slow.is_some() || self.cancel.is_some_and(|after| after > 0)
    }

    /// These settings, as far as they can be changed into those of `other` and what the windows hold stays the same.
    pub(crate) fn like(self, other: Self) -> Self {
        let span = match (self.span, other.span) {
            (Span::Calls(_), Span::Calls(calls)) => Span::Calls(calls),
            (span, _) => span,
        };
        Self {
            span,
            slow: self.slow,
            consecutive: self.consecutive.and(other.consecutive).or(self.consecutive),
            min_calls: match span {
                Span::Calls(calls) => other.min_calls.min(calls),
                Span::Buckets { .. } => other.min_calls,
            },
            ..other
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Span {
    Calls(u32),
    /// Sixteen of this width.
    Buckets {
        width: u64,
    },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    Success,
    Failure,
    Ignore,
    Drop,
}

#[derive(Debug)]
pub(crate) struct NaivePermit {
    generation: u32,
    /// Unknown where nobody asked at the time.
    started: Option<u64>,
    holds_room: bool,
}

struct Record {
    at: u64,
    failed: bool,
    slow: bool,
}

pub(crate) struct Naive {
    pub(crate) settings: Settings,
    pub(crate) now: u64,
    pub(crate) state: State,
    pub(crate) generation: u32,
    pub(crate) openings: u32,
    pub(crate) run: u32,
    deadline: u64,
    closed_at: u64,
    records: VecDeque<Record>,
    taken: u32,
    succeeded: u32,
    failed: u32,
    /// The shares of all calls of the ramp so far, added up: in 65536ths.
    shares: u64,
    in_flight: u32,
}

type Refusal = (Reason, Option<Duration>);

impl Naive {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            // A breaker's clock begins a day late, and its buckets are cut accordingly.
            now: 24 * 60 * 60 * 1000,
            state: State::Closed,
            generation: 0,
            openings: 0,
            run: 0,
            deadline: 0,
            closed_at: 0,
            records: VecDeque::new(),
            taken: 0,
            succeeded: 0,
            failed: 0,
            shares: 0,
            in_flight: 0,
        }
    }

    pub(crate) fn acquire(&mut self) -> Result<NaivePermit, Refusal> {
        let is_full = |max| self.in_flight >= max;
        let saturated = self.settings.max_in_flight.is_some_and(is_full);
        if saturated && self.would_probe() {
            return Err((Reason::Saturated, None));
        }
        self.look();
        let left = self.deadline.saturating_sub(self.now);
        match self.state {
            State::ForcedOpen => return Err((Reason::Forced, None)),
            State::Open => return Err((Reason::Open, Some(Duration::from_millis(left)))),
            State::HalfOpen if self.taken == self.settings.probes && left > 0 => {
                let hint = Duration::from_millis(left.min(1000));
                return Err((Reason::Probing, Some(hint)));
            }
            State::HalfOpen if self.taken == self.settings.probes => {
                self.open();
                let left = Duration::from_millis(self.deadline - self.now);
                return Err((Reason::Open, Some(left)));
            }
            State::HalfOpen => {
                self.taken += 1;
                self.deadline = self.now + self.settings.max_wait;
            }
            _ => {}
        }
        if self.state == State::Closed && left > 0 && !self.ramp_passes(left) {
            let hint = Duration::from_millis(left.min(1000));
            return Err((Reason::Ramping, Some(hint)));
        }
        if saturated {
            return Err((Reason::Saturated, None));
        }
        let holds_room = self.settings.max_in_flight.is_some();
        self.in_flight += u32::from(holds_room);
        Ok(NaivePermit {
            generation: self.generation,
            started: self.settings.times_calls().then_some(self.now),
            holds_room,
        })
    }

    /// Whether a call that finds room would be a probe.
    fn would_probe(&self) -> bool {
        match self.state {
            State::Open => self.deadline <= self.now,
            State::HalfOpen => self.taken < self.settings.probes,
            _ => false,
        }
    }

    /// An open time that is over ends when somebody looks.
    pub(crate) fn look(&mut self) {
        if self.state == State::Open && self.deadline <= self.now {
            self.enter(State::HalfOpen);
        }
    }

    /// At a share of a third every third call passes: whenever the sum of the shares goes beyond a whole number.
    fn ramp_passes(&mut self, left: u64) -> bool {
        let Some((time, twentieths)) = self.settings.ramp else {
            self.deadline = 0;
            return true;
        };
        let over = 1.0 - (left as f64 / time as f64).min(1.0);
        let start = f64::from(twentieths) / 20.0;
        let share = ((start + (1.0 - start) * over) * 65536.0) as u64;
        let before = self.shares;
        self.shares += share;
        self.shares.div_ceil(65536) > before.div_ceil(65536)
    }

    pub(crate) fn finish(&mut self, permit: NaivePermit, outcome: Outcome) {
        self.in_flight -= u32::from(permit.holds_room);
        let took = permit.started.map_or(0, |started| self.now - started);
        let failed = match outcome {
            Outcome::Success => Some(false),
            Outcome::Failure => Some(true),
            Outcome::Ignore => None,
            Outcome::Drop => self
                .settings
                .cancel
                .and_then(|after| (took >= after).then_some(true)),
        };
        if permit.generation != self.generation {
            return;
        }
        let slow = self.settings.slow.is_some_and(|(from, _)| took >= from);
        match (self.state, failed) {
            (State::Closed | State::MetricsOnly, Some(failed)) => self.count(failed, slow),
            (State::HalfOpen, None) => self.taken -= 1,
            (State::HalfOpen, Some(failed)) => self.probe(!failed && !slow),
            _ => {}
        }
    }

    fn count(&mut self, failed: bool, slow: bool) {
        let at = self.now;
        self.records.push_back(Record { at, failed, slow });
        self.run = if failed { self.run + 1 } else { 0 };
        if self.trips() {
            match self.state {
                State::MetricsOnly => self.enter(State::MetricsOnly),
                _ => self.open(),
            }
        }
    }

    fn trips(&self) -> bool {
        let Settings {
            twentieths,
            min_calls,
            consecutive,
            slow,
            ..
        } = self.settings;
        let reached = |(hits, total): (u32, u32), twentieths| {
            hits > 0 && total >= min_calls && hits * 20 >= twentieths * total
        };
        consecutive.is_some_and(|limit| self.run >= limit)
            || reached(self.failures(), twentieths)
            || slow.is_some_and(|(_, twentieths)| reached(self.slow(), twentieths))
    }

    fn probe(&mut self, success: bool) {
        if success {
            self.succeeded += 1;
        } else {
            self.failed += 1;
        }
        let Settings {
            probes,
            probe_twentieths,
            ..
        } = self.settings;
        if self.succeeded * 20 >= probe_twentieths * probes {
            self.enter(State::Closed);
            self.deadline = self.now + self.settings.ramp.map_or(0, |(time, _)| time);
        } else if (probes - self.failed) * 20 < probe_twentieths * probes {
            self.open();
        }
    }

    fn open(&mut self) {
        let quiet = self.now - self.closed_at >= self.settings.quiet;
        if self.state == State::Closed && quiet {
            self.openings = 0;
        }
        let grown = u64::from(self.settings.factor)
            .checked_pow(self.openings)
            .and_then(|factor| factor.checked_mul(self.settings.base));
        let time = grown.map_or(self.settings.max, |time| time.min(self.settings.max));
        self.openings += 1;
        self.enter(State::Open);
        self.deadline = self.now + time;
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
        self.records.clear();
        self.shares = 0;
        (self.run, self.deadline) = (0, 0);
        (self.taken, self.succeeded, self.failed) = (0, 0, 0);
        if state == State::Closed {
            self.closed_at = self.now;
        }
    }

    pub(crate) fn force(&mut self, state: State) {
        if self.state != state {
            self.enter(state);
        }
    }

    pub(crate) fn auto(&mut self) {
        if self.state.is_manual() {
            self.enter(State::Closed);
        }
    }

    pub(crate) fn reset(&mut self) {
        self.openings = 0;
        self.enter(State::Closed);
    }

    /// Other thresholds and times. Of a count window the latest calls stay.
    pub(crate) fn reconfigure(&mut self, change: Settings) {
        if let (Span::Calls(before), Span::Calls(calls)) = (self.settings.span, change.span) {
            let kept = self.records.len().min(before as usize).min(calls as usize);
            self.records.drain(..self.records.len() - kept);
        }
        self.settings = change;
        if let Some(limit) = change.consecutive {
            self.run = self.run.min(limit - 1);
        }
        if self.state == State::HalfOpen {
            self.enter(State::HalfOpen);
        }
    }

    /// The process ends and another one starts, `down` later: what was under way is gone.
    pub(crate) fn restart(&mut self, down: u64) {
        self.now += down;
        self.generation = 1;
        self.in_flight = 0;
        self.shares = 0;
        self.taken = self.succeeded + self.failed;
    }

    pub(crate) fn open_for(&mut self, time: u64) {
        if !self.state.is_manual() {
            self.enter(State::Open);
            self.deadline = self.now + time;
        }
    }

    pub(crate) fn visible_state(&self) -> State {
        match self.state {
            State::Open if self.deadline <= self.now => State::HalfOpen,
            state => state,
        }
    }

    pub(crate) fn bounded_in_flight(&self) -> Option<u32> {
        self.settings.max_in_flight.map(|_| self.in_flight)
    }

    pub(crate) fn probe_counts(&self) -> (u32, u32, u32) {
        let in_flight = self.taken - self.succeeded - self.failed;
        (in_flight, self.succeeded, self.failed)
    }

    pub(crate) fn failures(&self) -> (u32, u32) {
        self.tally(|record| record.failed)
    }

    pub(crate) fn slow(&self) -> (u32, u32) {
        self.tally(|record| record.slow)
    }

    /// What the window holds: the last calls; or the calls of this bucket and of the fifteen before it, which reaches back more
    /// than fifteen and at most sixteen buckets.
    fn tally(&self, hit: impl Fn(&Record) -> bool) -> (u32, u32) {
        let skipped = match self.settings.span {
            Span::Calls(calls) => self.records.len().saturating_sub(calls as usize),
            Span::Buckets { width } => {
                let in_sight = |r: &&Record| self.now / width - r.at / width < 16;
                let seen = self.records.iter().filter(in_sight).count();
                let age = |r: &Record| self.now - r.at;
                let newer = self.records.iter().filter(|r| age(r) <= 15 * width).count();
                let older = self.records.iter().filter(|r| age(r) < 16 * width).count();
                assert!(newer <= seen && seen <= older);
                self.records.len() - seen
            }
        };
        let in_window = self.records.iter().skip(skipped);
        let (mut hits, mut total) = (0, 0);
        for record in in_window {
            hits += u32::from(hit(record));
            total += 1;
        }
        (hits, total)
    }
}
