//! What a server's settings may cost.

use std::sync::{Arc, Mutex};

use buttress_idempotency::redis::{OnRisk, Risk};
use buttress_idempotency::{Event, RedisStore, StoreError};
use testkit::server::Redis;

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
    let warn = OnRisk::Warn(Arc::new(move |event: &Event| {
        hear.lock().unwrap().push(*event)
    }));
    let store = store.checked(warn).await.unwrap();
    let risks = [Risk::Eviction, Risk::NoLog].map(Event::StoreAtRisk);
    assert_eq!(*heard.lock().unwrap(), risks);
    let refused = store.checked(OnRisk::Refuse).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
}
