//! Rotating the secret that keys are hashed with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use buttress_idempotency::{
    Idempotency, IdempotencyLayer, MemoryStore, Recovery, RequestBody, Scoped, Store,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tower::{Layer, Service, service_fn};

use crate::kit::{Req, order};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

/// Processes on one store, before, in and after a rotation.
struct Processes {
    store: MemoryStore,
    gate: Arc<Semaphore>,
    effects: Arc<AtomicUsize>,
    recovery: Recovery,
}

type Layered = IdempotencyLayer<MemoryStore, Scoped>;

impl Processes {
    fn new(recovery: Recovery) -> Self {
        Self {
            store: MemoryStore::new(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            effects: Arc::default(),
            recovery,
        }
    }

    fn layer(&self) -> Layered {
        let layer = IdempotencyLayer::new(self.store.clone()).single_tenant();
        layer.recovery(self.recovery)
    }

    fn before(&self) -> Layered {
        self.layer().secret(OLD)
    }

    fn during(&self) -> Layered {
        self.before().former_secret(NEW)
    }

    fn after(&self) -> Layered {
        self.layer().secret(NEW).former_secret(OLD)
    }

    /// The body tells the derived key and the attempt.
    async fn send(&self, layer: &Layered, request: Req) -> (StatusCode, bool, Bytes) {
        let (gate, effects) = (self.gate.clone(), self.effects.clone());
        let handler = move |request: Request<RequestBody<Full<Bytes>>>| {
            let (gate, effects) = (gate.clone(), effects.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                effects.fetch_add(1, Ordering::SeqCst);
                let claim: &Idempotency = request.extensions().get().unwrap();
                let told = format!("{} {}", claim.downstream_key("pay"), claim.attempt());
                Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(told)))
            }
        };
        let response = layer
            .layer(service_fn(handler))
            .call(request)
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let replayed = head.headers.contains_key("idempotency-replayed");
        (
            head.status,
            replayed,
            body.collect().await.unwrap().to_bytes(),
        )
    }
}

#[tokio::test]
async fn a_record_is_found_whichever_secret_it_is_filed_under() {
    for (first, then) in [(0, 2), (0, 1), (1, 2), (2, 1), (1, 0)] {
        let processes = Processes::new(Recovery::Reject);
        let layers = [processes.before(), processes.during(), processes.after()];
        let done = processes.send(&layers[first], order("k", "lamp")).await;
        let again = processes.send(&layers[then], order("k", "lamp")).await;
        assert_eq!(
            (again.1, again.2),
            (true, done.2),
            "{first} and then {then}"
        );
        let other = processes.send(&layers[then], order("k", "desk")).await;
        assert_eq!(other.0, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(processes.effects.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn what_is_running_is_seen_under_either_secret() {
    for (first, then) in [(0, 2), (1, 2), (2, 1)] {
        let processes = Arc::new(Processes::new(Recovery::Reject));
        processes.gate.forget_permits(usize::MAX);
        let layers = [processes.before(), processes.during(), processes.after()];
        let running = tokio::spawn({
            let (processes, layer) = (processes.clone(), layers[first].clone());
            async move { processes.send(&layer, order("k", "lamp")).await }
        });
        tokio::task::yield_now().await;
        let busy = processes.send(&layers[then], order("k", "lamp")).await;
        assert_eq!(busy.0, StatusCode::CONFLICT, "{first} and then {then}");
        assert_eq!(
            processes.store.snapshot().keys,
            1,
            "what was claimed in vain is given back"
        );
        processes.gate.add_permits(1);
        running.await.unwrap();
        assert!(processes.send(&layers[then], order("k", "lamp")).await.1);
    }
}

#[tokio::test]
async fn work_that_nobody_has_finished_goes_on_under_the_key_it_was_begun_under() {
    for recovery in [Recovery::Reexecute, Recovery::Reject] {
        let processes = Processes::new(recovery);
        let (_, _, first) = processes
            .send(&processes.before(), order("probe", "lamp"))
            .await;
        let key = |told: &Bytes| told.split(|b| *b == b' ').next().unwrap().to_vec();
        // The same request again, by a holder that dies.
        let (head, ()) = order("k", "lamp").map(drop).into_parts();
        let filed = processes.before().record_key(&head).unwrap();
        let dying = processes
            .before()
            .keep(|_| buttress_idempotency::Keep::Unknown);
        let (_, _, told) = processes.send(&dying, order("k", "lamp")).await;
        dying.tasks().drain().await;
        assert_ne!(key(&told), key(&first));
        let after = processes.send(&processes.after(), order("k", "lamp")).await;
        if recovery == Recovery::Reject {
            assert_eq!(after.0, StatusCode::CONFLICT);
            let unknown = processes.store.unknown(9).await.unwrap();
            assert_eq!(unknown.iter().map(|c| c.key).collect::<Vec<_>>(), [filed]);
        } else {
            assert_eq!(
                key(&after.2),
                key(&told),
                "the same key for the next service"
            );
            assert!(after.2.ends_with(b" 2"), "the second attempt");
            assert!(
                processes
                    .send(&processes.before(), order("k", "lamp"))
                    .await
                    .1
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_processes_that_meet_in_the_middle_of_a_rotation_one_executes() {
    let processes = Arc::new(Processes::new(Recovery::Reject));
    let layers = [processes.during(), processes.after()];
    for round in 0..200 {
        let before = processes.effects.load(Ordering::SeqCst);
        let key = format!("k{round}");
        // Whoever is told to come back does: they may have met.
        let calls = (0..6).map(|n| {
            let (processes, layer, key) = (processes.clone(), layers[n % 2].clone(), key.clone());
            tokio::spawn(async move { processes.send(&layer, order(&key, "lamp")).await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap();
        }
        let last = processes
            .send(&layers[round % 2], order(&key, "lamp"))
            .await;
        assert_eq!(last.0, StatusCode::OK);
        let effects = processes.effects.load(Ordering::SeqCst) - before;
        assert_eq!(effects, 1, "round {round}");
    }
}

#[tokio::test]
async fn a_claim_is_found_under_whichever_secret_it_was_left() {
    let (head, ()) = order("k", "lamp").map(drop).into_parts();
    let processes = Processes::new(Recovery::Reject);
    for (dying, found_by) in [
        (processes.before(), processes.after()),
        (processes.after(), processes.during()),
    ] {
        let dying = dying.keep(|_| buttress_idempotency::Keep::Unknown);
        processes.send(&dying, order("k", "lamp")).await;
        dying.tasks().drain().await;
        let unknown = found_by.unknown(9).await.unwrap();
        let keys = found_by.record_keys(&head);
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0], found_by.record_key(&head).unwrap());
        assert!(keys.contains(&unknown[0].key) && keys[0] != unknown[0].key);
        found_by.release(&unknown[0]).await.unwrap();
    }
    let (without, ()) = http::Request::post("/").body(()).unwrap().into_parts();
    assert_eq!(processes.after().record_keys(&without), []);
}

/// Whoever reads the store cannot try out what a request may have said.
#[tokio::test]
async fn a_secret_hides_fingerprints_too() {
    let (head, ()) = order("k", "lamp").map(drop).into_parts();
    let guess = buttress_idempotency::fingerprint::raw_body(&head, b"lamp").unwrap();
    for (layer, is_hidden) in [
        (Processes::new(Recovery::Reject).before(), true),
        (Processes::new(Recovery::Reject).layer(), false),
    ] {
        let processes = Processes {
            store: layer.store().clone(),
            ..Processes::new(Recovery::Reject)
        };
        processes.send(&layer, order("k", "lamp")).await;
        let request = buttress_idempotency::BeginRequest {
            key: layer.record_key(&head).unwrap(),
            fingerprint: guess,
            token: buttress_idempotency::Token::random(),
            lease: std::time::Duration::ZERO,
            ttl: std::time::Duration::ZERO,
            recovery: Recovery::Reject,
        };
        let found = layer.store().look(&request).await.unwrap().unwrap();
        let is_mismatch = matches!(found, buttress_idempotency::Begin::Mismatch);
        assert_eq!(is_mismatch, is_hidden);
    }
}
