//! Tower's contract, and the types' own promises.

use buttress_negotiate::{
    DecodeError, Json, Negotiate, NegotiateBody, NegotiateLayer, Negotiated, Offers, ReplyBody,
    ResponseFuture, Streaming,
};
use http::{Request, Response};
use testkit::laws::read_body;

testkit::tower_laws! {
    mod the_layer {
        readiness: PassedOn,
        layer: NegotiateLayer::new((Json,)),
        request: || Request::new(()),
        answer: |probe, _request: Request<()>| Ok(Response::new(probe.body(&["a", "b"]))),
        read: |response: Response<_>| async { read_body(response).await },
        given_back: |_layer| {},
    }
}

#[test]
fn everything_is_send_sync_and_unpin_as_far_as_its_parts_are() {
    fn is_send_and_sync<T: Send + Sync>() {}
    fn is_send<T: Send>() {}
    fn is_unpin<T: Unpin>() {}
    is_send_and_sync::<NegotiateLayer<(Json,)>>();
    is_send_and_sync::<Negotiate<(), (Json,)>>();
    is_send_and_sync::<Negotiated<(Json,)>>();
    is_send_and_sync::<NegotiateBody<()>>();
    is_send_and_sync::<ResponseFuture<(), (Json,)>>();
    is_send_and_sync::<Offers<()>>();
    is_send::<ReplyBody>();
    is_send::<Streaming<(Json,), &'static str>>();
    is_send_and_sync::<DecodeError>();
    is_unpin::<ReplyBody>();
    is_unpin::<Streaming<(Json,), std::marker::PhantomPinned>>();
    is_unpin::<NegotiateBody<()>>();
    is_unpin::<ResponseFuture<(), (Json,)>>();
}
