//! Events as logs and metrics.

#[cfg(feature = "metrics")]
mod metrics {
    use buttress_circuit::{
        Backoff, Breaker, Event, ManualClock, Metrics, Observer, Probes, Verdict, consecutive,
    };
    use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

    use crate::{builder, fail, secs};

    type Numbers = Vec<(String, f64)>;

    /// `name{label=value,…}` and the number, sorted.
    fn all(snapshotter: &Snapshotter) -> Numbers {
        let metrics = snapshotter.snapshot().into_vec();
        let mut all: Numbers = metrics
            .into_iter()
            .map(|(key, _, _, value)| {
                let key = key.key();
                let labels: Vec<_> = key
                    .labels()
                    .filter(|label| label.key() != "breaker")
                    .map(|label| format!("{}={}", label.key(), label.value()))
                    .collect();
                let number = match value {
                    DebugValue::Counter(n) => n as f64,
                    DebugValue::Gauge(n) => *n,
                    DebugValue::Histogram(all) => all.iter().map(|n| **n).sum(),
                };
                (format!("{}{{{}}}", key.name(), labels.join(",")), number)
            })
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    fn fragile() -> (Breaker, ManualClock) {
        let (builder, clock) = builder();
        let breaker = builder
            .trip(consecutive(1))
            .open_for(Backoff::constant(secs(10)))
            .half_open(Probes::new(1))
            .observer_of_calls(Metrics)
            .build();
        (breaker.unwrap(), clock)
    }

    fn shown(snapshotter: &Snapshotter) -> Vec<String> {
        let is_shown = |(name, value): &(String, f64)| {
            assert!(!name.starts_with("circuit_state") || [0.0, 1.0].contains(value));
            name.starts_with("circuit_state") && *value == 1.0
        };
        let shown = all(snapshotter).into_iter().filter(is_shown);
        shown.map(|(name, _)| name).collect()
    }

    #[test]
    fn the_gauge_shows_one_state_from_the_build_on() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        ::metrics::with_local_recorder(&recorder, || {
            let (breaker, clock) = fragile();
            assert_eq!(shown(&snapshotter), ["circuit_state{state=closed}"]);
            fail(&breaker, 1);
            assert_eq!(shown(&snapshotter), ["circuit_state{state=open}"]);
            clock.advance(secs(10));
            let probe = breaker.try_acquire().unwrap();
            assert_eq!(shown(&snapshotter), ["circuit_state{state=half_open}"]);
            probe.success();
            assert_eq!(shown(&snapshotter), ["circuit_state{state=closed}"]);
            breaker.force_open();
            assert_eq!(shown(&snapshotter), ["circuit_state{state=forced_open}"]);
        });
    }

    #[test]
    fn the_gauge_of_a_breaker_that_is_gone_is_that_of_the_next() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        ::metrics::with_local_recorder(&recorder, || {
            let (breaker, _clock) = fragile();
            fail(&breaker, 1);
            Metrics.on_event(&Event::Evicted(&breaker));
            assert_eq!(shown(&snapshotter), ["circuit_state{state=closed}"]);
        });
    }

    #[test]
    fn the_gauge_of_the_feed_follows_it() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        ::metrics::with_local_recorder(&recorder, || {
            let connected = || vec![("circuit_feed_connected{}".to_owned(), 1.0)];
            Metrics.on_event(&Event::FeedLost(&std::io::Error::other("cut")));
            assert_eq!(all(&snapshotter)[0].1, 0.0);
            Metrics.on_event(&Event::FeedRestored);
            assert_eq!(all(&snapshotter), connected());
        });
    }

    #[test]
    fn calls_and_transitions_are_counted() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        ::metrics::with_local_recorder(&recorder, || {
            let (breaker, clock) = fragile();
            let call = breaker.try_acquire().unwrap();
            clock.advance(secs(2));
            call.success();
            drop(breaker.try_acquire().unwrap());
            let overloaded = breaker.try_acquire().unwrap();
            overloaded.record(Verdict::Overloaded(None));
            fail(&breaker, 1);
            assert!(breaker.try_acquire().is_err());
        });
        let expected = [
            ("circuit_call_duration_seconds{outcome=success}", 2.0),
            ("circuit_calls_total{outcome=cancelled}", 1.0),
            ("circuit_calls_total{outcome=failure}", 1.0),
            ("circuit_calls_total{outcome=overloaded}", 1.0),
            ("circuit_calls_total{outcome=success}", 1.0),
            ("circuit_rejected_total{reason=open}", 1.0),
            (
                "circuit_transitions_total{from=closed,to=open,cause=tripped}",
                1.0,
            ),
        ];
        let all = all(&snapshotter);
        for (name, value) in expected {
            let found = all.iter().find(|(known, _)| known == name);
            let found = found.unwrap_or_else(|| panic!("{name} in {all:?}")).1;
            assert!((found - value).abs() < 1e-3, "{name} {found}");
        }
    }
}

#[cfg(feature = "tracing")]
mod tracing {
    use buttress_circuit::{Tracing, consecutive};

    use crate::{builder, fail};

    #[test]
    fn a_transition_is_a_log_event() {
        let lines = testkit::told::logged(|| {
            let (builder, _clock) = builder();
            let breaker = builder.trip(consecutive(1)).observer(Tracing).build();
            let breaker = breaker.unwrap();
            fail(&breaker, 1);
            breaker.reset();
        });
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert_eq!(
            lines[0],
            "DEBUG buttress_circuit: breaker built breaker=test"
        );
        for (line, parts) in lines[1..].iter().zip([
            [
                "WARN buttress_circuit: breaker opened",
                "from=\"closed\"",
                "to=\"open\"",
                "cause=\"tripped\"",
            ],
            [
                "INFO buttress_circuit: breaker changed",
                "from=\"open\"",
                "to=\"closed\"",
                "cause=\"manual\"",
            ],
        ]) {
            for part in parts {
                assert!(line.contains(part), "{part} in {line}");
            }
        }
    }
}
