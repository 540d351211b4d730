//! How often one caller may ask: `tower_governor`, a layer that knows nothing of ours.
//!
//! It stands inside of who says who is calling, since it counts by that, and outside of everything that costs something: a caller who asks too often
//! reaches no cache, claims no key and joins no flight.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::IntoResponse;
use buttress_wire::{Refusal, grpc::Code};
use governor::middleware::NoOpMiddleware;
use http::{HeaderMap, Request, Response, StatusCode};
use tower_governor::governor::{GovernorConfig, GovernorConfigBuilder};
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::storefront::args::Args;
use crate::storefront::caller::Caller;

pub(crate) type LimitLayer = GovernorLayer<ByCaller, NoOpMiddleware, Body>;

/// So many in a burst, and then so many a second, for each caller.
#[derive(Clone)]
pub(crate) struct Limits(Arc<GovernorConfig<ByCaller, NoOpMiddleware>>);

impl Limits {
    pub(crate) fn new(args: &Args) -> Self {
        let config = GovernorConfigBuilder::default()
            .key_extractor(ByCaller)
            .period(Duration::from_secs(1) / args.rate.get())
            .burst_size(args.burst.get())
            .finish();
        Self(Arc::new(config.expect("neither is zero")))
    }

    pub(crate) fn layer(&self) -> LimitLayer {
        GovernorLayer::new(Arc::clone(&self.0)).error_handler(refuse)
    }

    /// Forgets, once a minute, who has not asked for a while. A future to be owned by whoever serves.
    pub(crate) async fn forget_the_idle(self) {
        let mut minutes = tokio::time::interval(Duration::from_secs(60));
        loop {
            minutes.tick().await;
            self.0.limiter().retain_recent();
        }
    }
}

/// Whoever has a token is counted as who it says, everybody else by his address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByCaller;

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Counted {
    As(String),
    At(Option<IpAddr>),
}

impl KeyExtractor for ByCaller {
    type Key = Counted;

    fn extract<T>(&self, request: &Request<T>) -> Result<Counted, GovernorError> {
        let caller = request.extensions().get::<Caller>();
        if let Some(caller) = caller.filter(|caller| !caller.is_anonymous()) {
            return Ok(Counted::As(caller.key().to_owned()));
        }
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Ok(Counted::At(peer.map(|ConnectInfo(peer)| peer.ip())))
    }
}

fn refuse(error: GovernorError) -> Response<Body> {
    let refusal = Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "urn:storefront:problem:rate",
        "You have asked too often",
        Code::ResourceExhausted,
    );
    let refusal = match error {
        // It counts whole seconds, those that are begun not among them.
        GovernorError::TooManyRequests { wait_time, .. } => {
            refusal.retry_after(Duration::from_secs(wait_time + 1))
        }
        _ => refusal,
    };
    refusal.response(&HeaderMap::new()).into_response()
}
