//! Fills that race with invalidations: the first thing that goes wrong in a cache.

use std::time::Duration;

use buttress_cache::{Cache, State};
use tokio::time::advance;
use tokio_test::assert_pending;

use crate::kit::{SECOND, Says, Source, Sources, done, drained, fill, fill_with, fresh};

fn cache() -> Cache<u32> {
    Cache::builder().build()
}

/// What may happen while the value of `k` is being read, and must win.
const INVALIDATIONS: [(&str, fn(&Cache<u32>)); 11] = [
    ("a tag known before", |c| c.invalidate(["early"]).now()),
    ("a tag known after", |c| c.invalidate(["late"]).now()),
    ("a tag, removed", |c| c.invalidate(["late"]).remove().now()),
    ("its key, removed", |c| c.remove("k").now()),
    ("its key, expired", |c| c.expire("k").now()),
    ("what it depends on, removed", |c| c.remove("parent").now()),
    ("what it depends on, expired", |c| c.expire("parent").now()),
    ("a tag of what it depends on", |c| {
        c.invalidate(["of the parent"]).now();
    }),
    ("all of them", |c| {
        c.invalidate(["other", "late", "another"]).now();
    }),
    ("everything", |c| c.clear().now()),
    ("a guard that came and went", |c| drop(c.guard(["late"]))),
];

/// Ends a fill with all that `INVALIDATIONS` take.
fn end(source: Source, value: u32) {
    source.tagged(value, |fill| {
        fill.tag("late").depends_on("parent");
    });
}

/// Begins a fill of `k` and says what is known of it before the source is read.
fn early(sources: &Sources) -> Source {
    let source = sources.next();
    source.fill().tag("early");
    source
}

fn parent(cache: &Cache<u32>) {
    fill_with(cache, "parent", 0, |fill| {
        fill.tag("of the parent");
    });
}

#[tokio::test]
async fn a_fill_that_nobody_disturbs_is_stored() {
    let (cache, sources) = (cache(), Sources::default());
    parent(&cache);
    let mut call = sources.begin(&cache, "k");
    end(early(&sources), 1);
    assert_eq!(done(&mut call).unwrap(), Some((1, State::Filled)));
    assert_eq!(fresh(&cache, "k"), Some(1));
}

#[tokio::test]
async fn what_is_invalidated_during_a_fill_is_not_resurrected_by_it() {
    for (what, invalidate) in INVALIDATIONS {
        let (cache, sources) = (cache(), Sources::default());
        parent(&cache);
        let mut call = sources.begin(&cache, "k");
        let source = early(&sources);
        invalidate(&cache);
        end(source, 1);
        let answer = done(&mut call).unwrap();
        assert_eq!(answer, Some((1, State::Filled)), "its caller began before");
        assert_eq!(fresh(&cache, "k"), None, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_by_one_that_went_on_in_the_background() {
    for (what, invalidate) in INVALIDATIONS {
        let cache = Cache::builder().ttl(SECOND).grace(100 * SECOND);
        let cache = cache.soft_timeout(SECOND).throttle(Duration::ZERO).build();
        let sources = Sources::default();
        fill(&cache, "k", 0);
        advance(2 * SECOND).await;
        parent(&cache);
        let mut call = sources.begin(&cache, "k");
        advance(SECOND).await;
        assert_eq!(done(&mut call).unwrap(), Some((0, State::Stale)));
        let source = early(&sources);
        invalidate(&cache);
        end(source, 1);
        assert!(drained(&cache, SECOND).await);
        assert_eq!(fresh(&cache, "k"), None, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_by_one_that_refreshes_what_is_still_fresh() {
    for (what, invalidate) in INVALIDATIONS {
        let cache = Cache::builder().ttl(10 * SECOND).eager(0.5).build();
        let sources = Sources::default();
        parent(&cache);
        fill_with(&cache, "k", 0, |fill| {
            fill.tag("early").tag("late").depends_on("parent");
        });
        advance(5 * SECOND).await;
        assert_eq!(
            done(&mut sources.call(&cache, "k")).unwrap(),
            Some((0, State::Fresh))
        );
        tokio::task::yield_now().await;
        let source = early(&sources);
        invalidate(&cache);
        end(source, 1);
        assert!(drained(&cache, SECOND).await);
        assert_ne!(fresh(&cache, "k"), Some(1), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn nor_by_one_that_finds_nothing_changed() {
    for (what, invalidate) in INVALIDATIONS {
        let cache = Cache::builder().ttl(SECOND).grace(100 * SECOND).build();
        let sources = Sources::default();
        parent(&cache);
        fill_with(&cache, "k", 0, |fill| {
            fill.tag("early").tag("late").depends_on("parent");
        });
        advance(2 * SECOND).await;
        parent(&cache);
        let mut call = sources.begin(&cache, "k");
        let source = sources.next();
        invalidate(&cache);
        source.says(Says::NotModified);
        assert_eq!(done(&mut call).unwrap(), Some((0, State::Filled)));
        assert_eq!(fresh(&cache, "k"), None, "{what}");
    }
}

#[tokio::test]
async fn nor_is_what_was_known_not_to_be() {
    for (what, invalidate) in INVALIDATIONS {
        let cache = Cache::builder().negative_ttl(SECOND).build();
        let sources = Sources::default();
        parent(&cache);
        let mut call = sources.begin(&cache, "k");
        let source = early(&sources);
        source.fill().tag("late").depends_on("parent");
        invalidate(&cache);
        source.says(Says::Nothing);
        assert_eq!(done(&mut call).unwrap(), None);
        let mut again = sources.begin(&cache, "k");
        sources.next().says(Says::Value(1));
        assert_eq!(
            done(&mut again).unwrap(),
            Some((1, State::Filled)),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_set_with_an_old_stamp_does_not_resurrect() {
    for (what, invalidate) in INVALIDATIONS {
        let cache = cache();
        parent(&cache);
        let before = cache.stamp();
        invalidate(&cache);
        let set = || cache.set("k", 1).tags(["early", "late"]);
        set().at(before).depends_on("parent").await;
        assert_eq!(fresh(&cache, "k"), None, "{what}");
        set().at(cache.stamp()).await;
        assert_eq!(fresh(&cache, "k"), Some(1), "{what}");
    }
}

#[tokio::test]
async fn who_comes_after_an_invalidation_does_not_get_a_fill_from_before_it() {
    for (what, invalidate) in INVALIDATIONS {
        let (cache, sources) = (cache(), Sources::default());
        parent(&cache);
        let mut old = sources.begin(&cache, "k");
        let source = early(&sources);
        invalidate(&cache);
        let mut new = sources.begin(&cache, "k");
        end(source, 1);
        assert_eq!(done(&mut old).unwrap(), Some((1, State::Filled)));
        assert!(new.is_woken());
        // It found what it waited for to be of no use, and fills itself.
        assert_pending!(new.poll(), "{what}");
        end(sources.next(), 2);
        assert_eq!(done(&mut new).unwrap(), Some((2, State::Filled)));
        assert_eq!(fresh(&cache, "k"), Some(2));
    }
}

#[tokio::test]
async fn who_came_before_an_invalidation_may_have_a_fill_from_before_it() {
    for (_, invalidate) in INVALIDATIONS {
        let (cache, sources) = (cache(), Sources::default());
        parent(&cache);
        let mut leads = sources.begin(&cache, "k");
        let mut follows = sources.begin(&cache, "k");
        let source = early(&sources);
        invalidate(&cache);
        end(source, 1);
        assert_eq!(done(&mut leads).unwrap(), Some((1, State::Filled)));
        assert_eq!(done(&mut follows).unwrap(), Some((1, State::Filled)));
    }
}

#[tokio::test]
async fn a_value_whose_dependency_was_filled_anew_meanwhile_is_not_stored() {
    let (cache, sources) = (cache(), Sources::default());
    let product = |tag: &'static str, value| {
        fill_with(&cache, "product", value, move |fill| {
            fill.tag(tag);
        })
    };
    product("cat7", 1);
    let mut page = sources.begin(&cache, "page");
    cache.invalidate(["cat7"]).now();
    product("cat9", 2);
    sources.next().tagged(1, |fill| {
        fill.depends_on("product");
    });
    let answer = done(&mut page).unwrap();
    assert_eq!(answer, Some((1, State::Filled)), "its caller began before");
    assert_eq!(fresh(&cache, "page"), None);
    assert_eq!(cache.snapshot().unstored, 1);
}

#[tokio::test]
async fn a_value_without_the_tag_that_is_guarded_is_stored() {
    let (cache, sources) = (cache(), Sources::default());
    let guard = cache.guard(["late"]);
    let mut call = sources.begin(&cache, "k");
    sources.next().tagged(1, |fill| {
        fill.tag("early");
    });
    assert!(done(&mut call).is_ok());
    assert_eq!(fresh(&cache, "k"), Some(1));
    drop(guard);
    assert_eq!(fresh(&cache, "k"), Some(1));
}

#[tokio::test]
async fn nothing_that_begins_or_ends_under_a_guard_is_stored_and_what_was_there_stays() {
    let (cache, sources) = (cache(), Sources::default());
    let tag = |fill: &buttress_cache::Fill<u32>| {
        fill.tag("t");
    };
    fill_with(&cache, "before", 1, tag);
    let mut spans = sources.begin(&cache, "spans");
    let spanning = sources.next();
    let mut into = sources.begin(&cache, "ends within");
    let ending = sources.next();
    let guards = [cache.guard(["t"]), cache.guard(["t", "t"])];
    let mut out = sources.begin(&cache, "begins within");
    let beginning = sources.next();
    ending.tagged(1, tag);
    assert!(done(&mut into).is_ok());
    fill_with(&cache, "within", 1, tag);
    cache.set("set within", 1).tags(["t"]).await;
    let [one, other] = guards;
    drop(one);
    fill_with(&cache, "within the other", 1, tag);
    drop(other);
    spanning.tagged(1, tag);
    beginning.tagged(1, tag);
    assert!(done(&mut spans).is_ok() && done(&mut out).is_ok());
    fill_with(&cache, "after", 1, tag);
    for (key, stored) in [
        ("before", true),
        ("spans", false),
        ("ends within", false),
        ("begins within", false),
        ("within", false),
        ("set within", false),
        ("within the other", false),
        ("after", true),
    ] {
        assert_eq!(fresh(&cache, key).is_some(), stored, "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_comes_again_for_what_read_a_replica_that_lagged() {
    let cache = cache();
    let lagging = |value| {
        fill_with(&cache, "k", value, |fill| {
            fill.tag("t");
        })
    };
    lagging(1);
    cache
        .invalidate(["t"])
        .again_after(2 * SECOND)
        .await
        .unwrap();
    assert_eq!(fresh(&cache, "k"), None);
    lagging(1);
    tokio::time::sleep(SECOND).await;
    assert_eq!(fresh(&cache, "k"), Some(1));
    assert!(!drained(&cache, Duration::ZERO).await);
    assert!(drained(&cache, 2 * SECOND).await);
    assert_eq!(fresh(&cache, "k"), None);
    assert_eq!(cache.snapshot().invalidations, 2);
}

#[tokio::test]
async fn nothing_is_invalidated_by_what_is_not_awaited() {
    let cache = cache();
    fill(&cache, "k", 1);
    drop(cache.remove("k"));
    drop(cache.clear());
    assert_eq!(fresh(&cache, "k"), Some(1));
    cache.remove("k").await.unwrap();
    assert_eq!(fresh(&cache, "k"), None);
}

/// Ten minutes of a hundred invalidations a second, of entries with three tags that come at an even pace. By the formula it is 0.89.
#[tokio::test]
async fn what_is_not_invalidated_outlives_many_invalidations_of_others() {
    const KEPT: usize = 5000;
    // The slots are the clock's own: these, and not others tomorrow.
    fastrand::seed(1);
    let cache = Cache::builder().build();
    for n in 0..KEPT {
        let tags = ["product", "brand", "shop"].map(|tag| format!("{tag}:{n}"));
        cache.set(n.to_be_bytes(), 0).tags(tags).await;
        for change in 0..12 {
            cache.invalidate([format!("other:{n}:{change}")]).now();
        }
    }
    let kept = (0..KEPT).filter(|n| cache.get(n.to_be_bytes()).now().is_some());
    let share = kept.count() as f64 / KEPT as f64;
    assert!((0.87..0.91).contains(&share), "{share}");
}
