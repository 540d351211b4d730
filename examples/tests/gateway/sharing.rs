//! Two gateways that share a Redis.

use testkit::server::Redis;

use crate::gateway::{Gateway, within_reason};
use crate::ok;
use crate::origin::Origin;

async fn start(origin: &Origin, redis: &str) -> Gateway {
    let args = [
        "--timeout",
        "60000",
        "--redis",
        redis,
        "--redis-timeout",
        "60000",
    ];
    let args = [&args[..], &["--x-cache", "--purge-token", "t"]].concat();
    Gateway::start_with(origin, &args).await
}

/// Asks until the answer has that in it, as it does once what one has stored or taken away is known to the other. Who is asked beside answers the same.
async fn until(gateway: &Gateway, origin: &mut Origin, path: &str, word: &str, answer: &str) {
    let found = async {
        loop {
            let seen = gateway.ask(&format!("GET {path}"), "").await;
            if seen.to_lowercase().contains(word) {
                return;
            }
        }
    };
    let found = async {
        tokio::select! {
            () = found => {}
            () = async { loop { origin.request().await.answer(answer).await } } => {}
        }
    };
    within_reason(found).await;
}

#[tokio::test]
async fn what_one_gateway_stores_the_other_has_until_one_of_them_takes_it_away() {
    let mut redis = Redis::start().unwrap();
    let mut origin = Origin::start().await;
    let one = start(&origin, &redis.url()).await;
    let other = start(&origin, &redis.url()).await;
    let fresh = ok("Cache-Control: max-age=600\r\n", "old");
    // Each knows of the shared clock once it serves from memory.
    for gateway in [&one, &other] {
        until(gateway, &mut origin, "/warm", "x-cache: hit-memory", &fresh).await;
    }
    until(&one, &mut origin, "/a", "x-cache: hit-memory", &fresh).await;
    let none = ok("", "not from the store");
    until(&other, &mut origin, "/a", "x-cache: hit-redis", &none).await;
    until(&other, &mut origin, "/a", "x-cache: hit-memory", &none).await;
    let fields = "Authorization: Bearer t\r\n";
    let done = one.ask("PURGE /a", fields).await;
    assert!(done.starts_with("HTTP/1.1 204"), "{done}");
    until(&other, &mut origin, "/a", "not from the store", &none).await;
    redis.kill();
    until(&other, &mut origin, "/b", "not from the store", &none).await;
}

#[tokio::test]
async fn without_its_redis_a_gateway_goes_on_alone() {
    let mut origin = Origin::start().await;
    // Nobody listens there.
    let gateway = start(&origin, "redis://127.0.0.1:1").await;
    let (seen, _) = gateway
        .through(&mut origin, "GET /", "", &ok("", "one"))
        .await;
    assert!(
        seen.starts_with("HTTP/1.1 200") && seen.ends_with("one"),
        "{seen}"
    );
}
