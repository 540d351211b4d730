//! Servers that are there, and say nothing: the worst of failures, for nobody hears of it. No request waits for them for longer than it may.

use std::time::Duration;

use tokio::time::Instant;

use crate::link::Link;
use crate::process::Process;
use crate::world::World;

/// How long a shop may take, whatever is silent: three seconds for each that it has to give up on, and room for a slow machine. What is looked for, a wait without a bound, would have no end.
const PATIENCE: Duration = Duration::from_secs(15);

const LAMP: &str = r#"{"product":"lamp","quantity":1}"#;

/// All that a shop is asked for, each a request that nothing in its memory answers.
async fn ask_for_everything(shop: &Process, round: &str) -> Vec<(String, u16, Duration)> {
    let key = format!("silent {round}");
    let search = format!("/search?q=lamp&{round}");
    let asked = [
        ("GET", "/products/lamp", "", ""),
        ("GET", &*search, "", ""),
        ("PUT", "/products/lamp", "", r#"{"price_cents":1}"#),
        ("POST", "/orders", &*key, LAMP),
        ("POST", "/orders", "", LAMP),
        ("GET", "/orders", "", ""),
        ("GET", "/reports/sales", "", ""),
        ("GET", "/demo/token", "", ""),
        ("POST", "/demo/keys/rotate", "", ""),
        ("GET", "/.well-known/jwks.json", "", ""),
        ("GET", "/health/ready", "", ""),
        ("GET", "/health/serving", "", ""),
        ("GET", "/health/live", "", ""),
    ];
    let answers = asked.map(async |(method, path, key, body)| {
        let begun = Instant::now();
        let answer = shop.send(method, path, key, body).await.unwrap();
        (
            format!("{method} {path}"),
            answer.status.as_u16(),
            begun.elapsed(),
        )
    });
    futures_util::future::join_all(answers).await
}

#[tokio::test]
async fn no_request_waits_for_ever_for_what_is_silent_and_all_is_well_when_it_speaks_again() {
    let world = World::to_be_disturbed(0).await;
    let redis = Link::to(world.redis.address()).await;
    let postgres = Link::to(world.postgres.address()).await;
    let shop = world.shop_over(redis.address, postgres.address).await;
    shop.until_ready().await;
    let first = shop.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(first.status, 201);
    for (round, links) in [
        ("redis", vec![&redis]),
        ("postgres", vec![&postgres]),
        ("both", vec![&redis, &postgres]),
    ] {
        links.iter().for_each(|link| link.silence(true));
        for (what, status, took) in ask_for_everything(&shop, round).await {
            assert!(
                took < PATIENCE,
                "{what} took {took:?} while {round} was silent"
            );
            let known = matches!(status, 200 | 201 | 204 | 409 | 503);
            assert!(known, "{what}: {status} while {round} was silent");
        }
        links.iter().for_each(|link| link.silence(false));
        shop.until_ready().await;
        shop.until_it_stores().await;
        let again = shop.send("POST", "/orders", "k", LAMP).await.unwrap();
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        // What was refused, or is not known, is placed now, and once.
        let key = format!("silent {round}");
        let placed = shop.until_placed(&key, LAMP).await;
        let replayed = shop.send("POST", "/orders", &key, LAMP).await.unwrap();
        assert_eq!(placed.status, 201, "{placed:?}");
        assert_eq!(replayed.body, placed.body);
        assert_eq!(replayed.field("idempotency-replayed"), "true");
    }
}
