//! The state word, and the slots of the probes: plain numbers.

use std::time::Duration;

use crate::clock::nanos;

/// The state of a breaker.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
#[repr(u8)]
pub enum State {
    /// Calls pass and are counted.
    Closed = 0,
    /// Calls are rejected until the open time is over.
    Open = 1,
    /// A few calls pass to see whether the service is back.
    HalfOpen = 2,
    /// Calls are rejected until an operator says otherwise.
    ForcedOpen = 3,
    /// Calls pass and nothing is counted, until an operator says otherwise.
    ForcedClosed = 4,
    /// Calls pass and are counted; what would have opened the breaker is only told. Until an operator says otherwise.
    MetricsOnly = 5,
}

impl State {
    /// Whether only an operator ends it.
    #[must_use]
    pub fn is_manual(self) -> bool {
        matches!(
            self,
            Self::ForcedOpen | Self::ForcedClosed | Self::MetricsOnly
        )
    }

    fn from_tag(tag: u64) -> Self {
        match tag {
            1 => Self::Open,
            2 => Self::HalfOpen,
            3 => Self::ForcedOpen,
            4 => Self::ForcedClosed,
            5 => Self::MetricsOnly,
            _ => Self::Closed,
        }
    }
}

const DEADLINE_BITS: u32 = 40;
pub(crate) const GENERATION_BITS: u32 = 21;
const TAG_AT: u32 = DEADLINE_BITS + GENERATION_BITS;
const CLOSED: u64 = State::Closed as u64;
const METRICS_ONLY: u64 = State::MetricsOnly as u64;
const DEADLINE_MAX: u64 = (1 << DEADLINE_BITS) - 1;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// `[state: 3 | generation: 21 | deadline in ms: 40]`, read in one load, so that none of the three is ever that of another moment.
///
/// The generation changes with every transition and wraps around. The deadline is the end of the open time, of the wait for probes,
/// or of the ramp after a recovery, on the breaker's clock; 40 bits of milliseconds are 34 years.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Word(pub(crate) u64);

impl Word {
    pub(crate) const START: Self = Self(0);

    fn new(state: State, generation: u32, deadline: u64) -> Self {
        let tag = (state as u64) << TAG_AT;
        let generation = u64::from(generation & GENERATION_MASK) << DEADLINE_BITS;
        Self(tag | generation | deadline.min(DEADLINE_MAX))
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        State::from_tag(self.0 >> TAG_AT)
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> DEADLINE_BITS) as u32 & GENERATION_MASK
    }

    /// Whether every call passes that finds room. By its tag: on the path of every call, and a state would first have to be told from a number.
    #[inline]
    pub(crate) fn passes(self) -> bool {
        match self.0 >> TAG_AT {
            CLOSED => self.0 & DEADLINE_MAX == 0,
            tag => tag >= State::ForcedClosed as u64,
        }
    }

    /// Whether the calls of this state count in the windows.
    #[inline]
    pub(crate) fn counts(self) -> bool {
        matches!(self.0 >> TAG_AT, CLOSED | METRICS_ONLY)
    }

    #[inline]
    pub(crate) fn is_half_open(self) -> bool {
        self.state() == State::HalfOpen
    }

    /// What remains until the deadline, in ms; `None` once it is reached.
    pub(crate) fn remaining(self, now: u64) -> Option<u64> {
        let left = (self.0 & DEADLINE_MAX).saturating_sub(whole_millis(now));
        (left > 0).then_some(left)
    }

    /// The next generation.
    pub(crate) fn next(self, state: State, deadline: u64) -> Self {
        Self::new(state, self.generation().wrapping_add(1), deadline)
    }

    /// The same generation, without an end.
    pub(crate) fn for_good(self) -> Self {
        Self(self.0 & !DEADLINE_MAX)
    }

    /// The same generation, until `deadline` or later.
    pub(crate) fn until(self, deadline: u64) -> Self {
        let deadline = deadline.max(self.0 & DEADLINE_MAX);
        Self::new(self.state(), self.generation(), deadline)
    }
}

/// `now` is rounded down and a deadline up, so that no open time is cut short.
pub(crate) fn whole_millis(now: u64) -> u64 {
    now / 1_000_000
}

/// The deadline `time` after `now`.
pub(crate) fn deadline(now: u64, time: Duration) -> u64 {
    now.saturating_add(nanos(time)).div_ceil(1_000_000)
}

/// The probes of one generation, in the payload of a cell: `[taken: 12 | succeeded: 12 | failed: 12]`. The rest of the taken are under way. Each change
/// is one addition: no number leaves its bits, since no more slots are taken than there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Slots(pub(crate) u64);

/// What the probes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Finding {
    Undecided,
    Recovered,
    StillDown,
}

const SLOT_BITS: u32 = 12;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const ONE_FAILED: u64 = 1;
const ONE_SUCCEEDED: u64 = 1 << SLOT_BITS;
const ONE_TAKEN: u64 = 1 << (2 * SLOT_BITS);

impl Slots {
    pub(crate) fn new(taken: u32, succeeded: u32, failed: u32) -> Self {
        let [taken, succeeded, failed] = [taken, succeeded, failed].map(u64::from);
        Self(taken * ONE_TAKEN + succeeded * ONE_SUCCEEDED + failed * ONE_FAILED)
    }

    #[inline]
    pub(crate) fn taken(self) -> u32 {
        ((self.0 / ONE_TAKEN) & SLOT_MASK) as u32
    }

    #[inline]
    pub(crate) fn succeeded(self) -> u32 {
        ((self.0 / ONE_SUCCEEDED) & SLOT_MASK) as u32
    }

    #[inline]
    pub(crate) fn failed(self) -> u32 {
        (self.0 & SLOT_MASK) as u32
    }

    #[inline]
    pub(crate) fn take(self, count: u32) -> Option<Self> {
        (self.taken() < count).then_some(Self(self.0.wrapping_add(ONE_TAKEN)))
    }

    pub(crate) fn give_back(self) -> Option<Self> {
        (self.taken() > 0).then(|| Self(self.0 - ONE_TAKEN))
    }

    #[inline]
    pub(crate) fn conclude(self, success: bool) -> Self {
        let one = if success { ONE_SUCCEEDED } else { ONE_FAILED };
        Self(self.0 + one)
    }

    #[inline]
    pub(crate) fn finding(self, count: u32, needed: u32) -> Finding {
        Finding::of(self.succeeded(), self.failed(), count, needed)
    }
}

impl Finding {
    /// Decides as soon as the probes that are still out cannot change it.
    #[inline]
    pub(crate) fn of(succeeded: u32, failed: u32, count: u32, needed: u32) -> Self {
        if succeeded >= needed {
            Self::Recovered
        } else if failed > count - needed {
            Self::StillDown
        } else {
            Self::Undecided
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 6] = [
        State::Closed,
        State::Open,
        State::HalfOpen,
        State::ForcedOpen,
        State::ForcedClosed,
        State::MetricsOnly,
    ];

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        for state in STATES {
            for deadline in [0, 1, 123_456_789, DEADLINE_MAX, u64::MAX] {
                let word = Word::START.next(state, deadline);
                assert_eq!(word.state(), state);
                assert_eq!(word.generation(), 1);
                let left = word.remaining(0).unwrap_or(0);
                assert_eq!(left, deadline.min(DEADLINE_MAX));
                assert_eq!(word.until(7).next(State::Open, 0).generation(), 2);
            }
        }
    }

    #[test]
    fn a_tag_says_what_its_state_says() {
        for state in STATES {
            let [open_end, ended] = [0, 7].map(|deadline| Word::START.next(state, deadline));
            let manual = matches!(state, State::ForcedClosed | State::MetricsOnly);
            assert_eq!(
                open_end.passes(),
                manual || state == State::Closed,
                "{state:?}"
            );
            assert_eq!(ended.passes(), manual, "{state:?}");
            let counts = matches!(state, State::Closed | State::MetricsOnly);
            assert_eq!((open_end.counts(), ended.counts()), (counts, counts));
            assert_eq!(ended.is_half_open(), state == State::HalfOpen);
        }
    }

    #[test]
    fn generations_wrap_around() {
        let last = Word::new(State::HalfOpen, GENERATION_MASK, 5);
        let next = last.next(State::Closed, 0);
        assert_eq!((next.state(), next.generation()), (State::Closed, 0));
    }

    #[test]
    fn an_open_time_is_never_cut_short() {
        let ms = 1_000_000;
        for (now, time) in [(0, 1), (ms - 1, 1), (ms, 5), (7 * ms + 1, 3)] {
            let word = Word::START.next(State::Open, deadline(now, Duration::from_millis(time)));
            let end = now + time * ms;
            assert!(word.remaining(end - 1).is_some());
            assert_eq!(word.remaining(end.next_multiple_of(ms)), None);
        }
    }

    #[test]
    fn slots_decide_as_soon_as_it_is_certain() {
        use Finding::{Recovered, StillDown, Undecided};
        for (count, needed, succeeded, failed, finding) in [
            (1, 1, 0, 0, Undecided),
            (1, 1, 1, 0, Recovered),
            (1, 1, 0, 1, StillDown),
            (3, 2, 1, 1, Undecided),
            (3, 2, 2, 0, Recovered),
            (3, 2, 0, 2, StillDown),
            (4095, 4095, 4094, 0, Undecided),
            (4095, 4095, 4094, 1, StillDown),
        ] {
            let taken = succeeded + failed;
            let slots = Slots::new(taken, succeeded, failed);
            let told = (slots.taken(), slots.succeeded(), slots.failed());
            assert_eq!(told, (taken, succeeded, failed));
            let more = slots.conclude(true).conclude(false);
            assert_eq!(more, Slots::new(taken, succeeded + 1, failed + 1));
            assert_eq!(slots.finding(count, needed), finding, "{slots:?}");
        }
    }

    #[test]
    fn no_more_slots_are_taken_than_there_are() {
        let mut slots = Slots::default();
        for _ in 0..3 {
            slots = slots.take(3).unwrap();
        }
        assert_eq!(slots.take(3), None);
        assert_eq!(slots.give_back().unwrap().take(3), Some(slots));
        assert_eq!(Slots::default().give_back(), None);
    }
}
