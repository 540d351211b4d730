//! Bare hyper, which is also what stands behind the others; and all layers around a hello world.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use benches::kit::serve_on;
use benches::rows::stack::{hello, page};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use tower_service::Service;

use crate::Failure;

pub(crate) fn bare(listen: SocketAddr) -> Result<(), Failure> {
    Ok(serve_on(std::net::TcpListener::bind(listen)?, Site::new())?)
}

pub(crate) fn stack(listen: SocketAddr) -> Result<(), Failure> {
    let service = benches::stack::server(Site::new());
    Ok(serve_on(std::net::TcpListener::bind(listen)?, service)?)
}

type Page = Response<Full<Bytes>>;

/// A few pages that are there at once. hyper clones its service for each request, and that is not to cost what a page does.
#[derive(Clone, Debug)]
struct Site(Arc<Pages>);

#[derive(Debug)]
struct Pages {
    hello: Page,
    kept: Page,
    not_modified: Page,
    not_kept: Page,
}

impl Site {
    fn new() -> Self {
        let kept = page();
        let (mut not_modified, mut not_kept) = (kept.clone(), kept.clone());
        *not_modified.status_mut() = StatusCode::NOT_MODIFIED;
        *not_modified.body_mut() = Full::default();
        not_modified.headers_mut().remove(header::CONTENT_LENGTH);
        let never = header::HeaderValue::from_static("no-store");
        not_kept.headers_mut().insert(header::CACHE_CONTROL, never);
        Self(Arc::new(Pages {
            hello: hello(),
            kept,
            not_modified,
            not_kept,
        }))
    }
}

impl<B> Service<Request<B>> for Site {
    type Response = Page;
    type Error = Infallible;
    type Future = Ready<Result<Page, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_known = request.headers().contains_key(header::IF_NONE_MATCH);
        let pages = &self.0;
        ready(Ok(match request.uri().path() {
            "/hello" => pages.hello.clone(),
            "/plain" => pages.not_kept.clone(),
            _ if is_known => pages.not_modified.clone(),
            _ => pages.kept.clone(),
        }))
    }
}
