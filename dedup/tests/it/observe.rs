use buttress_dedup::{Event, Observer};

#[cfg(feature = "metrics")]
#[test]
fn events_are_counted_by_name() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, || {
        let metrics = buttress_dedup::Metrics::new("prices");
        metrics.on_event(&Event::Led);
        metrics.on_event(&Event::Joined);
        metrics.on_event(&Event::Joined);
    });
    let counted = recorder.snapshotter().snapshot().into_vec();
    let counts = counted.iter().filter_map(|(key, _, _, value)| {
        let event = key.key().labels().find(|label| label.key() == "event")?;
        match value {
            DebugValue::Counter(count) if *count > 0 => Some((event.value(), *count)),
            _ => None,
        }
    });
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    assert_eq!(counts, [("joined", 2), ("led", 1)]);
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_trouble_is_a_warning() {
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
        let tracing = buttress_dedup::Tracing::new("prices");
        tracing.on_event(&Event::Led);
        tracing.on_event(&Event::Promoted);
        let error = std::io::Error::other("redis is down");
        tracing.on_event(&Event::Uncoordinated(&error));
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "TRACE buttress_dedup: flights=\"prices\" event=\"led\"",
            "DEBUG buttress_dedup: flights=\"prices\" event=\"promoted\"",
            "WARN buttress_dedup: flights=\"prices\" event=\"uncoordinated\" error=redis is down",
        ]
    );
}
