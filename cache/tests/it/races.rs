//! Fills that race with invalidations: the first thing that goes wrong in a cache.

use std::convert::Infallible;

use buttress_cache::{Cache, Fill, FillError, Hit};
use tokio::sync::oneshot;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};

type Call = Spawn<
    std::pin::Pin<Box<dyn Future<Output = Result<Option<Hit<u32>>, FillError<Infallible>>> + Send>>,
>;

/// A call whose fill has begun, and ends when told.
fn begin(cache: &Cache<u32>) -> (Call, oneshot::Sender<u32>) {
    let (send, receive) = oneshot::channel();
    let call = cache.get_or_set("k", |fill: Fill<u32>| async move {
        fill.tag("early");
        let value = receive.await.unwrap();
        fill.tag("late").depends_on("parent");
        Ok(Some(value))
    });
    let mut call = task::spawn(call.into_future());
    assert_pending!(call.poll());
    (call, send)
}

#[track_caller]
fn value(call: &mut Call) -> u32 {
    *assert_ready!(call.poll()).unwrap().unwrap()
}

fn cache() -> Cache<u32> {
    Cache::builder().build()
}

#[tokio::test]
async fn a_fill_that_nobody_disturbs_is_stored() {
    let cache = cache();
    let (mut call, send) = begin(&cache);
    send.send(1).unwrap();
    assert_eq!(value(&mut call), 1);
    assert_eq!(*cache.get("k").unwrap(), 1);
}

#[tokio::test]
async fn a_tag_invalidated_during_the_fill_wins() {
    let cache = cache();
    for tag in ["early", "late"] {
        let (mut call, send) = begin(&cache);
        cache.invalidate([tag]);
        send.send(1).unwrap();
        assert_eq!(value(&mut call), 1, "its own caller began before");
        assert!(cache.get("k").is_none(), "{tag}");
    }
}

#[tokio::test]
async fn a_key_removed_or_expired_during_the_fill_wins() {
    let cache = cache();
    let ways: [fn(&Cache<u32>, &str); 2] = [|c, k| c.remove(k), |c, k| c.expire(k)];
    for invalidate in ways {
        for key in ["k", "parent"] {
            let (mut call, send) = begin(&cache);
            invalidate(&cache, key);
            send.send(1).unwrap();
            assert_eq!(value(&mut call), 1);
            assert!(cache.get("k").is_none(), "{key}");
        }
    }
}

#[tokio::test]
async fn a_clear_during_the_fill_wins() {
    let cache = cache();
    let (mut call, send) = begin(&cache);
    cache.clear();
    send.send(1).unwrap();
    assert_eq!(value(&mut call), 1);
    assert!(cache.get("k").is_none());
}

#[tokio::test]
async fn who_comes_after_an_invalidation_does_not_get_a_fill_from_before_it() {
    let cache = cache();
    let (mut old, send_old) = begin(&cache);
    cache.invalidate(["late"]);
    let (mut new, send_new) = begin(&cache);
    send_old.send(1).unwrap();
    assert_eq!(value(&mut old), 1);
    assert!(new.is_woken());
    assert_pending!(
        new.poll(),
        "it found what it waited for invalid, and fills itself"
    );
    send_new.send(2).unwrap();
    assert_eq!(value(&mut new), 2);
    assert_eq!(*cache.get("k").unwrap(), 2);
}

#[tokio::test]
async fn a_set_with_an_old_stamp_does_not_resurrect() {
    let cache = cache();
    let before = cache.stamp();
    cache.invalidate(["t"]);
    cache.set("k", 1).tags(["t"]).at(before).store();
    assert!(cache.get("k").is_none());
    cache.set("k", 2).tags(["t"]).at(cache.stamp()).store();
    assert_eq!(*cache.get("k").unwrap(), 2);
}

#[tokio::test]
async fn a_dropped_fill_is_taken_over_by_one_who_waits() {
    let cache = cache();
    let (first, _send) = begin(&cache);
    let (mut second, send) = begin(&cache);
    drop(first);
    assert!(second.is_woken());
    assert_pending!(second.poll());
    send.send(2).unwrap();
    assert_eq!(value(&mut second), 2);
    assert_eq!(cache.snapshot().filling, 0);
}

#[tokio::test]
async fn a_value_whose_dependency_was_filled_anew_meanwhile_is_not_stored() {
    let cache = cache();
    let product = |tag: &'static str, value| {
        cache.get_or_set("product", move |fill: Fill<u32>| async move {
            fill.tag(tag);
            Ok::<_, Infallible>(Some(value))
        })
    };
    product("cat7", 1).await.unwrap();
    let (send, receive) = oneshot::channel();
    let page = cache.get_or_set("page", |fill: Fill<u32>| async move {
        let old = receive.await.unwrap();
        fill.depends_on("product");
        Ok::<_, Infallible>(Some(old))
    });
    let mut page = task::spawn(page.into_future());
    assert_pending!(page.poll());
    cache.invalidate(["cat7"]);
    product("cat9", 2).await.unwrap();
    send.send(1).unwrap();
    assert_eq!(
        *assert_ready!(page.poll()).unwrap().unwrap(),
        1,
        "its caller began before"
    );
    assert!(cache.get("page").is_none());
}
