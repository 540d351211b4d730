//! What the layer makes of transactions, whatever they are of.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::transaction::{CommitError, Connection, Transaction};
use buttress_idempotency::{Claim, Idempotency, MemoryStore, NoEffect, Record, RequestBody, Store};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tower::{Layer, Service, service_fn};

use crate::faults::Faulty;
use crate::kit::order;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// A transaction of a store that has none: what it is to complete is completed when it commits.
#[derive(Default)]
pub(crate) struct Paper {
    completes: Option<(MemoryStore, Claim, Record, Duration)>,
    nested: bool,
    /// Finds that the claim is somebody else's.
    lost: bool,
    /// Commits, and says that it could not.
    breaks: bool,
    /// Waits for this before it commits.
    gate: Option<Arc<Notify>>,
}

impl Transaction for Paper {
    type Connection = Self;

    fn connection(&mut self) -> &mut Self {
        self
    }

    fn is_nested(&self) -> bool {
        self.nested
    }

    async fn commit(self) -> Result<(), Error> {
        if let Some(gate) = self.gate {
            gate.notified().await;
        }
        if let Some((store, claim, record, ttl)) = self.completes {
            store.complete(&claim, record, ttl).await?;
        }
        if self.breaks {
            return Err("the connection broke".into());
        }
        Ok(())
    }

    async fn rollback(self) {}
}

impl Connection for Paper {
    type Store = Faulty;

    async fn complete(
        &mut self,
        store: &Faulty,
        claim: &Claim,
        record: &Record,
        ttl: Duration,
    ) -> Result<(), CommitError> {
        if self.lost {
            return Err(CommitError::Lost);
        }
        self.completes = Some((store.store.clone(), claim.clone(), record.clone(), ttl));
        Ok(())
    }
}

/// What a handler does with its claim, behind the layer, when it is asked once.
async fn ask<F>(
    store: &Faulty,
    handler: impl Fn(Idempotency) -> F + Send + Sync + 'static,
) -> (StatusCode, Bytes)
where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let handler = move |claim| {
        let answer = handler(claim);
        async move { Ok(answer.await) }
    };
    let (status, _, body) = see(store, handler).await;
    (status, body)
}

/// The same, where it may fail; and whether it is a replay.
async fn see<F>(
    store: &Faulty,
    handler: impl Fn(Idempotency) -> F + Send + Sync + 'static,
) -> (StatusCode, bool, Bytes)
where
    F: Future<Output = Result<Response<Body>, Error>> + Send + 'static,
{
    let handler = Arc::new(handler);
    let inner = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        handler(request.extensions().get().cloned().unwrap())
    });
    let layer = store.layer();
    let response = layer.layer(inner).call(order("k", "")).await.unwrap();
    let status = response.status();
    let is_replay = response.headers().contains_key("idempotency-replayed");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    layer.tasks().drain().await;
    (status, is_replay, body)
}

fn ordered() -> Response<Full<Bytes>> {
    Response::new("ordered".into())
}

fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

fn failed(error: &CommitError) -> Response<Body> {
    let mut response = Response::new(Full::from(error.to_string()));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.extensions_mut().insert(NoEffect);
    boxed(response)
}

async fn commit(claim: Idempotency, transaction: Paper) -> Response<Body> {
    match claim.commit_with(transaction, ordered()).await {
        Ok(response) => boxed(response),
        Err(error) => failed(&error),
    }
}

#[tokio::test(start_paused = true)]
async fn what_its_handler_has_committed_is_neither_lost_nor_filed_again() {
    let store = Faulty::new();
    store.failures.store(1, Ordering::SeqCst);
    let (status, body) = ask(&store, |claim| async move {
        // The heartbeat is under way when it happens, and finds nothing to renew.
        tokio::time::sleep(Duration::from_secs(100)).await;
        let response = commit(claim.clone(), Paper::default()).await;
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!claim.lost().is_cancelled(), "it is done");
        response
    })
    .await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"ordered"[..]));
    let left = store.failures.load(Ordering::SeqCst);
    assert_eq!(left, 1, "the layer did not try to file it");
}

#[tokio::test(start_paused = true)]
async fn when_nobody_knows_whether_it_was_committed_nobody_says_that_it_was() {
    let store = Faulty::new();
    store.dark.store(true, Ordering::SeqCst);
    let broken = |claim: Idempotency| {
        let transaction = Paper {
            breaks: true,
            ..Paper::default()
        };
        commit(claim, transaction)
    };
    let (status, _) = ask(&store, broken).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, body) = ask(&store, |_| async { unreachable!("it is done") }).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"ordered"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_back_in_time_is_asked_until_it_tells() {
    let store = Faulty::new();
    store.dark.store(true, Ordering::SeqCst);
    let dark = Arc::clone(&store.dark);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(3)).await;
        dark.store(false, Ordering::SeqCst);
    });
    let broken = |claim: Idempotency| {
        let transaction = Paper {
            breaks: true,
            ..Paper::default()
        };
        commit(claim, transaction)
    };
    let (status, body) = ask(&store, broken).await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"ordered"[..]));
}

/// Whatever it tries next.
#[tokio::test]
async fn who_has_lost_the_claim_hears_so_at_each_try() {
    let (status, _) = ask(&Faulty::new(), |claim| async move {
        for _ in 0..2 {
            let mut lost = Paper {
                lost: true,
                ..Paper::default()
            };
            let completed = claim.complete_in(&mut lost, ordered()).await;
            assert!(matches!(completed, Err(CommitError::Lost)));
        }
        let error = claim.commit_with(Paper::default(), ordered()).await;
        let error = error.unwrap_err();
        assert!(matches!(error, CommitError::Lost), "{error:?}");
        failed(&error)
    })
    .await;
    assert_eq!(
        status,
        StatusCode::CONFLICT,
        "nobody knows what the other did"
    );
}

#[tokio::test]
async fn a_transaction_inside_of_another_is_refused() {
    let store = Faulty::new();
    let nested = |claim: Idempotency| {
        let transaction = Paper {
            nested: true,
            ..Paper::default()
        };
        commit(claim, transaction)
    };
    let (status, body) = ask(&store, nested).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(body, "the transaction is inside of another one");
    let (status, _) = ask(&store, |claim| commit(claim, Paper::default())).await;
    assert_eq!(status, StatusCode::OK, "the key was free");
}

#[tokio::test]
async fn a_commit_that_is_dropped_under_way_settles_nothing() {
    let store = Faulty::new();
    let (status, body) = ask(&store, |claim| async move {
        let transaction = Paper {
            gate: Some(Arc::default()),
            ..Paper::default()
        };
        let mut dropped = tokio_test::task::spawn(claim.commit_with(transaction, ordered()));
        assert!(dropped.poll().is_pending());
        drop(dropped);
        boxed(Response::new(Full::<Bytes>::from("gave up")))
    })
    .await;
    assert_eq!((status, &body[..]), (StatusCode::OK, &b"gave up"[..]));
    let (_, again) = ask(&store, |_| async { unreachable!("it is filed") }).await;
    assert_eq!(again, "gave up");
}

/// What a handler that has heard nothing of its commit can answer.
#[derive(Clone, Copy, Debug)]
enum Guess {
    /// That nothing was done.
    Answer,
    Error,
}

impl Guess {
    fn answer(self, error: &CommitError) -> Result<Response<Body>, Error> {
        match self {
            Self::Answer => Ok(failed(error)),
            Self::Error => Err("it failed".into()),
        }
    }
}

/// The record says that it was ordered.
#[tokio::test(start_paused = true)]
async fn after_a_commit_that_was_not_answered_a_client_gets_what_was_filed_and_no_guess() {
    for guess in [Guess::Answer, Guess::Error] {
        let store = Faulty::new();
        store.dark.store(true, Ordering::SeqCst);
        let dark = Arc::clone(&store.dark);
        let guesses = move |claim: Idempotency| {
            let dark = Arc::clone(&dark);
            async move {
                let transaction = Paper {
                    breaks: true,
                    ..Paper::default()
                };
                let error = claim.commit_with(transaction, ordered()).await.unwrap_err();
                assert!(matches!(error, CommitError::Unknown(_)), "{error:?}");
                dark.store(false, Ordering::SeqCst);
                guess.answer(&error)
            }
        };
        let seen = see(&store, guesses).await;
        assert_eq!(seen, (StatusCode::OK, true, "ordered".into()), "{guess:?}");
    }
}

#[tokio::test]
async fn who_has_committed_and_answers_something_else_is_not_believed() {
    for guess in [Guess::Answer, Guess::Error] {
        let changes_its_mind = move |claim: Idempotency| async move {
            let committed = claim.commit_with(Paper::default(), ordered()).await;
            drop(committed.unwrap());
            let again = claim.commit_with(Paper::default(), ordered()).await;
            guess.answer(&again.unwrap_err())
        };
        let seen = see(&Faulty::new(), changes_its_mind).await;
        assert_eq!(seen, (StatusCode::OK, true, "ordered".into()), "{guess:?}");
    }
}

#[tokio::test]
async fn what_was_completed_and_committed_is_sent_as_it_is() {
    let seen = see(&Faulty::new(), |claim| async move {
        let mut transaction = Paper::default();
        let completed = claim.complete_in(&mut transaction, ordered()).await?;
        transaction.commit().await?;
        Ok(boxed(completed))
    })
    .await;
    assert_eq!(seen, (StatusCode::OK, false, "ordered".into()));
}

/// The first one is of a transaction that was rolled back.
#[tokio::test]
async fn of_two_that_were_completed_the_client_gets_the_one_that_was_committed() {
    let seen = see(&Faulty::new(), |claim| async move {
        let completed = claim.complete_in(&mut Paper::default(), ordered()).await?;
        let mut second = Paper::default();
        let other = Response::new(Full::<Bytes>::from("ordered at last"));
        claim.complete_in(&mut second, other).await?;
        second.commit().await?;
        Ok(boxed(completed))
    })
    .await;
    assert_eq!(seen, (StatusCode::OK, true, "ordered at last".into()));
}

#[tokio::test]
async fn what_was_completed_and_rolled_back_is_neither_sent_nor_filed() {
    let store = Faulty::new();
    let (status, is_replay, _) = see(&store, |claim| async move {
        let completed = claim.complete_in(&mut Paper::default(), ordered()).await?;
        Ok(boxed(completed))
    })
    .await;
    assert_eq!((status, is_replay), (StatusCode::CONFLICT, false));
    // Nobody knows what else the handler has done: that is for recovery to decide.
    let (_, is_replay, body) = see(&store, |claim| async move {
        assert_eq!(claim.attempt(), 2);
        Ok(commit(claim, Paper::default()).await)
    })
    .await;
    assert_eq!((is_replay, &body[..]), (false, &b"ordered"[..]));
}

#[tokio::test]
async fn what_is_answered_after_a_rollback_is_an_answer_like_any_other() {
    let store = Faulty::new();
    for is_replay in [false, true] {
        let seen = see(&store, |claim| async move {
            let completed = claim.complete_in(&mut Paper::default(), ordered()).await?;
            drop(completed);
            Ok(boxed(Response::new(Full::<Bytes>::from("sold out"))))
        })
        .await;
        assert_eq!(seen, (StatusCode::OK, is_replay, "sold out".into()));
    }
}

#[tokio::test]
async fn what_another_claim_has_completed_is_not_taken_for_its_own() {
    let (kept, theirs) = (Arc::new(Mutex::new(None)), Faulty::new());
    let keep = Arc::clone(&kept);
    see(&theirs, move |claim| {
        let keep = Arc::clone(&keep);
        async move {
            let completed = claim.complete_in(&mut Paper::default(), ordered()).await?;
            *keep.lock().unwrap() = Some(boxed(completed));
            Ok(boxed(ordered()))
        }
    })
    .await;
    let seen = see(&Faulty::new(), move |claim| {
        let kept = Arc::clone(&kept);
        async move {
            let (mut paper, mine) = (Paper::default(), Response::new(Full::from("mine")));
            claim
                .complete_in::<_, Full<Bytes>>(&mut paper, mine)
                .await?;
            paper.commit().await?;
            let theirs = kept.lock().unwrap().take();
            Ok(theirs.expect("it was completed"))
        }
    })
    .await;
    assert_eq!(seen, (StatusCode::OK, true, "mine".into()));
}
