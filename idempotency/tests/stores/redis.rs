//! What a server's settings may cost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::redis::{OnRisk, Risk};
use buttress_idempotency::{
    Begin, BeginRequest, Event, Fingerprint, Origin, Record, RecordKey, Recovery, RedisStore,
    Store, StoreError, Token, conformance,
};
use testkit::server::{Redis, RedisCluster};

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

/// `REDIS_KILLS` kills for each way of writing the log, or three.
///
/// A kill takes the process and not the machine: what was written and not synced is still with the kernel. (With `everysec`, Redis puts writing off
/// while a sync is under way, and answers.) So only who writes nothing has to lose, only who syncs each write must not, and what becomes of the others is
/// told.
#[tokio::test]
async fn a_server_that_syncs_each_write_forgets_no_answer_when_it_is_killed() {
    let kills = std::env::var("REDIS_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let mut server = Redis::start().unwrap();
    let store = RedisStore::open(&server.url()).unwrap();
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

/// A request of its own.
fn order() -> BeginRequest {
    let token = Token::random();
    let hour = Duration::from_secs(3600);
    BeginRequest {
        key: RecordKey::from_bytes([token.0.to_be_bytes(); 2].concat().try_into().unwrap()),
        fingerprint: Fingerprint::from_bytes([7; 32]),
        token,
        lease: hour,
        ttl: hour,
        recovery: Recovery::Reject,
    }
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
    // All of the suite, but for what goes through the keys of one node.
    conformance::a_key_is_claimed_once(&store).await;
    conformance::a_record_is_replayed(&store).await;
    conformance::begin_and_complete_can_be_repeated(&store).await;
    conformance::another_request_under_the_key_is_a_mismatch(&store).await;
    conformance::a_lost_claim_changes_nothing(&store).await;
    conformance::fences_grow_and_attempts_count(&store).await;
    conformance::an_unknown_outcome_is_not_repeated_unless_asked(&store).await;
    conformance::an_abandoned_key_is_new(&store).await;
    conformance::purge_spares_what_is_alive(&store).await;
    conformance::an_orphan_is_taken_over_once(&store).await;
    conformance::a_claim_can_be_looked_up(&store).await;
    conformance::what_is_over_is_new(&store).await;
    conformance::durations_have_no_end(&store).await;
    crate::history::check(&store, 20).await;
}
