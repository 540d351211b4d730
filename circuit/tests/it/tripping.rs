//! When a closed breaker opens.

use buttress_circuit::{
    Breaker, Rate, Reading, State, Tally, Verdict, Window, consecutive, failure_rate, slow_calls,
};

use super::{builder, fail, ms, secs, succeed};

fn with_rate(rate: Rate) -> Breaker {
    builder().0.trip(rate).build().unwrap()
}

#[test]
fn a_count_window_slides_however_many_successes_came_before() {
    let breaker = with_rate(failure_rate(0.5).over(Window::calls(10)).min_calls(10));
    succeed(&breaker, 1000);
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_time_window_forgets() {
    let (builder, clock) = builder();
    let window = Window::time(secs(16));
    let rate = failure_rate(0.5).over(window).min_calls(4);
    let breaker = builder.trip(rate).build().unwrap();
    fail(&breaker, 3);
    clock.advance(secs(16));
    fail(&breaker, 3);
    assert_eq!(breaker.state(), State::Closed);
    clock.advance(secs(14));
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_success_that_completes_the_volume_can_trip() {
    for window in [Window::calls(10), Window::time(secs(10))] {
        let breaker = with_rate(failure_rate(0.5).over(window).min_calls(10));
        fail(&breaker, 5);
        succeed(&breaker, 4);
        assert_eq!(breaker.state(), State::Closed);
        succeed(&breaker, 1);
        assert_eq!(breaker.state(), State::Open);
    }
}

#[test]
fn the_minimum_volume_counts_and_not_the_size_of_the_window() {
    let breaker = with_rate(failure_rate(0.5).over(Window::calls(100)).min_calls(3));
    fail(&breaker, 2);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn a_share_that_is_reached_exactly_trips() {
    let breaker = with_rate(failure_rate(0.1).over(Window::calls(30)).min_calls(30));
    succeed(&breaker, 27);
    fail(&breaker, 3);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn only_failures_in_a_row_are_consecutive() {
    let (builder, _) = builder();
    let breaker = builder.trip(consecutive(3)).build().unwrap();
    fail(&breaker, 2);
    succeed(&breaker, 1);
    fail(&breaker, 2);
    breaker.try_acquire().unwrap().ignore();
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn slow_calls_trip_whatever_their_verdict() {
    let (builder, clock) = builder();
    let rate = slow_calls(secs(2), 0.5).over(Window::calls(4));
    let breaker = builder.trip(rate).build().unwrap();
    for took in [ms(1), ms(1999), secs(2), secs(9)] {
        assert_eq!(breaker.state(), State::Closed);
        let permit = breaker.try_acquire().unwrap();
        clock.advance(took);
        permit.success();
    }
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn any_of_several_rules_trips() {
    for failures_in_a_row in [true, false] {
        let (builder, _) = builder();
        let rate = failure_rate(0.5).over(Window::calls(10)).min_calls(10);
        let breaker = builder.trip(rate.or(consecutive(4))).build().unwrap();
        if failures_in_a_row {
            fail(&breaker, 4);
        } else {
            for _ in 0..5 {
                fail(&breaker, 1);
                succeed(&breaker, 1);
            }
        }
        assert_eq!(breaker.state(), State::Open);
    }
}

#[test]
fn what_is_ignored_is_not_counted() {
    for window in [Window::calls(10), Window::time(secs(10))] {
        let breaker = with_rate(failure_rate(0.5).over(window).min_calls(2));
        for _ in 0..100 {
            breaker.try_acquire().unwrap().record(Verdict::Ignore);
        }
        fail(&breaker, 1);
        let expected = Reading::FailureRate(Tally { hits: 1, total: 1 });
        assert_eq!(breaker.snapshot().rules, [expected]);
    }
}

#[test]
fn rejected_calls_do_not_dilute_the_rate() {
    let (builder, clock) = builder();
    let rate = failure_rate(0.5).over(Window::calls(4)).min_calls(4);
    let breaker = builder.trip(rate).build().unwrap();
    fail(&breaker, 4);
    for _ in 0..1000 {
        assert!(breaker.try_acquire().is_err());
    }
    clock.advance(secs(6));
    succeed(&breaker, 3);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 4);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn the_window_is_empty_after_recovery_and_the_rule_works_at_once() {
    let (builder, clock) = builder();
    let breaker = builder
        .trip(failure_rate(0.5).min_calls(4))
        .build()
        .unwrap();
    fail(&breaker, 4);
    clock.advance(secs(6));
    succeed(&breaker, 3);
    assert_eq!(breaker.state(), State::Closed);
    let empty = Reading::FailureRate(Tally { hits: 0, total: 0 });
    assert_eq!(breaker.snapshot().rules, [empty]);
    fail(&breaker, 3);
    assert_eq!(breaker.state(), State::Closed);
    fail(&breaker, 1);
    assert_eq!(breaker.state(), State::Open);
}

#[test]
fn an_answer_from_before_the_trip_counts_for_nothing() {
    let (builder, clock) = builder();
    let breaker = builder.trip(consecutive(1)).build().unwrap();
    let early: Vec<_> = (0..4).map(|_| breaker.try_acquire().unwrap()).collect();
    fail(&breaker, 1);
    clock.advance(secs(6));
    let probe = breaker.try_acquire().unwrap();
    for (n, permit) in early.into_iter().enumerate() {
        if n % 2 == 0 {
            permit.success();
        } else {
            permit.failure();
        }
        assert_eq!(breaker.state(), State::HalfOpen);
    }
    let probes = breaker.snapshot().probes;
    assert_eq!(
        (probes.in_flight, probes.succeeded, probes.failed),
        (1, 0, 0)
    );
    probe.success();
}

#[test]
fn above_a_share_is_not_at_it() {
    for (rule, opens) in [
        (failure_rate(0.5), true),
        (buttress_circuit::failure_rate_above(0.5), false),
    ] {
        let (builder, _clock) = builder();
        let breaker = builder.trip(rule.min_calls(2)).build().unwrap();
        breaker.try_acquire().unwrap().success();
        fail(&breaker, 1);
        assert_eq!(breaker.state() == State::Open, opens);
        fail(&breaker, usize::from(!opens));
        assert_eq!(breaker.state(), State::Open, "two of three");
    }
    let (builder, _clock) = builder();
    let all = buttress_circuit::failure_rate_above(1.0);
    assert!(builder.trip(all).build().is_err());
}
