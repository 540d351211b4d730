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
    let counted = testkit::told::counted(|| {
        let metrics = buttress_idempotency::Metrics::new("orders");
        metrics.on_event(&Event::Claimed(&claim()));
        metrics.on_event(&Event::Replayed(&Origin::default()));
        metrics.on_event(&Event::Replayed(&Origin::default()));
    });
    let count = |event, count| (format!("layer=orders event={event}"), count);
    assert_eq!(counted, [count("claimed", 1), count("replayed", 2)]);
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_what_has_to_be_looked_at_is_a_warning() {
    let lines = testkit::told::logged(|| {
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
