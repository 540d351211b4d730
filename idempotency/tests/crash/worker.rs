//! A process that sends each key of a round until it is answered.

use std::io::Write;
use std::time::Duration;

use buttress_idempotency::{IdempotencyLayer, RequestBody, Store};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};

use crate::handler::{self, Handler};
use crate::plan::{KEYS, Plan, Work};

/// Short, so that crashes are recovered from in the time of a test.
pub(crate) const LEASE: Duration = Duration::from_millis(150);
/// How many requests a worker has under way.
const AT_ONCE: usize = 4;

pub(crate) fn run(work: Work) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        match work.plan {
            Plan::Postgres => {
                let handler = handler::OnPostgres::new(&work);
                all(work, handler.store(), handler).await;
            }
            Plan::Sqlite => {
                let handler = handler::OnSqlite::new(&work);
                all(work, handler.store(), handler).await;
            }
            Plan::Planted(bug) => {
                let handler = handler::Planted::new(&work, bug);
                all(work, handler.store(), handler).await;
            }
            Plan::RedisReject | Plan::RedisReexecute => {
                let store = buttress_idempotency::RedisStore::open(&work.url).unwrap();
                let handler = handler::InAFile::new(&work);
                all(work, store, handler).await;
            }
        }
    });
}

async fn all<St: Store + Clone, H: Handler>(work: Work, store: St, handler: H) {
    let clients: Vec<_> = (0..AT_ONCE)
        .map(|_| tokio::spawn(client(work.clone(), store.clone(), handler.clone())))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn client<St: Store + Clone, H: Handler>(work: Work, store: St, handler: H) {
    let mut open: Vec<String> = (0..KEYS).map(|n| work.key(n)).collect();
    fastrand::shuffle(&mut open);
    while !open.is_empty() {
        let mut left = Vec::new();
        for key in open {
            if !send(&work, &store, &handler, &key).await {
                left.push(key);
            }
        }
        open = left;
        // Their first requests are under way, or their holders were killed, or the server was.
        tokio::time::sleep(LEASE / 10).await;
    }
}

/// Whether there is nothing more to be had for the key.
async fn send<St: Store + Clone, H: Handler>(
    work: &Work,
    store: &St,
    handler: &H,
    key: &str,
) -> bool {
    let (handler, effect) = (handler.clone(), key.to_owned());
    let inner = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
        let (handler, key) = (handler.clone(), effect.clone());
        async move {
            let claim = request.extensions().get().cloned().unwrap();
            Ok::<_, std::convert::Infallible>(handler.handle(claim, key).await)
        }
    });
    let layer = IdempotencyLayer::new(store.clone())
        .single_tenant()
        .lease(LEASE)
        .recovery(handler::recovery(work.plan));
    let request = Request::post("/").header("idempotency-key", key);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8_lossy(&body);
    match head.status {
        StatusCode::CREATED => {
            let replayed = head.headers.contains_key("idempotency-replayed");
            say(key, &body, if replayed { "replayed" } else { "first" });
            true
        }
        StatusCode::CONFLICT => body.contains("outcome-unknown") && work.plan == Plan::RedisReject,
        _ => false,
    }
}

/// In one write, so that no half of a line is ever read.
fn say(key: &str, body: &str, how: &str) {
    let line = format!("! {key} {body} {how}\n");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(line.as_bytes());
}

/// The answer of an effect: no two are the same.
pub(crate) fn answer() -> Response<Full<Bytes>> {
    let body = format!("{:032x}", fastrand::u128(..));
    let created = Response::builder().status(StatusCode::CREATED);
    created.body(body.into()).unwrap()
}
