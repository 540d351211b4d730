//! What is told of what happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use buttress_cache::{Cache, Event};
use tokio::time::advance;

use crate::kit::{Heard, SECOND, Says, Sources, done, fail, fill, fresh};

#[tokio::test(start_paused = true)]
async fn each_thing_that_happens_is_told_once() {
    let (heard, sources) = (Heard::default(), Sources::default());
    let cache = Cache::builder()
        .ttl(SECOND)
        .grace(SECOND)
        .observer(heard.observer())
        .build();
    fill(&cache, "k", 1);
    assert_eq!(heard.take(), ["miss", "filled"]);
    fill(&cache, "k", 2);
    assert_eq!(fresh(&cache, "k"), Some(1));
    assert_eq!(heard.take(), ["hit", "hit"]);
    assert_eq!(fresh(&cache, "other"), None);
    assert_eq!(heard.take(), ["miss"]);
    advance(SECOND).await;
    fail(&cache, "k").unwrap();
    assert_eq!(heard.take(), ["miss", "fill_failed", "served_stale"]);
    fail(&cache, "k").unwrap();
    assert_eq!(heard.take(), ["miss", "served_stale"], "throttled");
    cache.remove("k").await.unwrap();
    cache.clear().await.unwrap();
    assert_eq!(heard.take(), ["invalidated", "cleared"]);
    let mut calls = [(); 2].map(|()| sources.begin(&cache, "k"));
    sources.next().says(Says::Value(1));
    calls
        .iter_mut()
        .for_each(|call| assert!(done(call).is_ok()));
    assert_eq!(heard.take(), ["miss", "miss", "joined", "filled"]);
    let guard = cache.guard(["t"]);
    cache.set("k", 1).tags(["t"]).await;
    drop(guard);
    assert_eq!(heard.take(), ["unstored"]);
}

#[tokio::test]
async fn a_key_is_told_as_its_user_knows_it() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&keys);
    let cache = Cache::<u32>::builder().observer(move |event: &Event<'_>| {
        if let Event::Hit { key, .. } | Event::Filled { key } | Event::Miss { key } = event {
            sink.lock().unwrap().push(key.to_vec());
        }
    });
    let cache = cache.build();
    for view in [
        cache.clone(),
        cache.partition("a"),
        cache.namespace("a").partition("b"),
    ] {
        for key in [&b"product:42"[..], b"\xff"] {
            for _ in 0..2 {
                let call = view.get_or_set(key, |_| async { Ok::<_, &str>(Some(1)) });
                call.await.unwrap();
            }
            assert_eq!(std::mem::take(&mut *keys.lock().unwrap()), [key; 3]);
        }
    }
}

#[tokio::test]
async fn an_observer_may_call_the_cache_it_hears_of() {
    let slot = Arc::new(Mutex::new(None::<Cache<u32>>));
    let misses = Arc::new(AtomicU64::new(0));
    let (own, seen) = (Arc::clone(&slot), Arc::clone(&misses));
    let cache = Cache::builder().observer(move |event: &Event<'_>| {
        let cache = own.lock().unwrap().clone();
        if let (Event::Filled { key }, Some(cache)) = (event, cache) {
            cache.remove(key).now();
            seen.store(cache.snapshot().misses, Ordering::SeqCst);
        }
    });
    let cache = cache.build();
    *slot.lock().unwrap() = Some(cache.clone());
    fill(&cache, "k", 1);
    assert_eq!(fresh(&cache, "k"), None);
    assert_eq!(misses.load(Ordering::SeqCst), 1);
    *slot.lock().unwrap() = None;
}

#[tokio::test]
async fn a_snapshot_has_it_all() {
    let cache = Cache::builder().build();
    fill(&cache, "k", 1);
    fill(&cache, "k", 1);
    fail(&cache, "other").unwrap_err();
    cache.invalidate(["t"]).await.unwrap();
    let snapshot = cache.snapshot();
    assert_eq!((snapshot.hits, snapshot.misses, snapshot.fills), (1, 2, 1));
    assert_eq!((snapshot.failures, snapshot.invalidations), (1, 1));
    assert_eq!(
        (snapshot.entries, snapshot.filling, snapshot.background),
        (1, 0, 0)
    );
    assert!((200..800).contains(&snapshot.weight), "{snapshot:?}");
    assert_eq!(snapshot.lag, None);
}
