//! Criterion on the HTTP cache's rows of `rows/cache.rs`; and two threads at one cache, which ask for the same.

mod support;
#[path = "support/two_threads.rs"]
mod two_threads;

use std::convert::Infallible;

use benches::kit::{body_to_end, call};
use benches::rows::cache::{HTTP_ROWS, kept};
use benches::rows::http::{Fixed, request, response};
use buttress_cache::{Eviction, Memory};
use bytes::Bytes;
use criterion::Criterion;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use tower_service::Service;

use two_threads::two_threads;

fn main() {
    support::bench(HTTP_ROWS, both_at_once);
}

fn both_at_once(criterion: &mut Criterion) {
    for (path, len) in [("hit-1k", 1 << 10), ("hit-64k", 64 << 10)] {
        let id = |name| format!("http-cache/{path}/{name}");
        let bare = Fixed::new(response(len));
        two_threads(criterion, &id("bare"), || asks(&bare));
        let service = kept(len, Memory::default());
        two_threads(criterion, &id("ours"), || asks(&service));
        let service = kept(len, Memory::Moka(Eviction::TinyLfu));
        two_threads(criterion, &id("ours-moka"), || asks(&service));
    }
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
