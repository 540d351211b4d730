//! Histories against a naive reference: a breaker that keeps every record in a `VecDeque` and counts by hand.
#![cfg(not(buttress_loom))]
#![expect(clippy::unwrap_used, reason = "a helper of tests is a test")]

mod naive;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_circuit::{
    Backoff, Breaker, Builder, Cancel, Event, ManualClock, Permit, Probes, Ramp, Reading, State,
    Transition, Window, consecutive, failure_rate, slow_calls,
};
use naive::{Naive, NaivePermit, Outcome, Settings, Span};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire,
    Finish(usize, Outcome),
    Pass(u64),
    ForceOpen,
    ForceClosed,
    MetricsOnly,
    Auto,
    Reset,
    OpenFor(u64),
    Reconfigure(Settings),
    Restart { down: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Success),
        6 => Just(Outcome::Failure),
        1 => Just(Outcome::Ignore),
        2 => Just(Outcome::Drop),
    ];
    let operate = prop_oneof![
        Just(Step::ForceOpen),
        Just(Step::ForceClosed),
        Just(Step::MetricsOnly),
        Just(Step::Auto),
        Just(Step::Auto),
        Just(Step::Auto),
        Just(Step::Reset),
        (1..500_u64).prop_map(Step::OpenFor),
    ];
    prop_oneof![
        40 => Just(Step::Acquire),
        40 => (any::<usize>(), outcome).prop_map(|(n, outcome)| Step::Finish(n, outcome)),
        15 => (0..120_u64).prop_map(Step::Pass),
        3 => (0..3000_u64).prop_map(Step::Pass),
        1 => operate,
        1 => settings().prop_map(Step::Reconfigure),
        1 => (0..500_u64).prop_map(|down| Step::Restart { down }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let span = prop_oneof![
        (1..70_u32).prop_map(Span::Calls),
        (1..40_u64).prop_map(|width| Span::Buckets { width }),
    ];
    let rules = (span, 1..=20_u32, 1..12_u32, prop::option::of(1..6_u32));
    let slow = prop::option::of((1..100_u64, 1..=20_u32));
    let backoff = (1..200_u64, 1..4_u32, 0..LONGEST_OPEN - 200, 1..400_u64);
    let probes = (1..5_u32, 1..=20_u32, 1..LONGEST_WAIT);
    let ramp = prop::option::of((1..500_u64, 1..=20_u32));
    let limits = (ramp, prop::option::of(1..6_u32));
    let cancel = prop_oneof![Just(None), Just(Some(0)), (1..100_u64).prop_map(Some)];
    (rules, slow, backoff, probes, cancel, limits).prop_map(
        |(rules, slow, backoff, probes, cancel, limits)| {
            let (span, twentieths, min_calls, consecutive) = rules;
            let (base, factor, beyond, quiet) = backoff;
            let (count, ratio, max_wait) = probes;
            Settings {
                span,
                twentieths,
                min_calls: match span {
                    Span::Calls(calls) => min_calls.min(calls),
                    Span::Buckets { .. } => min_calls,
                },
                consecutive,
                slow,
                base,
                factor,
                max: base + beyond,
                quiet,
                probes: count,
                probe_twentieths: ratio,
                max_wait,
                cancel,
                ramp: limits.0,
                max_in_flight: limits.1,
            }
        },
    )
}

const LONGEST_WAIT: u64 = 300;
const LONGEST_OPEN: u64 = 700;
const DAY: u64 = 24 * 60 * 60 * 1000;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn configure<Of>(builder: Builder<Of>, settings: &Settings) -> Builder<Of> {
    let share = |twentieths: u32| f64::from(twentieths) / 20.0;
    let window = match settings.span {
        Span::Calls(calls) => Window::calls(calls),
        Span::Buckets { width } => Window::time(ms(16 * width)),
    };
    let rate = failure_rate(share(settings.twentieths));
    let mut trip = rate.over(window).min_calls(settings.min_calls).into();
    if let Some((longer_than, twentieths)) = settings.slow {
        let rate = slow_calls(ms(longer_than), share(twentieths));
        trip = buttress_circuit::Trip::or(trip, rate.over(window).min_calls(settings.min_calls));
    }
    if let Some(failures) = settings.consecutive {
        trip = trip.or(consecutive(failures));
    }
    builder
        .trip(trip)
        .open_for(
            Backoff::exponential(ms(settings.base), settings.factor.into(), ms(settings.max))
                .forget_after(ms(settings.quiet)),
        )
        .half_open(
            Probes::new(settings.probes)
                .success_ratio(share(settings.probe_twentieths))
                .max_wait(ms(settings.max_wait)),
        )
        .on_cancel(match settings.cancel {
            None => Cancel::Ignore,
            Some(0) => Cancel::Failure,
            Some(after) => Cancel::FailureAfter(ms(after)),
        })
        .ramp(
            settings
                .ramp
                .map(|(time, from)| Ramp::over(ms(time)).start(share(from))),
        )
        .max_in_flight(settings.max_in_flight)
}

fn build(settings: &Settings, clock: &ManualClock, told: &Arc<Mutex<Vec<Transition>>>) -> Breaker {
    let told = Arc::clone(told);
    configure(Breaker::builder("model"), settings)
        .clock(clock)
        .observer(move |event: &Event<'_>| {
            if let Event::Transition(_, t) | Event::WouldOpen(_, t) = event {
                told.lock().unwrap().push(*t);
            }
        })
        .build()
        .unwrap()
}

/// The breaker and its reference, in step.
struct Pair {
    breaker: Breaker,
    clock: ManualClock,
    told: Arc<Mutex<Vec<Transition>>>,
    naive: Naive,
    out: Vec<(Permit, NaivePermit)>,
}

impl Pair {
    fn new(settings: Settings) -> Self {
        let (clock, told) = (ManualClock::new(), Arc::default());
        Self {
            breaker: build(&settings, &clock, &told),
            clock,
            told,
            naive: Naive::new(settings),
            out: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Acquire => self.acquire(),
            Step::Finish(n, outcome) => self.finish(n, outcome),
            Step::Pass(time) => self.pass(time),
            Step::ForceOpen => {
                self.breaker.force_open();
                self.naive.force(State::ForcedOpen);
            }
            Step::ForceClosed => {
                self.breaker.force_closed();
                self.naive.force(State::ForcedClosed);
            }
            Step::MetricsOnly => {
                self.breaker.metrics_only();
                self.naive.force(State::MetricsOnly);
            }
            Step::Auto => {
                self.breaker.auto();
                self.naive.auto();
            }
            Step::Reset => {
                self.breaker.reset();
                self.naive.reset();
            }
            Step::OpenFor(time) => {
                self.breaker.open_for(ms(time));
                self.naive.open_for(time);
            }
            Step::Reconfigure(other) => {
                let settings = self.naive.settings.like(other);
                let change = |now| configure(now, &settings);
                self.breaker.reconfigure(change).unwrap();
                self.naive.reconfigure(settings);
            }
            Step::Restart { down } => self.restart(down),
        }
        self.check();
    }

    /// The new process has a clock of its own, which differs from the old by whole buckets: otherwise they would be cut elsewhere.
    fn restart(&mut self, down: u64) {
        let snapshot = self.breaker.snapshot();
        if snapshot.state == State::HalfOpen {
            self.naive.look();
        }
        self.out.clear();
        self.naive.restart(down);
        let phase = match self.naive.settings.span {
            Span::Buckets { width } => (self.naive.now - DAY) % width,
            Span::Calls(_) => 0,
        };
        (self.clock, self.told) = (ManualClock::new(), Arc::default());
        self.clock.set(ms(phase));
        self.breaker = build(&self.naive.settings, &self.clock, &self.told);
        self.breaker.restore(&snapshot, ms(down));
    }

    fn acquire(&mut self) {
        match (self.breaker.try_acquire(), self.naive.acquire()) {
            (Ok(real), Ok(naive)) => self.out.push((real, naive)),
            (Err(real), Err(naive)) => {
                assert_eq!((real.reason(), real.retry_after()), naive);
                assert_ne!(real.retry_after(), Some(Duration::ZERO));
            }
            (real, naive) => panic!("{real:?} instead of {naive:?}"),
        }
    }

    fn finish(&mut self, n: usize, outcome: Outcome) {
        if self.out.is_empty() {
            return;
        }
        let (real, naive) = self.out.swap_remove(n % self.out.len());
        match outcome {
            Outcome::Success => real.success(),
            Outcome::Failure => real.failure(),
            Outcome::Ignore => real.ignore(),
            Outcome::Drop => drop(real),
        }
        self.naive.finish(naive, outcome);
    }

    fn pass(&mut self, time: u64) {
        self.clock.advance(ms(time));
        self.naive.now += time;
    }

    fn check(&self) {
        let (real, naive) = (self.breaker.snapshot(), &self.naive);
        assert_eq!(real.state, naive.visible_state());
        assert_eq!(real.generation, naive.generation);
        assert_eq!(real.openings, naive.openings);
        assert_eq!(real.in_flight, naive.bounded_in_flight());
        let probes = real.probes;
        assert_eq!(
            (probes.in_flight, probes.succeeded, probes.failed),
            naive.probe_counts()
        );
        for reading in &real.rules {
            match reading {
                Reading::FailureRate(tally) => {
                    assert_eq!((tally.hits, tally.total), naive.failures());
                }
                Reading::SlowCalls(tally) => assert_eq!((tally.hits, tally.total), naive.slow()),
                Reading::Consecutive(run) => assert_eq!(*run, naive.run),
                _ => unreachable!(),
            }
        }
        let told = self.told.lock().unwrap();
        assert_eq!(told.len() as u32, naive.generation);
        for (n, transition) in told.iter().enumerate() {
            assert_eq!(transition.generation, n as u32 + 1);
            assert!(n == 0 || told[n - 1].to == transition.from);
        }
    }

    /// Whatever is still out stays out for ever: some call must pass all the same, if there is room for one.
    fn comes_back(&mut self) {
        let is_full = |max| self.out.len() >= max as usize;
        if self.naive.state == State::ForcedOpen
            || self.naive.settings.max_in_flight.is_some_and(is_full)
        {
            return;
        }
        let mut admitted = self.breaker.try_acquire().is_ok();
        // The longest there are: what is going on may have begun under other settings.
        for wait in [LONGEST_WAIT, LONGEST_OPEN] {
            self.clock.advance(ms(wait));
            admitted |= self.breaker.try_acquire().is_ok();
        }
        assert!(admitted, "stuck: {:?}", self.breaker.snapshot());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1500,
        failure_persistence: Some(Box::new(
            proptest::test_runner::FileFailurePersistence::Direct("tests/model/regressions.txt"),
        )),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_goes_as_the_naive_one(settings in settings(), steps in vec(step(), 0..250)) {
        let mut pair = Pair::new(settings);
        pair.check();
        for step in steps {
            pair.take(step);
        }
        pair.comes_back();
    }
}
