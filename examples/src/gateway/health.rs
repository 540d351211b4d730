//! Which of several upstreams take requests.

use std::sync::Arc;
use std::time::Duration;

use buttress_circuit::{Breaker, State};
use http::{Request, Uri};
use tokio::task::JoinSet;

use crate::gateway::proxy::{Body, Pool};
use crate::gateway::routes::Upstream;

/// How often an upstream is asked, and how long it may take.
const EVERY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks each upstream at `path` whether it serves, until this is dropped. One that does not say so in time, with a status of success, gets no request while there is another.
pub(crate) fn watch(
    pool: &Pool,
    upstreams: impl Iterator<Item = (Arc<Upstream>, Option<Breaker>)>,
    path: &Uri,
) -> JoinSet<()> {
    let mut watches = JoinSet::new();
    for (upstream, breaker) in upstreams {
        watches.spawn(watch_one(pool.clone(), upstream, breaker, path.clone()));
    }
    watches
}

async fn watch_one(pool: Pool, upstream: Arc<Upstream>, breaker: Option<Breaker>, path: Uri) {
    let mut turns = tokio::time::interval(EVERY);
    loop {
        turns.tick().await;
        let serves = serves(&pool, &upstream, &path);
        let serves = tokio::time::timeout(PATIENCE, serves).await == Ok(true);
        upstream.set_serving(serves);
        if let Some(breaker) = breaker.as_ref().filter(|_| serves) {
            probe(breaker).await;
        }
    }
}

async fn serves(pool: &Pool, upstream: &Upstream, path: &Uri) -> bool {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = upstream.uri(path);
    let response = pool.request(request).await;
    response.is_ok_and(|response| response.status().is_success())
}

/// While another upstream can take them, no request is sent as a probe: it could be refused, where two come at once. The answer to ours is the probe.
async fn probe(breaker: &Breaker) {
    if breaker.state() == State::HalfOpen {
        let _ = breaker
            .call(async || Ok::<_, std::convert::Infallible>(()))
            .await;
    }
}
