//! Tower's contract, and the types' own promises.

use buttress_trace_ctx::{
    ClientLayer, ClientService, ResponseFuture, ServerLayer, ServerService, TraceBody, TraceLayer,
    Traced,
};
use http::{Request, Response};
use testkit::laws::read_body;

use crate::support::Seen;

testkit::tower_laws! {
    mod the_server_layer {
        readiness: PassedOn,
        layer: WithSink::new(TraceLayer::server()),
        request: || Request::new(()),
        answer: |probe, _request: Request<()>| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<_>| async { read_body(response).await },
        given_back: |layer: &WithSink<ServerLayer<Seen>>| assert_eq!(layer.seen.active(), 0),
    }
}

testkit::tower_laws! {
    mod the_client_layer {
        readiness: PassedOn,
        layer: WithSink::client(TraceLayer::client()),
        request: || Request::new(()),
        answer: |probe, _request: Request<()>| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<_>| async { read_body(response).await },
        given_back: |layer: &WithSink<ClientLayer<Seen>>| assert_eq!(layer.seen.active(), 0),
    }
}

/// A layer, and the sink to look into afterwards.
struct WithSink<L> {
    layer: L,
    seen: Seen,
}

impl WithSink<ServerLayer<Seen>> {
    fn new(layer: ServerLayer) -> Self {
        let seen = Seen::default();
        Self {
            layer: layer.sink(seen.clone()),
            seen,
        }
    }
}

impl WithSink<ClientLayer<Seen>> {
    fn client(layer: ClientLayer) -> Self {
        let seen = Seen::default();
        Self {
            layer: layer.sink(seen.clone()),
            seen,
        }
    }
}

impl<S, L: tower::Layer<S>> tower::Layer<S> for WithSink<L> {
    type Service = L::Service;

    fn layer(&self, inner: S) -> L::Service {
        self.layer.layer(inner)
    }
}

fn is_send_and_sync<T: Send + Sync>() {}
fn is_unpin<T: Unpin>() {}

#[test]
fn everything_is_send_sync_and_unpin_as_far_as_its_parts_are() {
    is_send_and_sync::<ServerLayer>();
    is_send_and_sync::<ClientLayer>();
    is_send_and_sync::<ServerService<()>>();
    is_send_and_sync::<ClientService<()>>();
    is_send_and_sync::<ResponseFuture<(), Seen>>();
    is_send_and_sync::<TraceBody<(), Seen>>();
    is_send_and_sync::<Traced<()>>();
    is_unpin::<ResponseFuture<(), Seen>>();
    is_unpin::<TraceBody<(), Seen>>();
    is_unpin::<Traced<()>>();
}
