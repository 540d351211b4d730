//! The checker finds what is planted.

use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, Fingerprint, RecordKey, Recovery, Store, Token,
};

use crate::census::{Census, SLACK};
use crate::link::Link;
use crate::story::{alone, load, runtime};
use crate::turns::Length;
use crate::world::{LOOKS, World};

/// How many looks show that something does not pass by itself.
const FEW: usize = 2;

#[test]
fn what_is_planted_is_found() {
    let _alone = alone();
    let clients = runtime();
    let stopped = clients.block_on(async {
        let mut world = World::start().await;
        load(&world, 1, Length::Turns(200)).await;
        let before = world.quiet().await;

        let task = world.gateway.runtime.spawn(std::future::pending::<()>());
        finds(&mut world, &before, "gateway: tasks of its runtime").await;
        task.abort();

        let breakers = world.shop.program.shop().breakers();
        let permit = breakers[0].try_acquire().unwrap();
        finds(&mut world, &before, "storefront: permits").await;
        permit.ignore();

        let held = std::hint::black_box(vec![0_u8; 2 * SLACK]);
        finds(&mut world, &before, "memory").await;
        drop(held);

        let claim = claim(world.shop.program.shop().order_keys()).await;
        finds(&mut world, &before, "storefront: claims").await;
        let keys = world.shop.program.shop().order_keys();
        keys.abandon(&claim).await.unwrap();

        // A page that nobody reads to its end, at both programs.
        let place = world.places().gateway;
        let mut link = Link::open("127.0.0.1".parse().unwrap(), place)
            .await
            .unwrap();
        let get = format!("GET /events HTTP/1.1\r\nHost: {place}\r\n\r\n");
        link.send(get).await.unwrap();
        link.read_some().await.unwrap();
        finds(&mut world, &before, "gateway: requests").await;
        finds(&mut world, &before, "storefront: requests").await;
        drop(link);

        // A read of the catalogue that does not come back.
        world.hold(true).await;
        let place = world.places().shop;
        let mut links = Vec::new();
        for _ in 0..2 {
            let link = Link::open("127.0.0.1".parse().unwrap(), place).await;
            let mut link = link.unwrap();
            let get = format!("GET /search?q=planted HTTP/1.1\r\nHost: {place}\r\n\r\n");
            link.send(get).await.unwrap();
            links.push(link);
        }
        until_one_waits_for_the_other(&mut world).await;
        finds(&mut world, &before, "storefront: flights").await;
        // One of the two waits for the other.
        finds(&mut world, &before, "storefront: waiters").await;
        world.hold(false).await;
        drop(links);

        let settled = world.settle(&before, LOOKS).await;
        settled.expect("when all of it is gone there is nothing to be found");
        world.stop().await
    });
    drop(stopped);
}

/// They are written; the shop has yet to read them.
async fn until_one_waits_for_the_other(world: &mut World) {
    for _ in 0..LOOKS {
        let [shop, ..] = world.census().programs;
        if (shop.under_way.flights, shop.under_way.waiters) == (1, 1) {
            return;
        }
        world.watcher.next().await;
    }
    panic!("there is no flight with a waiter: {:?}", world.census());
}

async fn finds(world: &mut World, before: &Census, words: &str) {
    let found = world.settle(before, FEW).await;
    let complaints = found.expect_err(words);
    assert!(complaints.contains(words), "no {words} in:\n{complaints}");
}

/// Somebody who never comes back to it.
async fn claim(keys: &impl Store) -> Claim {
    let request = BeginRequest {
        key: RecordKey::from_bytes([7; 32]),
        fingerprint: Fingerprint::from_bytes([0; 32]),
        token: Token(7),
        lease: Duration::from_secs(3600),
        ttl: Duration::from_secs(3600),
        recovery: Recovery::Reexecute,
    };
    match keys.begin(request).await.unwrap() {
        Begin::Claimed(claim) => claim,
        other => panic!("{other:?}"),
    }
}
