//! Criterion on `rows/idempotency.rs`; and two threads with the same key.

mod support;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::convert::Infallible;

use benches::kit::{body_to_end, call};
use benches::rows::http::{Body, Fixed, response};
use benches::rows::idempotency::{ROWS, done, order};
use criterion::Criterion;
use http::{Request, Response};
use tower_service::Service;

use two_threads::two_threads;

fn main() {
    support::bench(ROWS, both_at_once);
}

fn both_at_once(criterion: &mut Criterion) {
    let bare = Fixed::new(response(1 << 10));
    two_threads(criterion, "idempotency/replay/bare", || asks(&bare));
    let service = done();
    two_threads(criterion, "idempotency/replay/ours", || asks(&service));
}

fn asks<S, B>(service: &S) -> impl FnMut() + Send + use<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send,
    B: http_body::Body,
{
    let (mut service, order) = (service.clone(), order());
    move || {
        let Ok(response) = call(&mut service, order.clone());
        body_to_end(response);
    }
}
