//! The same with a Redis that is one.

use buttress_cache::http::ResponseCodec;
use buttress_cache::l2::{RedisL2, SecondLevel};
use testkit::server::Redis;

use super::*;
use crate::kit::drained;

fn process(redis: &Redis) -> Test {
    // More than a machine stands still for; it is told of changes all the same.
    let patience = Duration::from_secs(60);
    let l2 = RedisL2::builder("http").slots(1 << 10).timeout(patience);
    let level = SecondLevel::new(l2.open(&redis.url()).unwrap(), ResponseCodec);
    let level = level.timeout(patience).max_lag(patience);
    let cache = CachedResponse::cache().slots(1024).l2(level).build();
    Test {
        layer: HttpCacheLayer::new(cache.clone()).response_extension(),
        cache,
        ..test()
    }
}

/// Asks until the answer comes from there, as it does once this process has seen the shared clock, or another one's change.
async fn until(test: &Test, path: &str, outcome: CacheOutcome) -> Seen {
    let found = async {
        loop {
            let seen = test.get(path).await;
            if seen.outcome() == outcome {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = tokio::time::timeout(Duration::from_secs(120), found);
    limit.await.expect("it does within two minutes")
}

/// Knows the shared clock: only then is anything served from memory.
async fn in_step(test: &Test) {
    test.says("warm", &[("cache-control", "max-age=600")]);
    until(test, "/warm", CacheOutcome::Hit).await;
}

#[tokio::test]
async fn processes_share_what_they_store_and_what_they_take_away() {
    let mut redis = Redis::start().unwrap();
    let (one, other) = (process(&redis), process(&redis));
    in_step(&one).await;
    in_step(&other).await;
    one.says(
        "one",
        &[("cache-control", "max-age=600"), ("vary", "accept")],
    );
    other.says("other", &[]);
    one.get("/a").await.is("one");
    assert!(drained(&one.cache, Duration::from_secs(60)).await);
    let seen = other.get("/a").await;
    seen.is("one");
    assert_eq!(seen.outcome(), CacheOutcome::HitRedis);
    let put = Request::put("/a").header("host", "shop");
    one.send(put.body(Empty::new()).unwrap()).await;
    until(&other, "/a", MISS).await.is("other");
    redis.kill();
    for path in ["/a", "/b"] {
        let seen = other.get(path).await;
        assert_eq!(seen.outcome(), MISS, "a miss, and no error");
    }
}
