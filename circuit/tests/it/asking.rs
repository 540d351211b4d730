//! Services that say for how long they do not want to be called.

use buttress_circuit::{Backoff, Probes, State, Verdict, consecutive, failure_rate};

use super::{builder, fail, ms, secs};

fn asks(time: std::time::Duration) -> Verdict {
    Verdict::FailureFor(time)
}

#[test]
fn the_open_time_is_no_less_than_the_service_asked_for() {
    for (asked, open) in [(secs(1), secs(30)), (secs(300), secs(300))] {
        let (builder, clock) = builder();
        let backoff = Backoff::constant(secs(30));
        let breaker = builder.trip(consecutive(2)).open_for(backoff);
        let breaker = breaker.build().unwrap();
        breaker.try_acquire().unwrap().record(asks(asked));
        assert_eq!(breaker.state(), State::Closed, "asking trips nothing");
        fail(&breaker, 1);
        let left = breaker.snapshot().remaining.unwrap();
        assert!(left >= open && left < open + ms(17), "{left:?}");
        clock.advance(open - ms(1));
        assert_eq!(breaker.state(), State::Open);
        clock.advance(ms(18));
        assert_eq!(breaker.state(), State::HalfOpen);
    }
}

#[test]
fn the_latest_moment_asked_for_counts() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(2));
    let breaker = breaker
        .open_for(Backoff::constant(secs(30)))
        .build()
        .unwrap();
    breaker.try_acquire().unwrap().record(asks(secs(100)));
    breaker.try_acquire().unwrap().record(asks(secs(2)));
    assert!(breaker.snapshot().remaining.unwrap() >= secs(100));
}

#[test]
fn what_was_asked_for_and_is_over_is_forgotten() {
    let (builder, clock) = builder();
    let backoff = Backoff::constant(secs(30));
    let breaker = builder.trip(consecutive(2)).open_for(backoff);
    let breaker = breaker.build().unwrap();
    breaker.try_acquire().unwrap().record(asks(secs(2)));
    clock.advance(secs(3));
    fail(&breaker, 1);
    assert_eq!(breaker.snapshot().remaining, Some(secs(30)));
}

#[test]
fn a_failed_probe_may_ask_as_well() {
    let (builder, clock) = builder();
    let breaker = builder.trip(consecutive(1)).half_open(Probes::new(1));
    let breaker = breaker.build().unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    breaker.try_acquire().unwrap().record(asks(secs(600)));
    assert!(breaker.snapshot().remaining.unwrap() >= secs(600));
}

#[test]
fn jitter_never_calls_back_earlier_than_asked() {
    for _ in 0..50 {
        let (builder, _clock) = builder();
        let backoff = Backoff::constant(secs(5)).jitter(0.5);
        let breaker = builder.trip(consecutive(1)).open_for(backoff);
        let breaker = breaker.build().unwrap();
        breaker.try_acquire().unwrap().record(asks(secs(100)));
        let left = breaker.snapshot().remaining.unwrap();
        assert!(left >= secs(100) && left <= secs(151), "{left:?}");
    }
}

#[test]
fn an_absurd_wish_is_a_day() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let forever = std::time::Duration::MAX;
    breaker.try_acquire().unwrap().record(asks(forever));
    let left = breaker.snapshot().remaining.unwrap();
    assert!(left <= 2 * secs(86_400), "{left:?}");
}

#[test]
fn overload_counts_for_rates_and_probes_but_not_in_a_row() {
    let (builder, clock) = builder();
    let trip = failure_rate(0.5).min_calls(10).or(consecutive(3));
    let breaker = builder.trip(trip).half_open(Probes::new(1));
    let breaker = breaker.build().unwrap();
    let shed = || {
        breaker
            .try_acquire()
            .unwrap()
            .record(Verdict::Overloaded(None))
    };
    (0..9).for_each(|_| shed());
    assert_eq!(breaker.state(), State::Closed);
    shed();
    assert_eq!(breaker.state(), State::Open);
    clock.advance(secs(60));
    shed();
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn overload_neither_lengthens_nor_ends_a_run() {
    let (builder, _clock) = builder();
    let breaker = builder.trip(consecutive(2)).build().unwrap();
    fail(&breaker, 1);
    breaker
        .try_acquire()
        .unwrap()
        .record(Verdict::Overloaded(None));
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}
