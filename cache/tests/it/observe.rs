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
    let counted = testkit::told::counted(|| tell(&buttress_cache::Metrics::new("products")));
    let count = |labels: &str, count| (format!("cache=products event={labels}"), count);
    assert_eq!(
        counted,
        [
            count("cleared", 1),
            count("detached", 1),
            count("fill_failed", 1),
            count("hit tier=memory", 2),
            count("invalidated", 1),
            count("miss", 1),
            count("served_stale", 1),
        ]
    );
}

#[cfg(feature = "tracing")]
#[test]
fn events_are_logged_and_a_source_that_fails_is_a_warning() {
    let lines = testkit::told::logged(|| tell(&buttress_cache::Tracing::new("products")));
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
