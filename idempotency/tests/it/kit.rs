//! A shop behind the layer: each call is an effect that is counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use buttress_idempotency::{
    Event, IdempotencyLayer, Idempotent, IdempotentBody, MemoryStore, RequestBody, Scoped,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use testkit::body::HandBody;
use testkit::probe::ProbeError;
use tokio::sync::Semaphore;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, service_fn};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type Body = Either<Full<Bytes>, HandBody>;
pub(crate) type Answer = Result<Response<Body>, ProbeError>;
type Inner = BoxCloneSyncService<Request<RequestBody<Full<Bytes>>>, Response<Body>, ProbeError>;
type Handler = Box<dyn Fn(&Request<Bytes>) -> Answer + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) layer: IdempotencyLayer<MemoryStore, Scoped>,
    handler: Arc<Mutex<Handler>>,
    effects: Arc<AtomicUsize>,
    /// A handler waits for a permit before it has its effect.
    pub(crate) gate: Arc<Semaphore>,
    events: Arc<Mutex<Vec<&'static str>>>,
}

pub(crate) fn shop() -> Shop {
    with(|layer| layer)
}

pub(crate) fn with(
    set: impl FnOnce(IdempotencyLayer<MemoryStore, Scoped>) -> IdempotencyLayer<MemoryStore, Scoped>,
) -> Shop {
    let events = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&events);
    let layer = IdempotencyLayer::new(MemoryStore::new())
        .scope(|request| match request.headers.get("x-user") {
            Some(user) => user.as_bytes().into(),
            None => b"".into(),
        })
        .observer(move |event: &Event<'_>| heard.lock().unwrap().push(event.name()));
    Shop {
        layer: set(layer),
        handler: Arc::new(Mutex::new(Box::new(|request| {
            let body = [b"ordered ", &request.body()[..]].concat();
            Ok(respond(
                StatusCode::CREATED,
                &[("location", "/orders/1")],
                Either::Left(body.into()),
            ))
        }))),
        effects: Arc::default(),
        gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        events,
    }
}

pub(crate) fn respond(status: StatusCode, fields: &[(&str, &str)], body: Body) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body).unwrap()
}

pub(crate) fn order(key: &str, body: &'static str) -> Req {
    Request::post("/orders")
        .header("idempotency-key", key)
        .body(body.into())
        .unwrap()
}

/// A response as its client sees it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Result<Bytes, String>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Seen {
    pub(crate) async fn of(response: Response<IdempotentBody<Body>>) -> Self {
        let (head, body) = response.into_parts();
        let body = body.collect().await;
        let trailers = body.as_ref().ok().and_then(|body| body.trailers().cloned());
        let body = body
            .map(|body| body.to_bytes())
            .map_err(|error| error.to_string());
        Self {
            status: head.status,
            headers: head.headers,
            body,
            trailers,
        }
    }

    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.field("idempotency-replayed") == "true"
    }

    /// The type of the problem.
    pub(crate) fn problem(&self) -> String {
        let problem: serde_json::Value =
            serde_json::from_slice(self.body.as_ref().unwrap()).unwrap();
        problem["type"]
            .as_str()
            .unwrap()
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned()
    }
}

impl Shop {
    pub(crate) fn answers(
        &self,
        handler: impl Fn(&Request<Bytes>) -> Answer + Send + Sync + 'static,
    ) -> &Self {
        *self.handler.lock().unwrap() = Box::new(handler);
        self
    }

    pub(crate) fn service(&self) -> Idempotent<Inner, MemoryStore> {
        let shop = self.clone();
        let inner = service_fn(move |request: Request<RequestBody<Full<Bytes>>>| {
            let shop = shop.clone();
            async move {
                let (head, body) = request.into_parts();
                let request = Request::from_parts(head, body.collect().await.unwrap().to_bytes());
                shop.gate.acquire().await.unwrap().forget();
                shop.effects.fetch_add(1, Ordering::SeqCst);
                shop.handler.lock().unwrap()(&request)
            }
        });
        self.layer.layer(BoxCloneSyncService::new(inner))
    }

    pub(crate) async fn call(&self, request: Req) -> Response<IdempotentBody<Body>> {
        self.service().call(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Req) -> Seen {
        Seen::of(self.call(request).await).await
    }

    pub(crate) fn effects(&self) -> usize {
        self.effects.load(Ordering::SeqCst)
    }

    /// Whether there was an event of this name.
    pub(crate) fn heard(&self, event: &str) -> bool {
        self.events.lock().unwrap().contains(&event)
    }

    /// Waits for everything that goes on without its caller.
    pub(crate) async fn drain(&self) {
        self.layer.tasks().drain().await;
    }
}
