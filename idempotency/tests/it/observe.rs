//! Observers that are ready to use.

use buttress_idempotency::{Claim, Event, Observer, Origin, RecordKey, StoreError, Token};
use http::HeaderValue;

fn claim() -> Claim {
    Claim {
        key: RecordKey::from_bytes([0xab; 32]),
        token: Token(1),
        fence: 7,
        attempt: 2,
    }
}

#[cfg(feature = "metrics")]
#[test]
fn events_are_counted_by_name() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let metrics = buttress_idempotency::Metrics::new("orders");
        metrics.on_event(&Event::Claimed(&claim()));
        metrics.on_event(&Event::Replayed(&Origin::default()));
        metrics.on_event(&Event::Replayed(&Origin::default()));
    });
    let counted = recorder.snapshotter().snapshot().into_vec();
    let counts = counted.iter().filter_map(|(key, _, _, value)| {
        let mut labels = key.key().labels();
        assert!(
            labels
                .clone()
                .any(|label| (label.key(), label.value()) == ("layer", "orders"))
        );
        let event = labels.find(|label| label.key() == "event")?;
        match value {
            DebugValue::Counter(count) if *count > 0 => Some((event.value(), *count)),
            _ => None,
        }
    });
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    assert_eq!(counts, [("claimed", 1), ("replayed", 2)]);
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_what_has_to_be_looked_at_is_a_warning() {
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
        let tracing = buttress_idempotency::Tracing::new("orders");
        let first = Origin::new(std::time::UNIX_EPOCH, Some(HeaderValue::from_static("r1")));
        tracing.on_event(&Event::Claimed(&claim()));
        tracing.on_event(&Event::Mismatch);
        tracing.on_event(&Event::Replayed(&first));
        tracing.on_event(&Event::Orphaned(&claim()));
        tracing.on_event(&Event::StoreFailed(&StoreError::Unavailable(
            "it is down".into(),
        )));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().map(str::trim).collect();
    let key = "ab".repeat(32);
    assert_eq!(
        lines,
        [
            &format!(
                "TRACE buttress_idempotency: layer=\"orders\" event=\"claimed\" key={key} fence=7 attempt=2"
            ),
            "DEBUG buttress_idempotency: layer=\"orders\" event=\"mismatch\"",
            "INFO buttress_idempotency: layer=\"orders\" event=\"replayed\" original_request=\"r1\"",
            &format!(
                "WARN buttress_idempotency: layer=\"orders\" event=\"orphaned\" key={key} fence=7 attempt=2"
            ),
            "WARN buttress_idempotency: layer=\"orders\" event=\"store_failed\" error=the store is not available cause=it is down",
        ]
    );
}
