//! What a server's settings may cost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::redis::{OnRisk, Risk};
use buttress_idempotency::{
    Begin, BeginRequest, Event, Origin, Record, RedisStore, Store, StoreError, conformance,
};
use testkit::server::{Redis, RedisCluster};

use crate::order;

#[tokio::test]
async fn a_server_that_may_lose_claims_is_told_or_refused() {
    let server = Redis::start().unwrap();
    let store = RedisStore::open(&server.url()).unwrap();
    let store = store.checked(OnRisk::Refuse).await.unwrap();
    for (setting, risk) in [
        ("appendfsync everysec", Risk::NoSync),
        ("maxmemory-policy allkeys-lru", Risk::Eviction),
        ("appendonly no", Risk::NoLog),
    ] {
        server.ask(&format!("CONFIG SET {setting}")).unwrap();
        assert!(store.check().await.unwrap().contains(&risk), "{setting}");
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&heard);
    let warn = OnRisk::Warn(Arc::new(move |event: &Event<'_>| {
        if let Event::StoreAtRisk(risk) = event {
            hear.lock().unwrap().push(*risk);
        }
    }));
    let store = store.checked(warn).await.unwrap();
    let risks = [Risk::Eviction, Risk::NoLog];
    assert_eq!(*heard.lock().unwrap(), risks);
    let refused = store.checked(OnRisk::Refuse).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_server_that_does_not_tell_is_not_known_to_be_fit() {
    let server = Redis::start().unwrap();
    server
        .ask("ACL SETUSER shy on nopass ~* &* +@all -config")
        .unwrap();
    let url = server.url().replace("redis://", "redis://shy:any@");
    let store = RedisStore::open(&url).unwrap();
    assert_eq!(store.check().await.unwrap(), [Risk::Untold]);
    let refused = store.clone().checked(OnRisk::Refuse).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    server.ask("ACL SETUSER shy -info").unwrap();
    let refused = store.checked(OnRisk::Refuse).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}

/// `REDIS_KILLS` kills for each way of writing the log, or three.
///
/// A kill takes the process and not the machine: what was written and not synced is still with the kernel. (With `everysec`, Redis puts writing off
/// while a sync is under way, and answers.) So only who writes nothing has to lose, only who syncs each write must not, and what becomes of the others is
/// told.
#[tokio::test]
async fn a_server_that_syncs_each_write_forgets_no_answer_when_it_is_killed() {
    let kills = std::env::var("REDIS_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let mut server = Redis::start().unwrap();
    let store = crate::patient::redis(&server.url());
    for setting in [
        "appendfsync always",
        "appendfsync everysec",
        "appendfsync no",
        "appendonly no",
    ] {
        let mut lost = 0;
        for _ in 0..kills {
            server.ask(&format!("CONFIG SET {setting}")).unwrap();
            let order = order();
            complete(&store, &order).await;
            server.restart().unwrap();
            while store.unknown(0).await.is_err() {
                // Its manager is connecting; each of these waits for it.
            }
            let found = store.look(&order).await.unwrap();
            lost += usize::from(!matches!(found, Some(Begin::Replay(_))));
        }
        println!("{setting}: {lost} of {kills} answers were lost in a kill");
        match setting {
            "appendfsync always" => assert_eq!(lost, 0),
            "appendonly no" => assert_eq!(lost, kills, "or this could not see a loss"),
            _ => {}
        }
    }
}

/// Who executes has to be able to say so.
#[tokio::test]
async fn a_server_without_room_grants_nothing_and_settles_what_it_has_granted() {
    let server = Redis::start().unwrap();
    let store = crate::patient::redis(&server.url());
    let claim = async || match store.begin(order()).await.unwrap() {
        Begin::Claimed(claim) => claim,
        found => panic!("{found:?} for a new key"),
    };
    let (done, given_back, left) = (claim().await, claim().await, claim().await);
    store
        .renew(&left, Duration::ZERO, Duration::ZERO)
        .await
        .unwrap();
    server.ask("CONFIG SET maxmemory 1").unwrap();
    let new = order();
    let refused = store.begin(new.clone()).await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    store
        .renew(&done, Duration::from_secs(60), Duration::ZERO)
        .await
        .unwrap();
    let record = Record::Tombstone(Origin::default());
    let hour = Duration::from_secs(3600);
    store.complete(&done, record, hour).await.unwrap();
    store.abandon(&given_back).await.unwrap();
    let token = buttress_idempotency::Token::random();
    let seized = store.seize(&left, token, hour).await.unwrap();
    assert_eq!(seized.attempt, 2);
    server.ask("CONFIG SET maxmemory 0").unwrap();
    assert_eq!(store.look(&new).await.unwrap(), None);
    assert!(matches!(store.begin(new).await.unwrap(), Begin::Claimed(_)));
}

async fn complete<C>(store: &RedisStore<C>, order: &BeginRequest)
where
    RedisStore<C>: Store,
{
    let Begin::Claimed(claim) = store.begin(order.clone()).await.unwrap() else {
        panic!("nobody else has this key")
    };
    let record = Record::Tombstone(Origin::default());
    store.complete(&claim, record, order.ttl).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cluster_conforms() {
    let cluster = RedisCluster::start().unwrap();
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let store = RedisStore::new(client.get_async_connection().await.unwrap());
    conformance::check(&store).await;
    conformance::histories_have_an_order(&store, 20).await;
}

#[tokio::test]
async fn a_cluster_is_as_safe_as_the_least_of_its_servers() {
    let mut cluster = RedisCluster::start().unwrap();
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let store = RedisStore::new(client.get_async_connection().await.unwrap());
    assert_eq!(store.check().await.unwrap(), []);
    for (node, setting) in [(0, "maxmemory-policy allkeys-lru"), (2, "appendonly no")] {
        let node = &cluster.nodes()[node];
        node.ask(&format!("CONFIG SET {setting}")).unwrap();
    }
    let risks = [Risk::Eviction, Risk::NoLog];
    assert_eq!(store.check().await.unwrap(), risks);
    let refused = store.checked(OnRisk::Refuse).await;
    let Err(StoreError::Unavailable(why)) = refused else {
        panic!("{refused:?}")
    };
    assert!(why.to_string().contains("Eviction"), "{why}");
}

#[tokio::test]
async fn who_is_gone_is_listed_whichever_server_of_a_cluster_has_the_claim() {
    let cluster = RedisCluster::start().unwrap();
    let client = redis::cluster::ClusterClient::new(cluster.urls()).unwrap();
    let connection = client.get_async_connection().await.unwrap();
    let everywhere = RedisStore::new(connection.clone());
    // One slot has them all.
    let in_one_place = RedisStore::new(connection).prefix("{shop}:");
    for store in [&everywhere, &in_one_place] {
        let mut orphans = Vec::new();
        for _ in 0..30 {
            let Begin::Claimed(orphan) = store.begin(order()).await.unwrap() else {
                panic!("nobody else has this key")
            };
            store
                .renew(&orphan, Duration::ZERO, Duration::ZERO)
                .await
                .unwrap();
            orphans.push(orphan);
        }
        let mut listed = store.unknown(1000).await.unwrap();
        for of in [&mut orphans, &mut listed] {
            of.sort_by_key(|claim| *claim.key.as_bytes());
        }
        assert_eq!(listed, orphans);
        assert_eq!(store.unknown(7).await.unwrap().len(), 7);
    }
    // Who asks the nodes one by one hears of each of its own.
    let mut listed = 0;
    for url in cluster.urls() {
        let node = RedisStore::open(&url).unwrap();
        let of_node = node.unknown(1000).await.unwrap().len();
        assert!((1..30).contains(&of_node), "{of_node}");
        listed += of_node;
    }
    assert_eq!(listed, 30);
}
