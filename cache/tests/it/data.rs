use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use buttress_cache::{Cache, Depth, Fill, State};
use tokio::time::advance;

const SECOND: Duration = Duration::from_secs(1);

async fn fill(cache: &Cache<u32>, key: &str, value: u32) -> (u32, State) {
    let filled = cache
        .get_or_set(key, move |_: Fill<u32>| async move {
            Ok::<_, Infallible>(Some(value))
        })
        .await;
    let hit = filled.unwrap().unwrap();
    (*hit, hit.state())
}

async fn fill_with_tag(cache: &Cache<u32>, key: &str, value: u32, tag: &'static str) {
    let filled = cache.get_or_set(key, move |fill: Fill<u32>| async move {
        fill.tag(tag);
        Ok::<_, Infallible>(Some(value))
    });
    assert!(filled.await.unwrap().is_some());
}

async fn fail(cache: &Cache<u32>, key: &str) -> Result<(u32, State), &'static str> {
    let filled = cache
        .get_or_set(key, |_| async { Err::<Option<u32>, _>("down") })
        .await;
    filled
        .map(|hit| hit.map(|hit| (*hit, hit.state())).unwrap())
        .map_err(|e| *e.get_ref())
}

#[tokio::test(start_paused = true)]
async fn a_value_is_filled_once_and_found_until_its_ttl() {
    let cache = Cache::builder().ttl(10 * SECOND).build();
    assert_eq!(fill(&cache, "k", 1).await, (1, State::Filled));
    advance(9 * SECOND).await;
    assert_eq!(fill(&cache, "k", 2).await, (1, State::Fresh));
    assert_eq!(cache.get("k").unwrap().age(), 9 * SECOND);
    advance(SECOND).await;
    assert!(cache.get("k").is_none());
    assert_eq!(fill(&cache, "k", 3).await, (3, State::Filled));
}

#[tokio::test(start_paused = true)]
async fn the_fill_decides_ttl_and_tags() {
    let cache = Cache::builder().build();
    let filled = cache.get_or_set("k", |fill: Fill<u32>| async move {
        fill.ttl(2 * SECOND).tag("t");
        Ok::<_, Infallible>(Some(1))
    });
    filled.await.unwrap();
    advance(SECOND).await;
    assert!(cache.get("k").is_some());
    advance(SECOND).await;
    assert!(cache.get("k").is_none());
}

#[tokio::test]
async fn what_the_source_does_not_have_is_not_stored() {
    let cache = Cache::<u32>::builder().build();
    let nothing = || cache.get_or_set("k", |_| async { Ok::<_, Infallible>(None) });
    assert!(nothing().await.unwrap().is_none());
    assert_eq!(fill(&cache, "k", 1).await, (1, State::Filled));
}

#[tokio::test]
async fn invalidating_a_tag_takes_what_has_it_and_nothing_else() {
    let cache = Cache::builder().build();
    fill_with_tag(&cache, "a", 1, "even").await;
    fill_with_tag(&cache, "b", 2, "odd").await;
    cache.invalidate(["even"]);
    assert!(cache.get("a").is_none());
    assert_eq!(*cache.get("b").unwrap(), 2);
}

#[tokio::test]
async fn removing_a_key_takes_what_depends_on_it() {
    let cache = Cache::builder().build();
    fill_with_tag(&cache, "brand", 1, "brands").await;
    for page in ["first", "second"] {
        let filled = cache.get_or_set(page, |fill: Fill<u32>| async move {
            fill.depends_on("brand");
            Ok::<_, Infallible>(Some(2))
        });
        filled.await.unwrap();
    }
    cache.remove("first");
    assert!(cache.get("first").is_none());
    assert!(cache.get("second").is_some() && cache.get("brand").is_some());
    cache.invalidate(["brands"]);
    assert!(
        cache.get("second").is_none(),
        "what takes the brand takes what depends on it"
    );
}

#[tokio::test]
async fn clear_takes_everything() {
    let cache = Cache::builder().build();
    fill(&cache, "a", 1).await;
    fill(&cache, "b", 2).await;
    cache.clear();
    assert!(cache.get("a").is_none() && cache.get("b").is_none());
    assert_eq!(fill(&cache, "a", 3).await, (3, State::Filled));
    assert!(cache.get("a").is_some());
}

#[tokio::test]
async fn partitions_do_not_meet() {
    let cache = Cache::builder().build();
    let (alice, bob) = (cache.partition("alice"), cache.partition("bob"));
    fill(&alice, "k", 1).await;
    assert!(bob.get("k").is_none() && cache.get("k").is_none());
    fill(&bob, "k", 2).await;
    alice.remove("k");
    assert!(alice.get("k").is_none());
    assert_eq!(*bob.get("k").unwrap(), 2);
    fill(&cache.partition("a").partition("b"), "k", 3).await;
    assert!(cache.partition("ab").get("k").is_none());
    // Nor can a key be made that reads as another partition's.
    let forged = [&1_u64.to_be_bytes()[..], b"bk"].concat();
    assert!(cache.partition("a").get(forged).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_served_when_the_source_fails_within_its_grace() {
    let cache = Cache::builder().ttl(10 * SECOND).grace(60 * SECOND).build();
    fill(&cache, "k", 1).await;
    advance(20 * SECOND).await;
    assert!(cache.get("k").is_none());
    assert_eq!(fail(&cache, "k").await, Ok((1, State::Stale)));
    advance(50 * SECOND).await;
    assert_eq!(fail(&cache, "k").await, Err("down"));
}

#[tokio::test]
async fn what_was_expired_may_be_served_in_bad_times_and_what_was_removed_may_not() {
    let cache = Cache::builder().grace(60 * SECOND).build();
    fill_with_tag(&cache, "k", 1, "t").await;
    cache.invalidate(["t"]);
    assert!(cache.get("k").is_none());
    assert_eq!(fail(&cache, "k").await, Ok((1, State::Stale)));
    cache.invalidate_tags(["t"], Depth::Remove);
    assert_eq!(fail(&cache, "k").await, Err("down"));
}

#[tokio::test]
async fn a_fill_sees_the_stale_value() {
    let cache = Cache::builder().grace(60 * SECOND).build();
    fill_with_tag(&cache, "k", 1, "t").await;
    cache.invalidate(["t"]);
    let filled = cache.get_or_set("k", |fill: Fill<u32>| async move {
        let old = fill.stale().map(|hit| **hit);
        Ok::<_, Infallible>(old.map(|old| old + 1))
    });
    assert_eq!(*filled.await.unwrap().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn many_calls_for_one_key_are_one_fill() {
    let cache = Cache::builder().build();
    let fills = AtomicUsize::new(0);
    let fills: &'static AtomicUsize = Box::leak(Box::new(fills));
    let call = || {
        let cache = cache.clone();
        tokio::spawn(async move {
            let filled = cache.get_or_set("k", move |_: Fill<usize>| async move {
                tokio::time::sleep(SECOND).await;
                Ok::<_, Infallible>(Some(fills.fetch_add(1, Ordering::SeqCst)))
            });
            *filled.await.unwrap().unwrap()
        })
    };
    let calls: Vec<_> = (0..100).map(|_| call()).collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 0);
    }
    assert_eq!(cache.snapshot().joined, 99);
    assert_eq!(cache.snapshot().filling, 0);
}

#[tokio::test(start_paused = true)]
async fn everyone_who_waited_gets_the_same_error() {
    let cache = Cache::<u32>::builder().build();
    let call = || {
        let cache = cache.clone();
        tokio::spawn(async move {
            let filled = cache.get_or_set("k", |_| async {
                tokio::time::sleep(SECOND).await;
                Err::<Option<u32>, _>("down")
            });
            *filled.await.unwrap_err().get_ref()
        })
    };
    let (first, second) = (call(), call());
    assert_eq!(first.await.unwrap(), "down");
    assert_eq!(second.await.unwrap(), "down");
    assert_eq!(cache.snapshot().failures, 1);
}

#[tokio::test]
async fn the_weight_is_bounded() {
    let cache = Cache::builder()
        .max_weight(100_000)
        .weigher(|_, v: &Vec<u8>| v.len())
        .build();
    for n in 0..1000_u32 {
        cache.set(n.to_be_bytes(), vec![0; 1000]).store();
    }
    let snapshot = cache.snapshot();
    assert!(snapshot.weight <= 100_000, "{snapshot:?}");
    assert!(snapshot.entries > 10, "{snapshot:?}");
}

#[tokio::test(start_paused = true)]
async fn however_many_call_at_once_the_source_is_read_once_also_without_a_ttl() {
    for ttl in [Duration::ZERO, SECOND] {
        let cache = Cache::builder().ttl(ttl).build();
        let calls: Vec<_> = (0..3000)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let filled = cache.get_or_set("k", |_: Fill<u32>| async {
                        tokio::time::sleep(SECOND).await;
                        Ok::<_, Infallible>(Some(1))
                    });
                    *filled.await.unwrap().unwrap()
                })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), 1);
        }
        assert_eq!(cache.snapshot().fills, 1, "{ttl:?}");
    }
}
