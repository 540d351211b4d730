//! What a store does that is slow, or fails.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, Idempotency, IdempotencyLayer, MemoryStore, OnStoreError, Record,
    RequestBody, Scoped, Standing, Store, StoreError, Token,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_test::{assert_pending, task};
use tower::{Layer, Service, service_fn};

use crate::kit::order;

/// A memory store with faults.
#[derive(Clone)]
pub(crate) struct Faulty {
    pub(crate) store: MemoryStore,
    /// A `begin` waits for a permit.
    pub(crate) gate: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    /// Which claim asked for fails, counted from one.
    pub(crate) fails_at: Arc<AtomicUsize>,
    /// How many more claims are made and not told of.
    pub(crate) unanswered: Arc<AtomicUsize>,
    /// How many more are asked for and may be made later; the last of them.
    pub(crate) late: Arc<AtomicUsize>,
    pub(crate) last_late: Arc<std::sync::Mutex<Option<BeginRequest>>>,
    /// How many more are not given back.
    pub(crate) failed_abandons: Arc<AtomicUsize>,
    /// Whether that is for want of room.
    pub(crate) no_room: Arc<AtomicBool>,
    /// How many more are given back, and nobody is told.
    pub(crate) unheard_abandons: Arc<AtomicUsize>,
    /// Whether no claim can be taken over, or looked up.
    pub(crate) away: Arc<AtomicBool>,
    /// How many more claims are given back and said to be lost, as to who asks twice.
    pub(crate) asks_twice: Arc<AtomicUsize>,
    /// Whether nothing can be claimed.
    pub(crate) deaf: Arc<AtomicBool>,
    /// Whether nothing can be looked up without claiming it.
    pub(crate) blind: Arc<AtomicBool>,
    /// Which claim given back is not.
    pub(crate) keeps_at: Arc<AtomicUsize>,
    given_back: Arc<AtomicUsize>,
    /// How many more times `complete` fails.
    pub(crate) failures: Arc<AtomicUsize>,
    /// What is filed is told of with a permit.
    pub(crate) answers: Arc<Semaphore>,
    /// How many more times `renew` fails.
    pub(crate) failed_renewals: Arc<AtomicUsize>,
    /// How often it has not.
    pub(crate) renewed: Arc<AtomicUsize>,
    /// Whether `renew` is not answered.
    pub(crate) silent: Arc<AtomicBool>,
    /// Whether every claim is somebody else's.
    pub(crate) taken: Arc<AtomicBool>,
    /// Whether a claim cannot be looked up.
    pub(crate) dark: Arc<AtomicBool>,
}

impl Faulty {
    pub(crate) fn new() -> Self {
        Self {
            store: MemoryStore::new(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            asked: Arc::default(),
            fails_at: Arc::default(),
            unanswered: Arc::default(),
            late: Arc::default(),
            last_late: Arc::default(),
            failed_abandons: Arc::default(),
            no_room: Arc::default(),
            unheard_abandons: Arc::default(),
            away: Arc::default(),
            asks_twice: Arc::default(),
            deaf: Arc::default(),
            blind: Arc::default(),
            keeps_at: Arc::default(),
            given_back: Arc::default(),
            failures: Arc::default(),
            answers: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            failed_renewals: Arc::default(),
            renewed: Arc::default(),
            silent: Arc::default(),
            taken: Arc::default(),
            dark: Arc::default(),
        }
    }

    /// How often it was asked for a claim, or what is known of one.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn layer(&self) -> IdempotencyLayer<Self, Scoped> {
        IdempotencyLayer::new(self.clone())
            .single_tenant()
            .lease(Duration::from_secs(30))
    }
}

/// Takes one of them, if there is one left.
fn one_of(left: &AtomicUsize) -> bool {
    let one_less = |left: usize| left.checked_sub(1);
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
}

impl Store for Faulty {
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        self.gate.acquire().await.unwrap().forget();
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let is_deaf = self.deaf.load(Ordering::SeqCst);
        if is_deaf || asked == self.fails_at.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        if one_of(&self.late) {
            *self.last_late.lock().unwrap() = Some(request);
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        let begun = self.store.begin(request).await;
        if let Ok(Begin::Claimed(_)) = begun
            && one_of(&self.unanswered)
        {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        begun
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.seize(claim, token, lease).await
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.blind.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.look(request).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        if self.taken.load(Ordering::SeqCst) {
            return Err(StoreError::Lost);
        }
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if one_of(&self.failed_renewals) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.renewed.fetch_add(1, Ordering::SeqCst);
        self.store.renew(claim, lease, ttl).await
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        if one_of(&self.failures) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.complete(claim, record, ttl).await?;
        self.answers.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        let given_back = self.given_back.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = one_of(&self.failed_abandons);
        if fails || given_back == self.keeps_at.load(Ordering::SeqCst) {
            return Err(match self.no_room.load(Ordering::SeqCst) {
                true => StoreError::Full,
                false => StoreError::Unavailable("on purpose".into()),
            });
        }
        self.store.abandon(claim).await?;
        if one_of(&self.unheard_abandons) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        if one_of(&self.asks_twice) {
            return Err(StoreError::Lost);
        }
        Ok(())
    }

    async fn purge(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.purge(limit).await
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        if self.dark.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("on purpose".into()));
        }
        self.store.confirm(claim).await
    }

    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        self.store.unknown(limit).await
    }
}

pub(crate) type Req = Request<RequestBody<Full<Bytes>>>;

pub(crate) async fn done(_: Req) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new("done".into()))
}

/// What each request costs a store that is somewhere else.
#[tokio::test]
async fn a_first_request_asks_twice_and_a_repetition_once() {
    let store = Faulty::new();
    let calls = || {
        let filed = Semaphore::MAX_PERMITS - store.answers.available_permits();
        let given_back = store.given_back.load(Ordering::SeqCst);
        let kept = store.renewed.load(Ordering::SeqCst) + given_back;
        (store.asked(), filed, kept)
    };
    let mut service = store.layer().layer(service_fn(done));
    service.call(order("k", "")).await.unwrap();
    assert_eq!(calls(), (1, 1, 0));
    service.call(order("k", "")).await.unwrap();
    assert_eq!(calls(), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_that_its_lease_is_lost() {
    let store = Faulty::new();
    store.taken.store(true, Ordering::SeqCst);
    let mut service = store.layer().layer(service_fn(|request: Req| async move {
        let claim: &Idempotency = request.extensions().get().unwrap();
        claim.lost().cancelled().await;
        done(request).await
    }));
    let call = tokio::time::timeout(Duration::from_secs(30), service.call(order("k", "")));
    assert!(call.await.is_ok(), "within a lease");
}

/// What a handler sees of its claim at so many milliseconds after it was granted, by a lease of 30 s.
async fn told_lost_at(store: &Faulty) -> u128 {
    let asked = Instant::now();
    let mut service = store.layer().layer(service_fn(|request: Req| async move {
        let claim: &Idempotency = request.extensions().get().unwrap();
        claim.lost().cancelled().await;
        done(request).await
    }));
    let call = tokio::time::timeout(Duration::from_secs(300), service.call(order("k", "")));
    call.await.expect("it is told").unwrap();
    asked.elapsed().as_millis()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_cut_off_from_its_store_hears_when_its_lease_may_be_over() {
    let store = Faulty::new();
    store.silent.store(true, Ordering::SeqCst);
    assert_eq!(told_lost_at(&store).await, 30_000, "it does not answer");
    let store = Faulty::new();
    store.failed_renewals.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(told_lost_at(&store).await, 30_000, "it fails");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_soon() {
    let store = Faulty::new();
    store.failed_renewals.store(1, Ordering::SeqCst);
    let renewed = Arc::clone(&store.renewed);
    let mut service = store.layer().layer(service_fn(move |request: Req| {
        let renewed = Arc::clone(&renewed);
        async move {
            tokio::time::sleep(Duration::from_millis(9_900)).await;
            assert_eq!(renewed.load(Ordering::SeqCst), 0);
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert_eq!(renewed.load(Ordering::SeqCst), 1, "at 10.05 s");
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(renewed.load(Ordering::SeqCst), 7, "each 10 s");
            let claim: &Idempotency = request.extensions().get().unwrap();
            assert!(!claim.lost().is_cancelled());
            done(request).await
        }
    }));
    service.call(order("k", "")).await.unwrap();
}

/// As if the process had been stopped: nothing in it has run meanwhile.
#[tokio::test(start_paused = true)]
async fn who_asks_after_a_stop_hears_that_the_lease_may_be_over_and_not_once_it_is_settled() {
    let layer = Faulty::new().layer().spawner(drop);
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let handler = service_fn(move |request: Req| {
        let keep = Arc::clone(&keep);
        async move {
            let claim: &Idempotency = request.extensions().get().unwrap();
            tokio::time::advance(Duration::from_millis(29_999)).await;
            assert!(!claim.lost().is_cancelled());
            if request.uri().path() == "/stops" {
                tokio::time::advance(Duration::from_millis(1)).await;
                assert!(claim.lost().is_cancelled());
            }
            *keep.lock().unwrap() = Some(claim.clone());
            done(request).await
        }
    });
    let mut service = layer.layer(handler);
    let mut stops = order("k", "");
    *stops.uri_mut() = http::Uri::from_static("/stops");
    service.call(stops).await.unwrap();
    service.call(order("k", "")).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    let claim = kept.lock().unwrap().take().unwrap();
    assert!(!claim.lost().is_cancelled(), "it was settled in time");
}

/// Whoever renews it meanwhile hears that it is not held any more, and by whom it was given up.
#[tokio::test(start_paused = true)]
async fn a_claim_whose_filing_is_not_answered_yet_is_not_lost() {
    let store = Faulty::new();
    store.answers.forget_permits(usize::MAX);
    let layer = store.layer();
    let kept = Arc::new(std::sync::Mutex::new(None));
    let keep = Arc::clone(&kept);
    let mut service = layer.layer(service_fn(move |request: Req| {
        let claim = request.extensions().get::<Idempotency>().cloned();
        *keep.lock().unwrap() = claim;
        async move {
            tokio::task::yield_now().await;
            done(request).await
        }
    }));
    let call = tokio::spawn(service.call(order("k", "")));
    tokio::time::sleep(Duration::from_secs(100)).await;
    let claim = kept.lock().unwrap().take().unwrap();
    let renewed = store
        .store
        .renew(claim.claim(), Duration::MAX, Duration::MAX);
    assert!(matches!(renewed.await, Err(StoreError::Lost)), "it is done");
    assert!(!claim.lost().is_cancelled() && !call.is_finished());
    store.answers.add_permits(1);
    call.await.unwrap().unwrap();
    assert!(!claim.lost().is_cancelled());
    assert_eq!((layer.snapshot().completed, layer.snapshot().lost), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn filing_is_tried_again_when_the_store_has_failed() {
    let store = Faulty::new();
    store.failures.store(2, Ordering::SeqCst);
    let layer = store.layer();
    let mut service = layer.layer(service_fn(done));
    service.call(order("k", "")).await.unwrap();
    layer.tasks().drain().await;
    let again = service.call(order("k", "")).await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
}

/// Of each try the milliseconds at which the store was asked to file.
#[tokio::test(start_paused = true)]
async fn filing_is_tried_again_soon_however_long_the_lease() {
    for lease in [Duration::from_secs(3600), Duration::MAX] {
        let store = Faulty::new();
        store.failures.store(3, Ordering::SeqCst);
        let layer = store.layer().lease(lease);
        let begun = Instant::now();
        let mut service = layer.layer(service_fn(done));
        service.call(order("k", "")).await.unwrap();
        layer.tasks().drain().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(50 + 100 + 200));
        assert_eq!(layer.snapshot().completed, 1);
        // A store that stays away is given up.
        store.failures.store(usize::MAX, Ordering::SeqCst);
        service.call(order("other", "")).await.unwrap();
        layer.tasks().drain().await;
        assert!(begun.elapsed() < Duration::from_secs(300));
        assert_eq!(layer.snapshot().orphaned, 1);
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_the_store_is_asked_leaves_its_work_to_a_task() {
    let store = Faulty::new();
    store.gate.forget_permits(usize::MAX);
    let layer = store.layer();
    let mut service = layer.layer(service_fn(done));
    let mut call = task::spawn(service.call(order("k", "")));
    assert_pending!(call.poll());
    drop(call);
    assert_eq!(layer.tasks().running(), 1, "there may be a claim");
    store.gate.add_permits(2);
    layer.tasks().drain().await;
    let again = service.call(order("k", "")).await.unwrap();
    assert_eq!(again.headers()["idempotency-replayed"], "true");
}

/// Tells by its status whether it was done under a claim, and by its body what it was sent.
async fn tell(request: Req) -> Result<Response<Bytes>, Infallible> {
    let is_claimed = request.extensions().get::<Idempotency>().is_some();
    let body = request.into_body().collect().await;
    let mut response = Response::new(body.unwrap().to_bytes());
    if !is_claimed {
        *response.status_mut() = StatusCode::ACCEPTED;
    }
    Ok(response)
}

#[tokio::test]
async fn a_request_passes_a_store_that_is_down_where_that_was_chosen() {
    let store = Faulty::new();
    store.fails_at.store(1, Ordering::SeqCst);
    let layer = store.layer().on_store_error(OnStoreError::Bypass);
    let handler =
        service_fn(|request| async { Ok::<_, Infallible>(tell(request).await?.map(Full::new)) });
    let mut service = layer.layer(handler);
    let mut send = async || service.call(order("k", "lamp")).await.unwrap();
    let unprotected = send().await;
    assert_eq!(unprotected.status(), StatusCode::ACCEPTED);
    let body = unprotected.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "lamp", "its body is whole");
    // Nothing was claimed and nothing is kept: with the store up again it is done once more, and that is the last time.
    let protected = send().await;
    assert_eq!(protected.status(), StatusCode::OK);
    assert!(!protected.headers().contains_key("idempotency-replayed"));
    assert_eq!(send().await.headers()["idempotency-replayed"], "true");
    let seen = layer.snapshot();
    assert_eq!(
        (
            seen.store_failed,
            seen.bypassed,
            seen.claimed,
            seen.replayed
        ),
        (1, 1, 1, 1)
    );
}

#[tokio::test]
async fn a_store_that_is_down_refuses_by_default_and_nothing_is_done() {
    let store = Faulty::new();
    store.fails_at.store(1, Ordering::SeqCst);
    let layer = store.layer();
    let done = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&done);
    let mut service = layer.layer(service_fn(move |request| {
        counts.fetch_add(1, Ordering::SeqCst);
        super::faults::done(request)
    }));
    let refused = service.call(order("k", "")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(done.load(Ordering::SeqCst), 0);
    let seen = layer.snapshot();
    assert_eq!((seen.store_failed, seen.bypassed, seen.claimed), (1, 0, 0));
}

#[tokio::test]
async fn what_is_asked_for_and_left_is_running_until_the_store_has_answered() {
    let store = Faulty::new();
    store.gate.forget_permits(usize::MAX);
    let layer = store.layer().max_running(std::num::NonZeroUsize::MIN);
    let mut service = layer.layer(service_fn(done));
    let mut call = task::spawn(service.call(order("a", "")));
    assert_pending!(call.poll());
    drop(call);
    let refused = service.call(order("b", "")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    store.gate.add_permits(2);
    layer.tasks().drain().await;
    let second = service.call(order("b", "")).await.unwrap();
    assert_eq!(second.status(), StatusCode::OK);
    assert_eq!(layer.snapshot().running, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_yet_to_be_filed_is_running() {
    let store = Faulty::new();
    store.failures.store(2, Ordering::SeqCst);
    let layer = store.layer();
    let mut service = layer.layer(service_fn(done));
    service.call(order("k", "")).await.unwrap();
    assert_eq!(layer.snapshot().running, 1);
    layer.tasks().drain().await;
    assert_eq!(layer.snapshot().running, 0);
}
