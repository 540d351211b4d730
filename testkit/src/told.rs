//! What observers tell: lines of a log, and counters.

use std::io;
use std::sync::{Arc, Mutex};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};

/// The lines that `work` logs, of all levels: `LEVEL target: fields`.
///
/// # Panics
///
/// If one is not UTF-8.
pub fn logged(work: impl FnOnce()) -> Vec<String> {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, work);
    let log = log.0.lock().expect("no writer panics");
    let lines = std::str::from_utf8(&log).expect("lines are text").lines();
    lines.map(|line| line.trim().to_owned()).collect()
}

/// The counters that `work` raises, sorted: their labels as `name=value`, and how far.
pub fn counted(work: impl FnOnce()) -> Vec<(String, u64)> {
    let recorder = DebuggingRecorder::new();
    metrics::with_local_recorder(&recorder, work);
    let told = recorder.snapshotter().snapshot().into_vec();
    let counters = told.iter().filter_map(|(key, _, _, value)| match value {
        DebugValue::Counter(count) if *count > 0 => {
            let labels = key.key().labels();
            let labels = labels.map(|label| format!("{}={}", label.key(), label.value()));
            Some((labels.collect::<Vec<_>>().join(" "), *count))
        }
        _ => None,
    });
    let mut counters: Vec<_> = counters.collect();
    counters.sort_unstable();
    counters
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
