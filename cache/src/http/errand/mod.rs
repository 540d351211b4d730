//! What is kept of a request while the inner service works on it, and what is made of the answer.

mod below;
mod confirm;
mod follow;
mod keep;
mod parts;
mod take;

use std::error::Error;
use std::sync::Arc;

use buttress_wire::key::with_buffer;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use tokio::time::Instant;

pub(super) use self::below::Look;
pub(super) use self::parts::parts_key;
use super::body::CacheBody;
use super::conditional::is_conditional;
use super::decide::Plan;
use super::flight::{FlightKey, Landed, Leader, Refreshing};
use super::glance::Glance;
use super::invalidation::Target;
use super::pieces::part_of;
use super::reuse::Wish;
use super::settings::Shared;
use super::status::{CACHE_STATUS, CacheOutcome, Forwarded, Told, X_CACHE};
use super::storability::{Asked, has_validator};
use super::store::{Found, Heard, find, peek, tell};
use super::stored::Stored;
use super::validation::ask;
use super::variants::{Selecting, Variant, Variants, write_variant};
use crate::Stamp;

/// A request that is forwarded.
pub(super) struct Errand {
    pub(super) shared: Arc<Shared>,
    /// As its client sent it.
    pub(super) parts: request::Parts,
    pub(super) wish: Wish,
    pub(super) why: Forwarded,
    pub(super) primary: Arc<[u8]>,
    /// What is stored for it, and may not be used without asking.
    pub(super) stale: Option<Arc<Stored>>,
    /// What else is stored for its target.
    pub(super) variants: Option<Arc<Variants>>,
    /// Those who wait for the same.
    pub(super) leader: Option<Leader>,
    /// Its right to refresh what is used meanwhile, if it does.
    pub(super) refreshing: Option<Refreshing>,
    /// By what it is known to others who ask for the same, if it is.
    pub(super) flight: Option<FlightKey>,
    /// What had been stored when it was looked for.
    pub(super) filed: u64,
    /// It looked for itself in other flights before.
    pub(super) has_followed: bool,
    /// When it came, as the clock of invalidations has it.
    pub(super) asked_at: Stamp,
    /// Where the rule is kept that the primary key was made by, if that is known.
    rule: Option<Vec<u8>>,
    /// In a box, since most requests change nothing.
    target: Option<Box<Target>>,
    asked: Asked,
    /// Its client has said what part of a response it wants, or under what conditions.
    is_particular: bool,
    /// What the origin was asked about.
    candidates: Vec<Candidate>,
    stamp: Stamp,
    pub(super) begun: Instant,
}

/// A stored response that the origin may say still holds.
struct Candidate {
    stored: Arc<Stored>,
    key: Arc<[u8]>,
}

impl Errand {
    pub(super) fn new(shared: &Arc<Shared>, request: &Glance<'_>, plan: Plan) -> Self {
        let (parts, wish) = (request.parts, Wish::at(request));
        let stamp = shared.cache.stamp();
        let is_unsafe = !parts.method.is_safe();
        Self {
            shared: Arc::clone(shared),
            asked: Asked::by(request, &wish),
            is_particular: request.is_particular(),
            wish,
            why: plan.why,
            primary: plan.primary,
            stale: plan.stale,
            variants: plan.variants,
            leader: None,
            refreshing: None,
            flight: plan.flight,
            filed: plan.filed,
            has_followed: false,
            rule: None,
            target: is_unsafe.then(|| Box::new(Target::of(parts))),
            parts: copy(parts, shared.has_hooks()),
            candidates: Vec::new(),
            asked_at: stamp,
            stamp,
            begun: plan.now,
        }
    }

    /// The inner service is called now: the response is as old as that, and whatever is invalidated from here on counts.
    pub(super) fn begin<B>(&mut self, request: &mut Request<B>) {
        self.stamp = self.shared.cache.stamp();
        self.begun = Instant::now();
        self.candidates = self.candidates();
        // Who leads asks for the whole, for everybody.
        let is_for_all = self.leader.is_some() && self.is_particular;
        if !self.candidates.is_empty() || is_for_all {
            let of_own = self.candidates.first().filter(|_| self.stale.is_some());
            let stored = of_own.map(|own| own.stored.recorded.headers());
            let tags: Vec<_> = self.candidates.iter().filter_map(Candidate::tag).collect();
            ask(request.headers_mut(), stored, &tags);
        }
    }

    /// What the origin can be asked about (RFC 9111, 4.3.1): what is stored for this request, or else for others of its target.
    fn candidates(&self) -> Vec<Candidate> {
        if self.why == Forwarded::Bypass || !is_read(&self.parts.method) {
            return Vec::new();
        }
        if let Some(stale) = &self.stale {
            let own = Candidate {
                stored: Arc::clone(stale),
                key: self.key_of(stale.recorded.headers()),
            };
            let is_of_use = has_validator(stale.recorded.headers());
            return Vec::from_iter(is_of_use.then_some(own));
        }
        let Some(known) = &self.variants else {
            return Vec::new();
        };
        // A client that asks about what it has itself is to be told of that.
        if self.parts.method != Method::GET || is_conditional(&self.parts.headers) {
            return Vec::new();
        }
        let now = Instant::now();
        let keys = known.keys.iter();
        keys.take(MAX_TAGS)
            .filter_map(|key| {
                let stored = peek(&self.shared.cache, key, now)?;
                let key = Arc::clone(key);
                let candidate = Candidate { stored, key };
                candidate.tag().is_some().then_some(candidate)
            })
            .collect()
    }

    /// Requests like this one wait for nobody, for a while.
    fn remember_private(&self) {
        if let Some(flight) = &self.flight {
            self.shared.private.remember(flight.hash);
        }
    }

    /// Requests like this one refresh nothing, for a while: what they get is not stored.
    fn remember_vain(&self) {
        if let Some(flight) = self.flight.as_ref().filter(|_| self.refreshing.is_some()) {
            self.shared.vain.remember(flight.hash);
        }
    }

    /// What the store has for this request now.
    pub(super) fn find(&self, now: Instant) -> Found {
        let normalize = self.shared.normalize.as_deref();
        let request = Glance::at(&self.parts);
        find(&self.shared.cache, &self.primary, &request, normalize, now)
    }

    /// What a response with these fields goes by that is stored for this request.
    fn key_of(&self, headers: &HeaderMap) -> Arc<[u8]> {
        match self.variant(headers) {
            Some((_, key)) => key,
            None => Arc::clone(&self.primary),
        }
    }

    fn variant(&self, headers: &HeaderMap) -> Option<Variant> {
        let selecting = self.shared.usual.selecting(headers)?;
        let key = self.variant_key(&self.primary, &selecting);
        Some((selecting, key))
    }

    /// The key that this request's values of some fields give.
    fn variant_key(&self, primary: &[u8], selecting: &Selecting) -> Arc<[u8]> {
        let normalize = self.shared.normalize.as_deref();
        let request = &self.parts.headers;
        with_buffer(|key| {
            write_variant(key, primary, selecting, request, normalize);
            key.as_slice().into()
        })
    }

    /// Nobody answered. What is stale may do.
    pub(super) fn failed<B>(&mut self) -> Option<Response<CacheBody<B>>> {
        self.remove_target();
        let stale = self.stale_instead(None);
        tell(&self.shared.cache, &self.primary, Heard::FillFailed);
        if let Some(leader) = self.leader.take() {
            leader.complete(Landed::Failed(None));
        }
        stale
    }

    /// The inner service has answered.
    pub(super) fn respond<B>(&mut self, response: Response<B>) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (head, body) = response.into_parts();
        if head.status == StatusCode::NOT_MODIFIED && !self.candidates.is_empty() {
            return self.confirmed(&head);
        }
        if is_failure(head.status)
            && let Some(stale) = self.stale_instead(Some(head.status))
        {
            tell(&self.shared.cache, &self.primary, Heard::FillFailed);
            if let Some(leader) = self.leader.take() {
                leader.complete(Landed::Failed(Some(head.status)));
            }
            return stale;
        }
        let is_alone = self.shared.cache.stamp() == self.stamp;
        self.invalidate(&head);
        // What it took away was before it; if nothing else was, it is newer than all of that.
        if is_alone && self.is_storable_post(&head) {
            self.stamp = self.shared.cache.stamp();
            self.asked.method = Method::GET;
        }
        if let Some((part, total)) = part_of(&head) {
            return self.keep_part(head, body, part, total);
        }
        match self.judge(&head) {
            Some(judged) => self.keep(head, body, judged),
            None => self.pass(head, body),
        }
    }

    fn tell(&self, head: &mut response::Parts, stored: bool) {
        let outcome = CacheOutcome::Forwarded(self.why);
        if self.shared.tell_key {
            let told = Told {
                why: Some(self.why),
                stored,
                ..Told::default()
            };
            self.mark_with(&mut head.headers, outcome, self.line(told));
        } else {
            let line = self.shared.lines.forwarded(self.why, stored);
            self.mark_with(&mut head.headers, outcome, line);
        }
        if self.shared.extension {
            head.extensions.insert(outcome);
        }
    }

    /// This cache's word.
    fn line(&self, told: Told<'_>) -> HeaderValue {
        let key = self.shared.told_key(&self.parts);
        let told = Told {
            key: key.as_deref(),
            ..told
        };
        told.line(&self.shared.marks.name)
    }

    /// Adds it after those of the caches nearer to the origin (RFC 9211, section 2).
    fn mark_with(&self, headers: &mut HeaderMap, outcome: CacheOutcome, line: HeaderValue) {
        headers.append(CACHE_STATUS, line);
        if self.shared.marks.x_cache {
            headers.insert(X_CACHE, outcome.x_cache());
        }
    }
}

impl Candidate {
    fn tag(&self) -> Option<HeaderValue> {
        let headers = self.stored.recorded.headers();
        headers.get(http::header::ETAG).cloned()
    }
}

/// How many entity tags one request asks about.
const MAX_TAGS: usize = 16;

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The statuses for which what is stale may be used (RFC 5861, 4).
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502..=504)
}

/// Extensions are copied only for those who look at them.
fn copy(parts: &request::Parts, with_extensions: bool) -> request::Parts {
    let mut kept = Request::new(()).into_parts().0;
    kept.method = parts.method.clone();
    kept.uri = parts.uri.clone();
    kept.version = parts.version;
    kept.headers = parts.headers.clone();
    if with_extensions {
        kept.extensions = parts.extensions.clone();
    }
    kept
}
