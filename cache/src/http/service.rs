//! The service: always ready; a hit is an answer at once.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use buttress_dedup::Role;
use buttress_wire::key::with_buffer;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::CacheBody;
use super::decide::{Answer, Way, decide, look_again, stale_answer};
use super::errand::Errand;
use super::flight::Landed;
use super::future::{Forward, Own, ResponseFuture};
use super::glance::Glance;
use super::refresh::{Inline, Mode, Refresh};
use super::settings::Shared;
use super::store::{Heard, tell};
use super::whole::Whole;
use crate::Stale;

/// Made by [`HttpCacheLayer`](super::HttpCacheLayer).
#[derive(Clone)]
pub struct HttpCache<S, M = Inline> {
    inner: S,
    shared: Arc<Shared>,
    mode: M,
}

impl<S, M> HttpCache<S, M> {
    pub(super) fn new(inner: S, shared: Arc<Shared>, mode: M) -> Self {
        Self {
            inner,
            shared,
            mode,
        }
    }
}

impl<S, ReqB, B, M> Service<Request<ReqB>> for HttpCache<S, M>
where
    S: Service<Request<ReqB>, Response = Response<B>> + Clone,
    ReqB: Body,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    M: Mode<Refresh<S, ReqB, B>>,
{
    type Response = Response<CacheBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqB, B>;

    /// Always ready: a clone of the inner service is made ready when it is needed.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let glance = Glance::at(&parts);
        let has_body = !body.is_end_stream();
        let mut plan = None;
        let answer = with_buffer(|key| {
            self.shared.write_primary(key, &glance);
            decide(&self.shared, &glance, has_body, key, &mut plan)
        });
        match answer {
            Some(Answer::Whole(stored, age)) => {
                let words = stored.words(&self.shared.marks.name, age);
                return ResponseFuture::hit(Whole::new(stored, words));
            }
            Some(Answer::Made(response)) => return ResponseFuture::answer(*response),
            None => {}
        }
        let plan = plan.expect("what is not answered is forwarded");
        let way = plan.way;
        let errand = Errand::new(&self.shared, &glance, plan);
        let own = Box::new(Own {
            errand,
            call: Some((self.inner.clone(), Request::from_parts(parts, body))),
        });
        match way {
            Way::Alone => ResponseFuture::forward(own),
            Way::Shared => ResponseFuture::join(own),
            Way::Refresh => self.refresh(own),
        }
    }
}

impl<S, M> HttpCache<S, M> {
    /// Uses what is stale, while the first who does so asks for it anew.
    fn refresh<ReqB, B>(&self, mut own: Box<Own<S, ReqB>>) -> ResponseFuture<S, ReqB, B>
    where
        S: Service<Request<ReqB>>,
        M: Mode<Refresh<S, ReqB, B>>,
    {
        let flight = own.errand.flight.clone();
        let (cache, key) = (&self.shared.cache, Arc::clone(&own.errand.primary));
        let stale = stale_answer(&own.errand);
        let use_stale = |stale| {
            tell(cache, &key, Heard::Hit);
            tell(cache, &key, Heard::ServedStale(Stale::Revalidating));
            ResponseFuture::answer(stale)
        };
        let Some(flight) = flight.filter(|_| own.errand.can_refresh()) else {
            return use_stale(stale);
        };
        let stored = own.errand.refresh_key();
        let Role::Leader(refreshing) = self.shared.refreshes.join(stored) else {
            return use_stale(stale);
        };
        own.errand.refreshing = Some(refreshing);
        match self.shared.flights.join(flight.key) {
            Role::Leader(leader) => own.errand.leader = Some(leader),
            // Somebody who could not use it has asked already.
            Role::Follower(_) => return use_stale(stale),
            Role::Landed(Landed::Streaming(head, _)) if own.errand.is_current(&head) => {
                return use_stale(stale);
            }
            Role::Landed(_) | Role::Full => {}
        }
        // Somebody may have refreshed it between our look and our lead.
        if let Some(response) = look_again(&own.errand) {
            return ResponseFuture::answer(response);
        }
        let work = Refresh::new(Forward::new(own));
        match self.mode.spawn(work).and_then(Refresh::into_forward) {
            Some(forward) => {
                tell(cache, &key, Heard::Miss);
                ResponseFuture::refreshed(forward)
            }
            None => use_stale(stale),
        }
    }
}

impl<S: fmt::Debug, M> fmt::Debug for HttpCache<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpCache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
