//! Connections that turn into something else (`Upgrade`): past all layers, and from then on bytes in both directions.

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;

use crate::proxy::{Body, Pool, TOO_LONG, boxed, refuse};
use crate::routes::Upstream;

pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    request.version() == http::Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && buttress_wire::fields::list_contains(request.headers(), CONNECTION, "upgrade")
}

/// Asks the upstream, which has to say within `timeout` whether it agrees; if it does, copies until one side ends.
pub(crate) async fn open(
    pool: &Pool,
    upstream: &Upstream,
    timeout: Duration,
    mut request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers().clone();
    let client = hyper::upgrade::on(&mut request);
    *request.uri_mut() = upstream.uri(request.uri());
    let mut response = match tokio::time::timeout(timeout, pool.request(request)).await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => return refuse(&headers, StatusCode::BAD_GATEWAY, &error),
        Err(_) => return refuse(&headers, StatusCode::GATEWAY_TIMEOUT, &TOO_LONG),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut response);
        // Ends with either connection; the server's shutdown drops them both.
        tokio::spawn(async move {
            if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            }
        });
    }
    boxed(response)
}
