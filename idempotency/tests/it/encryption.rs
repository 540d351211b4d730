//! Records that a store cannot read.

use std::convert::Infallible;

use buttress_idempotency::{
    Begin, BeginRequest, Fingerprint, Idempotency, IdempotencyLayer, Keyring, MemoryStore,
    OnStoreError, Record, Recovery, RequestBody, Scoped, Store, Token,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};

use crate::kit::order;
use crate::transaction::Paper;

type Layered = IdempotencyLayer<MemoryStore, Scoped>;

fn layer(store: &MemoryStore) -> Layered {
    IdempotencyLayer::new(store.clone()).single_tenant()
}

/// The status, and whether it is a replay.
async fn send(layer: &Layered) -> (StatusCode, bool) {
    let mut service = layer.layer(service_fn(crate::faults::done));
    let response = service.call(order("k", "")).await.unwrap();
    let replayed = response.headers().contains_key("idempotency-replayed");
    (response.status(), replayed)
}

async fn stored<St: Store>(layer: &IdempotencyLayer<St, Scoped>) -> Record {
    let (head, ()) = order("k", "").map(drop).into_parts();
    let request = BeginRequest {
        key: layer.record_key(&head).unwrap(),
        fingerprint: buttress_idempotency::fingerprint::raw_body(&head, b"").unwrap(),
        token: Token::random(),
        lease: std::time::Duration::ZERO,
        ttl: std::time::Duration::ZERO,
        recovery: Recovery::Reject,
    };
    let _: Fingerprint = request.fingerprint;
    match layer.store().look(&request).await.unwrap() {
        Some(Begin::Replay(record)) => record,
        found => panic!("{found:?}"),
    }
}

#[tokio::test]
async fn a_store_sees_nothing_and_a_client_everything() {
    let store = MemoryStore::new();
    let sealed = layer(&store).encryption(Keyring::new(1, [1; 32]));
    assert_eq!(send(&sealed).await, (StatusCode::OK, false));
    let Record::Sealed(bytes) = stored(&sealed).await else {
        panic!("it is readable")
    };
    assert!(!bytes.windows(4).any(|part| part == b"done"));
    assert_eq!(send(&sealed).await, (StatusCode::OK, true));
    let rotated = Keyring::new(2, [2; 32]).former(1, [1; 32]);
    assert_eq!(
        send(&layer(&store).encryption(rotated)).await,
        (StatusCode::OK, true)
    );
}

#[tokio::test]
async fn what_was_filed_in_the_clear_stays_readable() {
    let store = MemoryStore::new();
    assert_eq!(send(&layer(&store)).await, (StatusCode::OK, false));
    let sealed = layer(&store).encryption(Keyring::new(1, [1; 32]));
    assert_eq!(send(&sealed).await, (StatusCode::OK, true));
    let strict = layer(&store).encryption(Keyring::new(1, [1; 32]).sealed_only());
    assert_eq!(
        send(&strict).await,
        (StatusCode::SERVICE_UNAVAILABLE, false)
    );
}

/// Which no longer says anything, and so nothing that somebody could have made up.
#[tokio::test]
async fn a_record_that_made_room_is_one_that_was_not_kept() {
    let store = MemoryStore::builder().max_bytes(0).build();
    let strict = layer(&store).encryption(Keyring::new(1, [1; 32]).sealed_only());
    assert_eq!(send(&strict).await, (StatusCode::OK, false));
    assert_eq!(send(&strict).await, (StatusCode::CONFLICT, false));
    assert_eq!(strict.snapshot().replayed, 1);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_refused_and_never_done_again() {
    let store = MemoryStore::new();
    send(&layer(&store).encryption(Keyring::new(1, [1; 32]))).await;
    for layer in [
        layer(&store),
        layer(&store).encryption(Keyring::new(1, [9; 32])),
        layer(&store).on_store_error(OnStoreError::Bypass),
    ] {
        assert_eq!(send(&layer).await, (StatusCode::SERVICE_UNAVAILABLE, false));
    }
}

#[tokio::test]
async fn what_a_person_marks_done_is_sealed_too() {
    let store = MemoryStore::new();
    let layer = layer(&store)
        .recovery(Recovery::Reject)
        .keep(|_| buttress_idempotency::Keep::Unknown)
        .encryption(Keyring::new(1, [1; 32]));
    send(&layer).await;
    layer.tasks().drain().await;
    let unknown = layer.unknown(1).await.unwrap();
    let response = http::Response::new(bytes::Bytes::from("by hand"));
    layer.mark_done(&unknown[0], response).await.unwrap();
    assert!(matches!(stored(&layer).await, Record::Sealed(_)));
    assert_eq!(send(&layer).await, (StatusCode::OK, true));
}

#[tokio::test]
async fn what_a_handler_commits_is_sealed_too() {
    let layer = crate::faults::Faulty::new()
        .layer()
        .encryption(Keyring::new(1, [1; 32]));
    let handler = |request: Request<RequestBody<Full<Bytes>>>| async move {
        let claim: &Idempotency = request.extensions().get().unwrap();
        let response = Response::new(Full::<Bytes>::from("ordered"));
        let committed = claim.commit_with(Paper::default(), response).await;
        Ok::<_, Infallible>(committed.unwrap())
    };
    let mut service = layer.layer(service_fn(handler));
    service.call(order("k", "")).await.unwrap();
    assert!(matches!(stored(&layer).await, Record::Sealed(_)));
    let again = service.call(order("k", "")).await.unwrap();
    assert_eq!(
        again.into_body().collect().await.unwrap().to_bytes(),
        "ordered"
    );
}
