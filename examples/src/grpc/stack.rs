//! The layers around a service, and around calls of one, in the order that ARCHITECTURE.md gives.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use buttress_circuit::{Backoff, Breaker, CircuitLayer, Probes, consecutive};
use buttress_idempotency::{IdempotencyLayer, Keep, MemoryStore, Scoped};
use buttress_trace_ctx::{Head, MatchedPath, RouteName, TraceLayer};
use buttress_wire::grpc::{Code, GRPC_STATUS};
use examples::connections;
use http::request::Parts;
use tonic::Status;
use tower::ServiceBuilder;

use crate::deadline;
use crate::records::Records;
use crate::rpc::{self, Remote, Stack};

pub(crate) type Once = IdempotencyLayer<MemoryStore, Scoped>;

/// trace → deadline → idempotency → the service.
///
/// The deadline stands inside of the trace, so that a call that is dropped has a record with its status, and outside of idempotency, which
/// brings work that has lost its caller to its end.
pub(crate) fn served(methods: Router, once: &Once, records: &Records) -> Router {
    methods
        .fallback(rpc::unimplemented)
        .layer(once.clone())
        .layer(from_fn(deadline::honour))
        .layer(TraceLayer::server().route(MatchedPath).sink(records.sink()))
}

/// One effect per key of a user's. An error of ours says that nothing was done.
pub(crate) fn once() -> Once {
    IdempotencyLayer::new(MemoryStore::new())
        .scope(user)
        .keep(|head| match head.headers.get(GRPC_STATUS) {
            Some(code) if *code != Code::Ok.to_header() => Keep::Forget,
            _ => Keep::Record,
        })
}

fn user(head: &Parts) -> Cow<'_, [u8]> {
    let user = head.headers.get("x-user");
    user.map_or(b"anybody".into(), |user| user.as_bytes().into())
}

/// trace → circuit → deadline → connection.
///
/// Retries are left to who knows that a call may be repeated: it has a key, or does nothing.
pub(crate) fn remote(breaker: Breaker, address: SocketAddr, records: &Records) -> Remote {
    let name = breaker.name().to_owned();
    let connection = connections::client()
        .http2_only(true)
        .build_http::<tonic::body::Body>();
    let connection = ServiceBuilder::new()
        .map_response(|response: http::Response<_>| response.map(Body::new))
        .map_err(move |error: hyper_util::client::legacy::Error| {
            Status::unavailable(format!("{name}: {error}"))
        })
        .service(connection);
    let stack = ServiceBuilder::new()
        .map_response(IntoResponse::into_response)
        .layer(TraceLayer::client().route(method).sink(records.sink()))
        .layer(CircuitLayer::http(breaker))
        .service(deadline::Keep(connection));
    Remote {
        stack: Stack::new(stack),
        address,
    }
}

/// Opens after so many failures in a row; in gRPC these are in headers, in trailers, or a stream that breaks off.
pub(crate) fn breaker(name: &'static str, failures: u32) -> Breaker {
    Breaker::builder(name)
        .trip(consecutive(failures))
        .open_for(Backoff::constant(Duration::from_secs(2)))
        .half_open(Probes::new(1))
        .build()
        .expect("these settings are in range")
}

/// In gRPC a path is a template already. On the server it is a stranger's, until it is matched.
fn method(head: &Head<'_>) -> Option<RouteName> {
    Some(head.uri.path().into())
}
