//! Criterion on `rows/stack.rs`; and two threads at one stack.

mod support;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::convert::Infallible;

use benches::kit::{body_to_end, call};
use benches::rows::http::{Fixed, request};
use benches::rows::stack::{ROWS, hello};
use benches::stack::server;
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_service::Service;

use two_threads::two_threads;

fn main() {
    support::bench(ROWS, both_at_once);
}

fn both_at_once(criterion: &mut Criterion) {
    let bare = Fixed::new(hello());
    two_threads(criterion, "stack/hello/bare", || asks(&bare));
    let layered = server(bare);
    two_threads(criterion, "stack/hello/ours", || asks(&layered));
}

fn asks<S, B>(service: &S) -> impl FnMut() + Send + use<S, B>
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: Body,
{
    let (mut service, request) = (service.clone(), request(&[]));
    move || {
        let Ok(response) = call(&mut service, request.clone());
        body_to_end(response);
    }
}
