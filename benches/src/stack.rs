//! All the layers of a server, in the order that ARCHITECTURE.md gives, in their defaults and reporting to nobody.

use std::convert::Infallible;
use std::error::Error;

use buttress_cache::http::{CachedResponse, HttpCacheLayer};
use buttress_dedup::DedupLayer;
use buttress_idempotency::{IdempotencyLayer, MemoryStore, RequestBody};
use buttress_negotiate::{Csv, Json, NdJson, NegotiateLayer};
use buttress_trace_ctx::TraceLayer;
use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

/// trace-ctx → negotiate → cache → idempotency → dedup → `inner`.
pub fn server<S, A, B>(
    inner: S,
) -> impl Service<
    Request<A>,
    Response = Response<impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
where
    S: Service<Request<RequestBody<A>>, Response = Response<B>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    A: Body<Data = Bytes> + Send + 'static,
    A::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stored = CachedResponse::cache().build();
    let formats = (Json, NdJson::new(), Csv::new());
    let idempotency = IdempotencyLayer::new(MemoryStore::new()).single_tenant();
    let once = DedupLayer::http().layer(inner);
    let kept = HttpCacheLayer::new(stored).layer(idempotency.layer(once));
    TraceLayer::server().layer(NegotiateLayer::new(formats).layer(kept))
}
