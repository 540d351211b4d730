//! Observers that are ready to use.

use buttress_cache::Cache;
#[cfg(any(feature = "metrics", feature = "tracing"))]
use buttress_cache::{Depth, Event, Failure, Observer, Stale, Tier};

/// One of each kind of line.
#[cfg(any(feature = "metrics", feature = "tracing"))]
fn tell(observer: &impl Observer) {
    let key = b"product:\x07\xff";
    observer.on_event(&Event::Miss { key });
    let tier = Tier::Memory;
    observer.on_event(&Event::Hit { key, tier });
    observer.on_event(&Event::Hit { key, tier });
    let why = Failure::TimedOut;
    observer.on_event(&Event::FillFailed { key, why });
    let why = Stale::Slow;
    observer.on_event(&Event::ServedStale { key, why });
    observer.on_event(&Event::Detached { key });
    let depth = Depth::Remove;
    observer.on_event(&Event::Invalidated { depth });
    observer.on_event(&Event::Cleared);
}

#[cfg(feature = "metrics")]
#[test]
fn events_are_counted_by_name() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        tell(&buttress_cache::Metrics::new("products"));
    });
    let counted = recorder.snapshotter().snapshot().into_vec();
    let mut counts: Vec<_> = counted
        .iter()
        .filter_map(|(key, _, _, value)| {
            let label = |name| {
                let mut labels = key.key().labels();
                labels.find_map(|label| (label.key() == name).then(|| label.value()))
            };
            assert_eq!(label("cache"), Some("products"));
            match value {
                DebugValue::Counter(count) if *count > 0 => {
                    Some((label("event").unwrap(), label("tier"), *count))
                }
                _ => None,
            }
        })
        .collect();
    counts.sort_unstable();
    assert_eq!(
        counts,
        [
            ("cleared", None, 1),
            ("detached", None, 1),
            ("fill_failed", None, 1),
            ("hit", Some("memory"), 2),
            ("invalidated", None, 1),
            ("miss", None, 1),
            ("served_stale", None, 1),
        ]
    );
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_a_source_that_fails_is_a_warning() {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(line)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let sink = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(move || sink.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        tell(&buttress_cache::Tracing::new("products"));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().map(str::trim).collect();
    let line = |level, event, rest| {
        format!("{level} buttress_cache: cache=\"products\" event=\"{event}\"{rest}")
    };
    let keyed = |rest: &str| format!(" key=product:\\x07\\xff{rest}");
    assert_eq!(
        lines,
        [
            line("TRACE", "miss", keyed("")),
            line("TRACE", "hit", keyed(" tier=\"memory\"")),
            line("TRACE", "hit", keyed(" tier=\"memory\"")),
            line("WARN", "fill_failed", keyed(" why=TimedOut")),
            line("DEBUG", "served_stale", keyed(" why=Slow")),
            line("DEBUG", "detached", keyed("")),
            line("DEBUG", "invalidated", " depth=Remove".to_owned()),
            line("DEBUG", "cleared", String::new()),
        ]
    );
}

#[tokio::test]
async fn several_may_listen() {
    let heard = [(); 2].map(|()| crate::kit::Heard::default());
    let [one, other] = &heard;
    let builder = Cache::<u32>::builder();
    let cache = builder.observer(one.observer()).observer(other.observer());
    assert!(cache.build().get("k").await.is_none());
    assert_eq!(heard.map(|heard| heard.take()), [["miss"], ["miss"]]);
}
