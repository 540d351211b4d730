//! Two shops, and each thing that they share.

use std::time::Duration;

use examples::within_reason;

use crate::ledger::LONG;
use crate::process::Process;
use crate::world::World;

const LAMP: &str = r#"{"product":"lamp","quantity":1}"#;

async fn two() -> (World, Process, Process) {
    let world = World::with(2).await;
    let (one, other) = (world.shops[0].clone(), world.shops[1].clone());
    (world, one, other)
}

#[tokio::test]
async fn an_order_that_one_has_placed_is_replayed_by_the_other() {
    let (world, one, other) = two().await;
    let first = one.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(first.status, 201, "{first:?}");
    let again = other.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.field("idempotency-replayed"), "true");
    assert_eq!(again.field("location"), first.field("location"));
    let placed = other.get(first.field("location")).await.unwrap();
    assert_eq!(placed.json(), first.json());
    let orders = other.get("/orders").await.unwrap().json();
    assert_eq!(orders, serde_json::json!([first.json()]), "one order");
    assert_eq!(world.payments.charges().len(), 1, "one charge");
    let changed = LAMP.replace('1', "2");
    let mismatch = other.send("POST", "/orders", "k", &changed).await.unwrap();
    assert_eq!(mismatch.status, 422, "the same key, and another order");
    let report = other.get("/reports/sales").await.unwrap().json();
    assert_eq!(report[0]["units"], 1, "{report}");
}

#[tokio::test]
async fn an_order_is_booked_for_what_was_charged_and_its_key_is_good_for_no_other() {
    let (world, one, other) = two().await;
    world.payments.lose_the_next_answer();
    let lost = one.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(lost.status, 502, "charged, and nobody was told: {lost:?}");
    let set = one.send("PUT", "/products/lamp", "", r#"{"price_cents":1}"#);
    assert_eq!(set.await.unwrap().status, 200);
    let more = LAMP.replace('1', "100");
    let refused = other.send("POST", "/orders", "k", &more).await.unwrap();
    assert_eq!(
        refused.status, 422,
        "another order would be paid for by the first: {refused:?}"
    );
    let placed = other.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(placed.status, 201, "{placed:?}");
    let charges = world.payments.charges();
    let charged = charges[placed.json()["payment"].as_str().unwrap()];
    assert_eq!((charges.len(), charged), (1, 3900), "at the price of then");
    assert_eq!(placed.json()["total_cents"], charged);
}

#[tokio::test]
async fn a_page_that_one_has_stored_is_had_by_the_other_until_the_price_changes() {
    let (_world, one, other) = two().await;
    let mut n = 0;
    let path = loop {
        n += 1;
        let path = format!("/search?q=lamp&n={n}");
        let stored = one.until(&path, |page| page.field("x-cache") == "HIT-MEMORY");
        stored.await;
        // It may be on its way yet; then another is tried, since this one is the other's own now.
        let page = other.get(&path).await.unwrap();
        if page.field("x-cache") == "HIT-REDIS" {
            break path;
        }
        assert!(n < 100, "{page:?}");
    };
    let set = one.send("PUT", "/products/lamp", "", r#"{"price_cents":1}"#);
    assert_eq!(set.await.unwrap().status, 200);
    let own = one.get(&path).await.unwrap().json();
    assert_eq!(own[0]["price_cents"], 1, "who changes it sees it at once");
    until_price(&other, &path, 1).await;
}

/// The page is good for a minute: only an invalidation shows another price so soon.
async fn until_price(shop: &Process, path: &str, cents: u64) {
    let seen = shop.until(path, |page| {
        page.status == 200 && page.json()[0]["price_cents"] == cents
    });
    let seen = tokio::time::timeout(LONG, seen).await;
    seen.expect("the price is seen in time");
}

#[tokio::test]
async fn a_change_whose_maker_is_dead_is_told_by_who_lives() {
    let (world, one, other) = two().await;
    let path = "/search?q=lamp";
    for shop in [&one, &other] {
        shop.until(path, |page| page.field("x-cache") == "HIT-MEMORY")
            .await;
    }
    // Committed as a shop commits it, by somebody who does nothing more.
    let change = "INSERT INTO prices VALUES ('main', 'lamp', 2); INSERT INTO changes (tag) VALUES ('main/product:lamp')";
    world.postgres.ask(change).unwrap();
    until_price(&one, path, 2).await;
    until_price(&other, path, 2).await;
    let untold = async {
        while world.postgres.ask("SELECT count(*) FROM changes").unwrap() != "0" {
            world.pulse.next().await;
        }
    };
    let untold = tokio::time::timeout(Duration::from_secs(20), untold).await;
    untold.expect("what was told is forgotten");
}

#[tokio::test]
async fn a_trip_of_one_breaker_is_the_others_too() {
    let (world, one, other) = two().await;
    world.payments.break_down();
    let adopted = async {
        // Who did not listen yet has missed a trip: then there will be another one.
        for n in 0.. {
            let key = format!("k{n}");
            one.send("POST", "/orders", &key, LAMP).await.unwrap();
            let now = other.get("/demo/snapshot").await.unwrap().json();
            if now["breakers"][0]["state"] == "open" {
                return now;
            }
            world.pulse.next().await;
        }
        unreachable!()
    };
    let now = within_reason(adopted).await;
    assert_eq!(now["idempotency"]["claimed"], 0, "it has called nobody");
}

#[tokio::test]
async fn a_shop_starts_before_what_it_shares_and_is_ready_when_that_is_there() {
    let mut world = World::to_be_disturbed(1).await;
    let shop = world.shops[0].clone();
    shop.kill().await;
    world.postgres.kill();
    world.redis.kill();
    shop.restart().await;
    let ready = shop.get("/health/ready").await.unwrap();
    assert_eq!(ready.status, 503, "{ready:?}");
    assert_eq!(shop.get("/health/serving").await.unwrap().status, 204);
    let refused = shop.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    world.postgres.restart().unwrap();
    // Redis is a cache: without it everything is slower, and nothing else.
    shop.until_ready().await;
    let placed = shop.send("POST", "/orders", "k", LAMP).await.unwrap();
    assert_eq!(placed.status, 201, "{placed:?}");
    assert_eq!(shop.get("/products/lamp").await.unwrap().status, 200);
}
