//! `GET /events`: who listens to one process hears of all, and while Redis is lost of that one.

use examples::within_reason;

use crate::process::{Listener, Process};
use crate::world::World;

/// Sets the price of a product of a tenant: something that has happened.
async fn set_price(shop: &Process, tenant: &str, cents: u64) {
    let fields = [("x-tenant", tenant)];
    let body = format!(r#"{{"price_cents":{cents}}}"#);
    let set = shop
        .send_with(("PUT", "/products/lamp"), &fields, &body)
        .await;
    assert_eq!(set.status, 200, "{set:?}");
}

/// Makes it happen there, again and again, until it is heard: who did not listen yet has missed it. Gives what was heard last.
async fn until_heard(world: &World, at: &Process, listener: &mut Listener, from: u64) -> u64 {
    let heard = async {
        loop {
            let event = listener.next().await;
            if let Some(cents) = price_in(&event).filter(|cents| *cents >= from) {
                return cents;
            }
        }
    };
    let happens = async {
        for cents in from.. {
            set_price(at, "main", cents).await;
            world.pulse.next().await;
        }
        unreachable!()
    };
    within_reason(async {
        tokio::select! { cents = heard => cents, cents = happens => cents }
    })
    .await
}

fn price_in(event: &str) -> Option<u64> {
    let data = event.lines().find_map(|line| line.strip_prefix("data: "))?;
    let happening: serde_json::Value = serde_json::from_str(data).ok()?;
    happening["price_cents"].as_u64()
}

#[tokio::test]
async fn who_listens_to_one_hears_what_happens_at_the_others_and_of_no_other_tenant() {
    let world = World::with(2).await;
    let (one, other) = (&world.shops[0], &world.shops[1]);
    let mut listener = one.listen("/events", "main").await;
    let heard = until_heard(&world, other, &mut listener, 1000).await;
    // From now on both hear each other, in order, and each thing once.
    set_price(other, "acme", 5000).await;
    set_price(other, "main", 6000).await;
    set_price(one, "main", 7000).await;
    set_price(other, "main", 8000).await;
    let mut rest = Vec::new();
    while rest.iter().filter(|cents| **cents >= 6000).count() < 3 {
        rest.extend(price_in(&listener.next().await));
    }
    rest.retain(|cents| *cents > heard && *cents >= 5000);
    rest.sort_unstable();
    assert_eq!(rest, [6000, 7000, 8000]);
    let order = r#"{"product":"lamp","quantity":1}"#;
    let placed = other.send("POST", "/orders", "k", order).await.unwrap();
    assert_eq!(placed.status, 201);
    let event = listener.next().await;
    assert!(
        event.contains("event: order") && event.contains("lamp"),
        "{event}"
    );
}

#[tokio::test]
async fn without_redis_who_listens_hears_of_this_process_and_is_told_so() {
    let mut world = World::with(2).await;
    let (one, other) = (world.shops[0].clone(), world.shops[1].clone());
    let mut listener = one.listen("/events", "main").await;
    let heard = until_heard(&world, &other, &mut listener, 1000).await;
    world.redis.kill();
    until_told(&one, "Redis is lost").await;
    let own = heard + 10_000;
    assert_eq!(until_heard(&world, &one, &mut listener, own).await, own);
    world.redis.restart().unwrap();
    until_told(&one, "Redis is there again").await;
    until_heard(&world, &other, &mut listener, own + 10_000).await;
}

async fn until_told(shop: &Process, words: &str) {
    shop.until("/demo/snapshot", |now| {
        now.json()["story"].to_string().contains(words)
    })
    .await;
}
