//! Partitions and namespaces.

use buttress_cache::Cache;

use crate::kit::{Sources, done, fill, fill_with, fresh};

fn tagged(cache: &Cache<u32>, key: &'static str) {
    fill_with(cache, key, 1, |fill| {
        fill.tag("t");
    });
}

#[tokio::test]
async fn partitions_do_not_meet() {
    let cache = Cache::builder().build();
    let (alice, bob) = (cache.partition("alice"), cache.partition("bob"));
    fill(&alice, "k", 1);
    assert_eq!([&bob, &cache].map(|cache| fresh(cache, "k")), [None; 2]);
    fill(&bob, "k", 2);
    alice.remove("k").await.unwrap();
    assert_eq!(
        [&alice, &bob].map(|cache| fresh(cache, "k")),
        [None, Some(2)]
    );
    fill(&cache.partition("a").partition("b"), "k", 3);
    assert_eq!(fresh(&cache.partition("ab"), "k"), None);
    assert_eq!(fresh(&cache.namespace("a").partition("b"), "k"), None);
    // The same name is the same partition.
    assert_eq!(fresh(&cache.partition("bob"), "k"), Some(2));
}

#[tokio::test]
async fn calls_of_two_partitions_do_not_share_a_fill() {
    let (cache, sources) = (Cache::builder().build(), Sources::default());
    let mut calls = ["alice", "bob"].map(|name| sources.begin(&cache.partition(name), "k"));
    sources.next().tagged(1, |_| {});
    sources.next().tagged(2, |_| {});
    let values = calls.each_mut().map(|call| done(call).unwrap().unwrap().0);
    assert_eq!(values, [1, 2]);
}

#[tokio::test]
async fn tags_are_shared_by_partitions_and_not_by_namespaces() {
    let cache = Cache::builder().build();
    let (alice, shop) = (cache.partition("alice"), cache.namespace("shop"));
    let within = shop.partition("alice");
    let views = [&cache, &alice, &shop, &within];
    let stored = || views.map(|view| fresh(view, "k").is_some());
    let store = || views.map(|view| tagged(view, "k"));
    for (view, left) in [
        (&cache, [false, false, true, true]),
        (&alice, [false, false, true, true]),
        (&shop, [true, true, false, false]),
        (&within, [true, true, false, false]),
    ] {
        store();
        view.invalidate(["t"]).await.unwrap();
        assert_eq!(stored(), left);
    }
}

#[tokio::test]
async fn a_guard_is_for_the_tags_of_its_view() {
    let cache = Cache::builder().build();
    let (alice, shop) = (cache.partition("alice"), cache.namespace("shop"));
    let _guard = shop.guard(["t"]);
    let stored = [&cache, &alice, &shop].map(|view| {
        tagged(view, "k");
        fresh(view, "k").is_some()
    });
    assert_eq!(stored, [true, true, false]);
}

#[tokio::test]
async fn clear_takes_what_is_in_the_view_and_in_those_within() {
    let cache = Cache::builder().build();
    let shop = cache.namespace("shop");
    let (alice, other) = (shop.partition("alice"), cache.partition("alice"));
    let views = [&cache, &shop, &alice, &other];
    let stored = || views.map(|view| fresh(view, "k").is_some());
    let store = || views.map(|view| fill(view, "k", 1));
    for (view, left) in [
        (&alice, [true, true, false, true]),
        (&shop, [true, false, false, true]),
        (&other, [true, true, true, false]),
        (&cache, [false; 4]),
    ] {
        store();
        view.clear().await.unwrap();
        assert_eq!(stored(), left);
    }
}

#[tokio::test]
async fn a_view_cleared_during_a_fill_stays_clear() {
    let (cache, sources) = (Cache::builder().build(), Sources::default());
    let alice = cache.namespace("shop").partition("alice");
    let mut call = sources.begin(&alice, "k");
    cache.namespace("shop").clear().await.unwrap();
    sources.next().tagged(1, |_| {});
    assert!(done(&mut call).is_ok());
    assert_eq!(fresh(&alice, "k"), None);
}

#[tokio::test]
async fn any_bytes_are_a_key() {
    let cache = Cache::<u32>::builder().build();
    let keys: [&[u8]; 6] = [b"", b"\0", b"\xff", b"\xff\xff", &[0xff; 400], &[7; 400]];
    let alice = cache.partition("alice");
    for (n, key) in (0..).zip(keys) {
        cache.set(key, n).await;
        alice.set(key, n + 100).await;
    }
    for (n, key) in (0..).zip(keys) {
        assert_eq!(*cache.get(key).await.unwrap(), n);
        assert_eq!(*alice.get(key).await.unwrap(), n + 100);
    }
}
