//! Connections that turn into something else (`Upgrade`): past all layers, and from then on bytes in both directions.

use http::header::{CONNECTION, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::gateway::proxy::{Body, TOO_LONG, boxed, refuse};
use crate::gateway::routes::Upstream;
use crate::gateway::stack::Gateway;

pub(crate) fn is_wanted<B>(request: &Request<B>) -> bool {
    request.version() == http::Version::HTTP_11
        && request.headers().contains_key(UPGRADE)
        && buttress_wire::fields::list_contains(request.headers(), CONNECTION, "upgrade")
}

/// Asks the upstream, which has to say in time whether it agrees; if it does, copies until one side ends, or the gateway.
pub(crate) async fn open(
    gateway: &Gateway,
    upstream: &Upstream,
    mut request: Request<Body>,
) -> Response<Body> {
    let headers = request.headers().clone();
    let client = hyper::upgrade::on(&mut request);
    *request.uri_mut() = upstream.uri(request.uri());
    let mut response =
        match tokio::time::timeout(gateway.timeout, gateway.pool.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return refuse(&headers, StatusCode::BAD_GATEWAY, &error),
            Err(_) => return refuse(&headers, StatusCode::GATEWAY_TIMEOUT, &TOO_LONG),
        };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let upstream = hyper::upgrade::on(&mut response);
        let over = gateway.over.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = copy(client, upstream) => {}
            }
        });
    }
    boxed(response)
}

async fn copy(client: OnUpgrade, upstream: OnUpgrade) {
    if let (Ok(client), Ok(upstream)) = tokio::join!(client, upstream) {
        let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
        // An end that breaks is an end.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
    }
}
