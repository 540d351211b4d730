//! A trip rule at work.

use crate::clock::nanos;
use crate::error::ConfigError;
use crate::event::Reading;
use crate::kept::{About, Contents, Kept};
use crate::policy::{Rate, Ratio, RuleSpec, Subject};
use crate::stamped::{Stamp, Stamped};
use crate::ticket::Ticket;
use crate::verdict::Verdict;
use crate::window::{Counts, Tally};

/// A finished call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) counted: Counted,
    pub(crate) ticket: Ticket,
    /// When it ended. Zero where no rule asks.
    pub(crate) now: u64,
}

/// What a call counts as. One that is ignored counts as nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Counted {
    Success,
    Failure,
    /// It failed for want of room, which is not one of consecutive failures.
    Overloaded,
}

impl Counted {
    pub(crate) fn from_verdict(verdict: Verdict) -> Option<Self> {
        match verdict {
            Verdict::Success => Some(Self::Success),
            Verdict::Failure | Verdict::FailureFor(_) => Some(Self::Failure),
            Verdict::Overloaded(_) => Some(Self::Overloaded),
            Verdict::Ignore => None,
        }
    }
}

impl Call {
    /// Nanoseconds it took. Zero where no rule asks. Apart: inlined it would be computed for every rule.
    #[inline(never)]
    pub(crate) fn took(&self) -> u64 {
        self.ticket.took(self.now)
    }
}

#[derive(Debug)]
pub(crate) enum Rule {
    Rate {
        subject: Subject,
        /// From how many nanoseconds on a call is slow.
        slow_from: u64,
        threshold: Ratio,
        min_calls: u32,
        counts: Counts,
    },
    Consecutive {
        limit: u32,
        run: Stamped,
    },
}

impl Rule {
    pub(crate) fn new(spec: &RuleSpec) -> Result<Self, ConfigError> {
        match spec {
            RuleSpec::Rate(rate) => Self::rate(rate),
            RuleSpec::Consecutive(limit) => Ok(Self::Consecutive {
                limit: *limit,
                run: Stamped::new(),
            }),
        }
    }

    fn rate(rate: &Rate) -> Result<Self, ConfigError> {
        Ok(Self::Rate {
            subject: rate.subject,
            slow_from: match rate.subject {
                Subject::Failures => u64::MAX,
                Subject::Slow(longer_than) => nanos(longer_than),
            },
            threshold: rate.threshold()?,
            min_calls: rate.volume(),
            counts: rate.window.build(),
        })
    }

    /// Counts a call. What the rule then holds, if that trips it.
    #[inline(always)]
    pub(crate) fn record(&self, call: Call) -> Option<Reading> {
        let generation = call.ticket.generation();
        match self {
            Self::Rate {
                subject,
                slow_from,
                threshold,
                min_calls,
                counts,
            } => {
                let hit = match subject {
                    Subject::Failures => call.counted != Counted::Success,
                    Subject::Slow(_) => call.took() >= *slow_from,
                };
                let tally = counts.record(generation, call.now, hit)?;
                let trips =
                    tally.total >= *min_calls && threshold.is_reached(tally.hits, tally.total);
                trips.then(|| subject.reading(tally))
            }
            Self::Consecutive { limit, run } => {
                if call.counted == Counted::Overloaded {
                    return None;
                }
                let length = lengthen(run, generation, call.counted == Counted::Failure, *limit);
                (length >= *limit).then_some(Reading::Consecutive(length))
            }
        }
    }

    /// Whether another success would leave it as it is.
    #[inline]
    pub(crate) fn is_untouched_by_success(&self, generation: u32) -> bool {
        match self {
            Self::Rate {
                subject: Subject::Failures,
                counts: Counts::Calls(window),
                ..
            } => window.is_full_of_successes(generation),
            Self::Rate { .. } => false,
            Self::Consecutive { run, .. } => run.read(Stamp::new(generation.into())) == 0,
        }
    }

    /// What it holds.
    pub(crate) fn reading(&self, generation: u32, now: u64) -> Reading {
        match self {
            Self::Rate {
                subject, counts, ..
            } => subject.reading(counts.tally(generation, now)),
            Self::Consecutive { run, .. } => {
                Reading::Consecutive(run.read(Stamp::new(generation.into())) as u32)
            }
        }
    }

    /// What it holds, to be kept.
    pub(crate) fn keep(&self, generation: u32, now: u64) -> Kept {
        let contents = match self {
            Self::Rate { counts, .. } => counts.keep(generation, now),
            Self::Consecutive { run, .. } => {
                Contents::Run(run.read(Stamp::new(generation.into())) as u32)
            }
        };
        Kept {
            about: self.about(),
            contents,
        }
    }

    /// Holds what was kept. A run that is long enough by now trips at the next failure.
    pub(crate) fn remember(&self, generation: u32, now: u64, kept: &Contents) {
        match (self, kept) {
            (Self::Rate { counts, .. }, kept) => counts.remember(generation, now, kept),
            (Self::Consecutive { limit, run }, Contents::Run(length)) => {
                let length = (*length).min(limit - 1);
                run.update(Stamp::new(generation.into()), |_| Some(length.into()));
            }
            (Self::Consecutive { .. }, _) => {}
        }
    }

    pub(crate) fn about(&self) -> About {
        match self {
            Self::Rate { subject, .. } => match subject {
                Subject::Failures => About::Failures,
                Subject::Slow(_) => About::Slow,
            },
            Self::Consecutive { .. } => About::Run,
        }
    }

    /// Whether it must be told when a call ended.
    pub(crate) fn needs_time(&self) -> bool {
        matches!(self, Self::Rate { counts, .. } if counts.needs_time())
    }

    /// From how many nanoseconds on a call is slow, if the rule asks.
    pub(crate) fn slow_from(&self) -> Option<u64> {
        match self {
            Self::Rate {
                subject: Subject::Slow(_),
                slow_from,
                ..
            } => Some(*slow_from),
            _ => None,
        }
    }
}

impl Subject {
    fn reading(self, tally: Tally) -> Reading {
        match self {
            Self::Failures => Reading::FailureRate(tally),
            Self::Slow(_) => Reading::SlowCalls(tally),
        }
    }
}

/// The length of the run of failures after one more call. A success writes only if there is a run to end.
fn lengthen(run: &Stamped, generation: u32, failed: bool, limit: u32) -> u32 {
    let stamp = Stamp::new(generation.into());
    if !failed {
        if run.read(stamp) != 0 {
            run.update(stamp, |_| Some(0));
        }
        return 0;
    }
    let longer = run.update(stamp, |length| Some((length + 1).min(limit.into())));
    longer.map_or(0, |change| change.after as u32)
}
