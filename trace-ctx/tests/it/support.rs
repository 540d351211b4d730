//! What the modules share: a clock and a sink that tests can see through.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buttress_trace_ctx::{Clock, Finished, Outcome, Sink, Started};

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub(crate) struct ManualClock {
    passed: Arc<Mutex<Duration>>,
}

impl ManualClock {
    pub(crate) fn new() -> Self {
        Self {
            passed: Arc::default(),
        }
    }

    pub(crate) fn advance(&self, millis: u64) {
        *self.passed.lock().unwrap() += Duration::from_millis(millis);
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        self.passed()
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + self.passed()
    }
}

/// What a [`Seen`] sink noted of one record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noted {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) bytes: u64,
    pub(crate) head_ms: Option<u128>,
    pub(crate) total_ms: u128,
    pub(crate) route: Option<String>,
}

/// A sink that notes every record, and how many requests it believes to be under way.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    state: Arc<Mutex<(usize, Vec<Noted>)>>,
}

impl Seen {
    pub(crate) fn active(&self) -> usize {
        self.state.lock().unwrap().0
    }

    pub(crate) fn records(&self) -> Vec<Noted> {
        self.state.lock().unwrap().1.clone()
    }

    /// The one record there must be, with nothing under way.
    #[track_caller]
    pub(crate) fn only(&self) -> Noted {
        let (active, records) = &*self.state.lock().unwrap();
        assert_eq!((*active, records.len()), (0, 1), "{records:?}");
        records[0].clone()
    }
}

impl Sink for Seen {
    type Span = ();

    fn begin(&self, _: &Started<'_>) -> Option<()> {
        self.state.lock().unwrap().0 += 1;
        Some(())
    }

    fn end(&self, (): (), finished: &Finished<'_>) {
        let current = buttress_trace_ctx::current().expect("a record is told in its context");
        assert_eq!(current.span_id(), finished.context.span_id());
        let mut state = self.state.lock().unwrap();
        state.0 -= 1;
        state.1.push(Noted {
            outcome: finished.outcome,
            status: finished.status.map(|status| status.as_u16()),
            grpc_status: finished.grpc_status,
            bytes: finished.bytes,
            head_ms: finished.time_to_head.map(|time| time.as_millis()),
            total_ms: finished.total.as_millis(),
            route: finished.route.map(ToString::to_string),
        });
    }
}
