use buttress_dedup::{Event, Observer};

#[cfg(feature = "metrics")]
#[test]
fn events_are_counted_by_name() {
    let counted = testkit::told::counted(|| {
        let metrics = buttress_dedup::Metrics::new("prices");
        metrics.on_event(&Event::Led);
        metrics.on_event(&Event::Joined);
        metrics.on_event(&Event::Joined);
    });
    let count = |event, count| (format!("flights=prices event={event}"), count);
    assert_eq!(counted, [count("joined", 2), count("led", 1)]);
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_trouble_is_a_warning() {
    let lines = testkit::told::logged(|| {
        let tracing = buttress_dedup::Tracing::new("prices");
        tracing.on_event(&Event::Led);
        tracing.on_event(&Event::Promoted);
        let error = std::io::Error::other("redis is down");
        tracing.on_event(&Event::Uncoordinated(&error));
    });
    assert_eq!(
        lines,
        [
            "TRACE buttress_dedup: flights=\"prices\" event=\"led\"",
            "DEBUG buttress_dedup: flights=\"prices\" event=\"promoted\"",
            "WARN buttress_dedup: flights=\"prices\" event=\"uncoordinated\" error=redis is down",
        ]
    );
}
