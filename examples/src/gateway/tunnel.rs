//! Connections that turn into something else (`Upgrade`): past all layers, and from then on bytes in both directions.

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tower::BoxError;

use crate::proxy::{Body, Pool, boxed};
use crate::routes::Upstream;

pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    request.version() == http::Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && buttress_wire::fields::list_contains(request.headers(), CONNECTION, "upgrade")
}

/// Asks the upstream; if it agrees, copies until one side ends.
pub(crate) async fn open(
    pool: &Pool,
    upstream: &Upstream,
    mut request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let client = hyper::upgrade::on(&mut request);
    *request.uri_mut() = upstream.uri(request.uri());
    let mut response = pool.request(request).await?;
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
    Ok(boxed(response))
}
