//! The cases, for any database.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use buttress_idempotency::transaction::{CommitError, Transaction};
use buttress_idempotency::{Execution, Idempotency, IdempotencyLayer, NoEffect, RequestBody};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::{Notify, oneshot};
use tower::{Layer, ServiceExt, service_fn};

use super::databases::Database;

type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a client sees.
#[derive(Debug, PartialEq)]
struct Seen {
    status: StatusCode,
    replayed: bool,
    body: Bytes,
}

/// Sends a request with this key to a handler behind the layer, whose limit for recorded bodies is a hundred bytes.
async fn send<D, F>(
    database: &D,
    key: &str,
    handler: impl Fn(D, Idempotency) -> F + Send + Sync + 'static,
) -> Seen
where
    D: Database,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (handler, shop) = (Arc::new(handler), database.clone());
    let inner = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let claim: Idempotency = request.extensions().get().cloned().unwrap();
        let answer = handler(shop.clone(), claim);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let layer = IdempotencyLayer::new(database.store())
        .single_tenant()
        .max_recorded_body(100);
    let request = Request::post("/orders")
        .header("idempotency-key", key)
        .body(Full::default())
        .unwrap();
    let response = sent(layer.layer(inner), request).await;
    layer.tasks().drain().await;
    response
}

async fn sent<S, B>(service: S, request: Request<Full<Bytes>>) -> Seen
where
    S: tower::Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let response = service.oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    Seen {
        status: head.status,
        replayed: head.headers.contains_key("idempotency-replayed"),
        body: body.collect().await.unwrap().to_bytes(),
    }
}

fn body<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

fn answer(words: &str) -> Response<Full<Bytes>> {
    let created = Response::builder().status(StatusCode::CREATED);
    created.body(words.to_owned().into()).unwrap()
}

fn refused(error: &CommitError) -> Response<Body> {
    let response = Response::builder()
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .extension(NoEffect);
    body(response.body(Full::from(format!("{error:?}"))).unwrap())
}

fn committed<B>(result: Result<Response<B>, CommitError>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error: Into<Error>> + Send + 'static,
{
    match result {
        Ok(response) => body(response),
        Err(error) => refused(&error),
    }
}

/// The handler that all of this is for.
async fn order<D: Database>(database: D, claim: Idempotency, key: String) -> Response<Body> {
    let tx = database.effect(key).await;
    let words = format!("attempt {}", claim.attempt());
    committed(claim.commit_with(tx, answer(&words)).await)
}

fn orders<D: Database>(
    key: &'static str,
) -> impl Fn(D, Idempotency) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
    move |database, claim| Box::pin(order(database, claim, key.to_owned()))
}

pub(crate) async fn effect_and_record_are_one<D: Database>(database: &D) {
    let first = send(database, "one", orders("one")).await;
    assert_eq!((first.status, first.replayed), (StatusCode::CREATED, false));
    let again = send(database, "one", orders("one")).await;
    assert_eq!(
        again,
        Seen {
            replayed: true,
            ..first
        }
    );
    assert_eq!(database.effects("one").await, 1);
}

pub(crate) async fn a_transaction_that_fails_leaves_nothing<D: Database>(database: &D) {
    let broken = move |database: D, claim: Idempotency| async move {
        let tx = database.effect("fails".into()).await;
        let body = a_body_that_breaks();
        committed(claim.commit_with(tx, Response::new(body)).await)
    };
    let failed = send(database, "fails", broken).await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(database.effects("fails").await, 0);
    let second = send(database, "fails", orders("fails")).await;
    assert_eq!(second.body, "attempt 1");
}

fn a_body_that_breaks() -> Body {
    let (body, hand) = testkit::body::by_hand();
    hand.data("half").fail();
    body.map_err(Into::into).boxed_unsync()
}

pub(crate) async fn a_zombie_rolls_back_and_its_client_gets_the_winners_response<D: Database>(
    database: &D,
) {
    let (started, has_started) = oneshot::channel();
    let (started, go_on) = (
        std::sync::Mutex::new(Some(started)),
        Arc::new(Notify::new()),
    );
    let slow = {
        let go_on = Arc::clone(&go_on);
        move |database: D, claim: Idempotency| {
            started.lock().unwrap().take().unwrap().send(()).unwrap();
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                let tx = database.effect("zombie".into()).await;
                let lost = claim.commit_with(tx, answer("zombie")).await.unwrap_err();
                assert!(matches!(lost, CommitError::Lost), "{lost:?}");
                refused(&lost)
            }
        }
    };
    let zombie = send(database, "zombie", slow);
    let heir = async {
        has_started.await.unwrap();
        database.end_leases().await;
        let heir = send(database, "zombie", orders("zombie")).await;
        go_on.notify_one();
        heir
    };
    let (zombie, heir) = tokio::join!(zombie, heir);
    assert_eq!(heir.body, "attempt 2");
    assert_eq!(
        zombie,
        Seen {
            replayed: true,
            ..heir
        }
    );
    assert_eq!(database.effects("zombie").await, 1);
}

/// A transaction whose connection breaks as it commits.
struct Breaks<T> {
    tx: T,
    after: bool,
}

impl<T: Transaction> Transaction for Breaks<T> {
    type Connection = T::Connection;

    fn connection(&mut self) -> &mut Self::Connection {
        self.tx.connection()
    }

    fn is_nested(&self) -> bool {
        self.tx.is_nested()
    }

    async fn commit(self) -> Result<(), Error> {
        if self.after {
            self.tx.commit().await?;
        } else {
            drop(self.tx);
        }
        Err("the connection broke".into())
    }

    async fn rollback(self) {
        self.tx.rollback().await;
    }
}

async fn send_and_break<D: Database>(database: &D, key: &'static str, after: bool) -> Seen {
    let handler = move |database: D, claim: Idempotency| async move {
        let tx = database.effect(key.into()).await;
        let tx = Breaks { tx, after };
        committed(claim.commit_with(tx, answer("there")).await)
    };
    send(database, key, handler).await
}

pub(crate) async fn a_commit_whose_answer_was_lost_is_looked_up<D: Database>(database: &D) {
    let first = send_and_break(database, "lost-answer", true).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = send_and_break(database, "lost-answer", true).await;
    assert_eq!(
        again,
        Seen {
            replayed: true,
            ..first
        }
    );
    assert_eq!(database.effects("lost-answer").await, 1);
}

pub(crate) async fn a_commit_that_was_not_done_is_known_not_to_be<D: Database>(database: &D) {
    let first = send_and_break(database, "no-commit", false).await;
    assert!(first.body.starts_with(b"Failed"), "{first:?}");
    assert_eq!(database.effects("no-commit").await, 0);
    let second = send(database, "no-commit", orders("no-commit")).await;
    assert_eq!(second.body, "attempt 1");
}

pub(crate) async fn a_second_effect_is_not_for_the_same_key<D: Database>(database: &D) {
    let twice = move |database: D, claim: Idempotency| async move {
        let tx = database.effect("twice".into()).await;
        let first = claim.commit_with(tx, answer("first")).await;
        let tx = database.effect("twice".into()).await;
        let second = claim.commit_with(tx, answer("second")).await;
        assert!(matches!(second, Err(CommitError::Settled)));
        let mut tx = database.effect("twice".into()).await;
        let third = claim.complete_in(tx.connection(), answer("third")).await;
        assert!(matches!(third, Err(CommitError::Settled)));
        committed(first)
    };
    assert_eq!(send(database, "twice", twice).await.body, "first");
    assert_eq!(database.effects("twice").await, 1);
}

pub(crate) async fn a_second_effect_is_not_committed_after_a_commit_that_was_not_answered<
    D: Database,
>(
    database: &D,
) {
    let retries = |database: D, claim: Idempotency| async move {
        let mut first = database.effect("unanswered".into()).await;
        let completed = claim.complete_in(first.connection(), answer("first")).await;
        completed.unwrap();
        // It is done, and nobody has heard so.
        first.commit().await.unwrap();
        let mut second = database.effect("unanswered".into()).await;
        let completed = claim
            .complete_in(second.connection(), answer("second"))
            .await;
        let Err(error) = completed else {
            second.commit().await.unwrap();
            return body(answer("second"));
        };
        second.rollback().await;
        assert!(matches!(error, CommitError::Settled), "{error:?}");
        body(answer("first"))
    };
    assert_eq!(send(database, "unanswered", retries).await.body, "first");
    assert_eq!(database.effects("unanswered").await, 1);
    let again = send(database, "unanswered", orders("unanswered")).await;
    assert_eq!((again.replayed, &again.body[..]), (true, &b"first"[..]));
}

pub(crate) async fn who_could_not_complete_may_try_again<D: Database>(database: &D) {
    let handler = |database: D, claim: Idempotency| async move {
        let [mut elsewhere, other] = database.elsewhere().await;
        let failed = claim
            .complete_in(elsewhere.connection(), answer("elsewhere"))
            .await;
        assert!(matches!(failed, Err(CommitError::OtherStore)));
        elsewhere.rollback().await;
        other.rollback().await;
        let tx = database.effect("tries-again".into()).await;
        committed(claim.commit_with(tx, answer("here")).await)
    };
    let seen = send(database, "tries-again", handler).await;
    assert_eq!(
        (seen.status, &seen.body[..]),
        (StatusCode::CREATED, &b"here"[..])
    );
    assert_eq!(database.effects("tries-again").await, 1);
}

async fn send_completed<D: Database>(database: &D, key: &'static str, commits: bool) -> Seen {
    let handler = move |database: D, claim: Idempotency| async move {
        let mut tx = database.effect(key.into()).await;
        let completed = claim
            .complete_in(tx.connection(), answer("completed"))
            .await;
        if commits {
            tx.commit().await.unwrap();
            committed(completed)
        } else {
            tx.rollback().await;
            body(answer("rolled back"))
        }
    };
    send(database, key, handler).await
}

pub(crate) async fn what_completes_in_a_transaction_is_believed_when_the_store_says_so<
    D: Database,
>(
    database: &D,
) {
    let first = send_completed(database, "completed", true).await;
    assert_eq!(first.body, "completed");
    let again = send_completed(database, "completed", true).await;
    assert_eq!(
        again,
        Seen {
            replayed: true,
            ..first
        }
    );
    assert_eq!(database.effects("completed").await, 1);
}

pub(crate) async fn what_was_rolled_back_is_settled_by_the_layer<D: Database>(database: &D) {
    let first = send_completed(database, "rolled-back", false).await;
    assert_eq!(first.body, "rolled back");
    let again = send_completed(database, "rolled-back", false).await;
    assert_eq!(
        again,
        Seen {
            replayed: true,
            ..first
        }
    );
    assert_eq!(database.effects("rolled-back").await, 0);
}

pub(crate) async fn a_response_over_the_limit_is_a_tombstone_and_streams_on<D: Database>(
    database: &D,
) {
    for (size, key) in [(99, "99"), (100, "100"), (101, "101")] {
        let handler = move |database: D, claim: Idempotency| async move {
            let tx = database.effect(key.into()).await;
            committed(claim.commit_with(tx, answer(&"x".repeat(size))).await)
        };
        let first = send(database, key, handler).await;
        assert_eq!(first.body.len(), size);
        let again = send(database, key, handler).await;
        if size <= 100 {
            assert_eq!(
                again,
                Seen {
                    replayed: true,
                    ..first
                }
            );
        } else {
            assert_eq!(again.status, StatusCode::CONFLICT);
        }
        assert_eq!(database.effects(key).await, 1);
    }
}

/// Nothing of it comes before the effect is committed, and nobody waits for its end.
pub(crate) async fn a_stream_of_events_is_committed_with_its_head<D: Database>(database: &D) {
    let handler = |database: D, claim: Idempotency| async move {
        let tx = database.effect("events".into()).await;
        let events = futures_util::stream::once(async move {
            assert_eq!(database.effects("events").await, 1, "it is committed");
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"data: done\n\n")))
        });
        let stream = Response::builder().header("content-type", "text/event-stream");
        let stream = stream.body(Box::pin(StreamBody::new(events))).unwrap();
        committed(claim.commit_with(tx, stream).await)
    };
    let first = send(database, "events", handler).await;
    assert_eq!(first.body, "data: done\n\n");
    let again = send(database, "events", handler).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "it was not kept");
    assert_eq!(database.effects("events").await, 1);
}

pub(crate) async fn a_transaction_of_another_database_is_refused<D: Database>(database: &D) {
    for tx in database.elsewhere().await {
        let tx = std::sync::Mutex::new(Some(tx));
        let handler = move |_: D, claim: Idempotency| {
            let tx = tx.lock().unwrap().take().unwrap();
            async move {
                let error = claim.commit_with(tx, answer("where?")).await.unwrap_err();
                assert!(matches!(error, CommitError::OtherStore), "{error:?}");
                refused(&error)
            }
        };
        let seen = send(database, "elsewhere", handler).await;
        assert_eq!(seen.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    let here = send(database, "elsewhere", orders("elsewhere")).await;
    assert_eq!(here.body, "attempt 1");
}

/// The record would stand, whatever becomes of the effect.
pub(crate) async fn a_connection_that_is_in_no_transaction_is_refused<D: Database>(database: &D) {
    let seen = send(database, "bare", |database: D, claim| async move {
        let mut bare = database.bare().await;
        let completed = claim.complete_in(&mut *bare, answer("too early")).await;
        assert!(matches!(completed, Err(CommitError::NoTransaction)));
        drop(bare);
        order(database, claim, "bare".to_owned()).await
    })
    .await;
    assert_eq!(seen.body, "attempt 1", "the claim is as it was");
    assert_eq!(database.effects("bare").await, 1);
}

/// Polls so many times, and then no more.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (std::pin::pin!(future), times);
    std::future::poll_fn(|cx| {
        let Some(fewer) = left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        left = fewer;
        let polled = future.as_mut().poll(cx).map(Some);
        if polled.is_pending() && left == 0 {
            return Poll::Ready(None);
        }
        polled
    })
    .await
}

/// Wherever the handler and its commit are when their client goes away.
pub(crate) async fn a_request_that_is_dropped_at_any_await_has_one_effect<D: Database>(
    database: &D,
) {
    for execution in [Execution::DetachOnDrop, Execution::Inline] {
        for polls in 1.. {
            let key = format!("{execution:?} dropped after {polls}");
            let (shop, name) = (database.clone(), key.clone());
            let inner = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
                let claim: Idempotency = request.extensions().get().cloned().unwrap();
                let answer = order(shop.clone(), claim, name.clone());
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let layer = IdempotencyLayer::new(database.store())
                .single_tenant()
                .execution(execution);
            let request = || {
                let request =
                    Request::post("/orders").header("idempotency-key", format!("{key:?}"));
                request.body(Full::default()).unwrap()
            };
            let service = layer.layer(inner);
            let ended = polled(polls, sent(service.clone(), request())).await;
            layer.tasks().drain().await;
            let again = sent(service, request()).await;
            layer.tasks().drain().await;
            assert_eq!(again.status, StatusCode::CREATED, "{key}: {again:?}");
            assert_eq!(database.effects(&key).await, 1, "{key}");
            if let Some(first) = ended {
                assert_eq!((first.body, true), (again.body, again.replayed));
                break;
            }
        }
    }
}
