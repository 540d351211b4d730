//! What is kept of a request while the inner service works on it, and what is made of the answer.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use buttress_dedup::http::Flight;
use buttress_wire::fields::{announced_length, end_to_end, is_event_stream};
use buttress_wire::key::KeyBuilder;
use buttress_wire::tape::Tape;
use buttress_wire::{Outcome, Recorded, Recorder, Recording};
use bytes::Bytes;
use http::header::{AGE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, request, response};
use http_body::Body;
use tokio::time::Instant;

use super::CacheTags;
use super::answer::{age_value, answer, unmatched};
use super::body::CacheBody;
use super::flight::{Head, Landed, Leader, laggards, live};
use super::invalidation::{Target, groups, invalidated_groups};
use super::pieces::{Pieces, part_of, whole_head};
use super::query::SearchRule;
use super::reuse::Wish;
use super::settings::Shared;
use super::status::{CACHE_STATUS, CacheOutcome, Forwarded, Told, X_CACHE};
use super::storability::{Arrival, Asked, Verdict, has_validator, is_explicit, storable};
use super::store::{
    Made, Place, Stored, emit, invalidate, is_current, peek, remove, set_search_rule,
};
use super::validation::{Confirms, ask, confirms, contradicts, updated};
use super::variants::{Selecting, Variants, selecting, write_variant};
use crate::{Depth, Event, Stamp};

/// A request that is forwarded.
pub(super) struct Errand {
    pub(super) shared: Arc<Shared>,
    /// As its client sent it.
    pub(super) parts: request::Parts,
    pub(super) wish: Wish,
    pub(super) why: Forwarded,
    pub(super) primary: Vec<u8>,
    /// What is stored for it, and may not be used without asking.
    pub(super) stale: Option<Arc<Stored>>,
    /// What else is stored for its target.
    pub(super) variants: Option<Arc<Variants>>,
    /// Those who wait for the same.
    pub(super) leader: Option<Leader>,
    /// By what it is known to others who ask for the same; empty if it is not.
    pub(super) flight: Arc<[u8]>,
    /// It looked for itself in other flights before.
    pub(super) has_followed: bool,
    /// When it came, as the clock of invalidations has it.
    pub(super) asked_at: Stamp,
    /// Where the rule is kept that the primary key was made by, if that is known.
    rule: Option<Vec<u8>>,
    target: Option<Target>,
    asked: Asked,
    /// What the origin was asked about.
    candidates: Vec<Candidate>,
    stamp: Stamp,
    begun: Instant,
}

/// A stored response that the origin may say still holds.
struct Candidate {
    stored: Arc<Stored>,
    key: Arc<[u8]>,
}

impl Errand {
    pub(super) fn new(
        shared: &Arc<Shared>,
        parts: &request::Parts,
        primary: Vec<u8>,
        why: Forwarded,
    ) -> Self {
        let stamp = shared.cache.stamp();
        let is_unsafe = !parts.method.is_safe();
        Self {
            shared: Arc::clone(shared),
            asked: Asked::of(&parts.method, &parts.headers),
            wish: Wish::of(&parts.headers),
            why,
            primary,
            stale: None,
            variants: None,
            leader: None,
            flight: Arc::new([]),
            has_followed: false,
            rule: None,
            target: is_unsafe.then(|| Target::of(parts)),
            parts: copy(parts, shared.has_hooks()),
            candidates: Vec::new(),
            asked_at: stamp,
            stamp,
            begun: Instant::now(),
        }
    }

    /// The inner service is called now: the response is as old as that, and whatever is invalidated from here on counts.
    pub(super) fn begin<B>(&mut self, request: &mut Request<B>) {
        self.stamp = self.shared.cache.stamp();
        self.begun = Instant::now();
        self.candidates = self.candidates();
        // Who leads asks for the whole, for everybody.
        if !self.candidates.is_empty() || self.leader.is_some() {
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
        // A client that asks about what it has itself is to be told of that.
        if self.parts.method != Method::GET || self.is_conditional() {
            return Vec::new();
        }
        let keys = self.variants.iter().flat_map(|known| &known.keys);
        let now = Instant::now();
        keys.take(MAX_TAGS)
            .filter_map(|key| {
                let stored = peek(&self.shared.cache, key, now)?;
                let key = Arc::clone(key);
                let candidate = Candidate { stored, key };
                candidate.tag().is_some().then_some(candidate)
            })
            .collect()
    }

    fn is_conditional(&self) -> bool {
        super::conditional::is_conditional(&self.parts.headers)
    }

    /// Where a response with these fields is stored for this request.
    fn key_of(&self, headers: &HeaderMap) -> Arc<[u8]> {
        match self.variant(headers) {
            Some((_, key)) => key,
            None => self.primary.as_slice().into(),
        }
    }

    fn variant(&self, headers: &HeaderMap) -> Option<(Selecting, Arc<[u8]>)> {
        let selecting = selecting(headers)?;
        let mut key = Vec::new();
        let normalize = self.shared.normalize.as_deref();
        let request = &self.parts.headers;
        write_variant(&mut key, &self.primary, &selecting, request, normalize);
        Some((selecting, key.into()))
    }

    /// Nobody answered. What is stale may do.
    pub(super) fn failed<B>(self) -> Option<Response<CacheBody<B>>> {
        self.remove_target();
        let stale = self.stale_instead(None);
        emit(&self.shared.cache, Event::FillFailed { key: &self.primary });
        if let Some(leader) = self.leader {
            leader.complete(Landed::Failed(None));
        }
        stale
    }

    /// The inner service has answered.
    pub(super) fn respond<B>(mut self, response: Response<B>) -> Response<CacheBody<B>>
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
            emit(&self.shared.cache, Event::FillFailed { key: &self.primary });
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
            Some(verdict) => self.keep(head, body, verdict),
            None => self.pass(head, body),
        }
    }

    /// A response that is for its client alone.
    fn pass<B>(mut self, mut head: response::Parts, body: B) -> Response<CacheBody<B>> {
        if let Some(leader) = self.leader.take() {
            // A failure says nothing of what comes after it, and a 304 nothing of the 200 that it stands for.
            if !is_failure(head.status) && head.status != StatusCode::NOT_MODIFIED {
                self.shared.private.remember(&self.flight);
            }
            leader.complete(Landed::Private);
        }
        self.tell(&mut head, false);
        Response::from_parts(head, CacheBody::pass(body))
    }

    /// A response that is stored as it streams, and shared with those who wait for it.
    fn keep<B>(
        mut self,
        mut head: response::Parts,
        body: B,
        verdict: Verdict,
    ) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut headers = end_to_end(&head.headers);
        for name in &verdict.omitted {
            headers.remove(name);
        }
        let is_fresh =
            !verdict.policy.no_cache && verdict.policy.lifetime > verdict.policy.initial_age;
        self.listen_to_search(&head);
        let place = self.place(&head, &headers, verdict);
        let announced = announced_length(&head.headers, body.size_hint().exact());
        let is_too_large = announced.is_some_and(|bytes| bytes > self.shared.max_object as u64);
        let recording = (!is_too_large).then(|| {
            Recording::new(head.status, headers.clone(), self.shared.max_object)
                .announced(announced)
        });
        let leader = self.leader.take();
        self.tell(&mut head, recording.is_some());
        let body = match leader {
            Some(leader) if is_fresh => {
                self.shared.private.forget(&self.flight);
                let of = Head {
                    status: head.status,
                    version: head.version,
                    headers,
                    primary: place.primary.clone(),
                    made: place.made.clone(),
                    stamp: place.stamp,
                    variant: place.variant.clone(),
                };
                CacheBody::shared(self.share(of, body, leader, recording.zip(Some(place))))
            }
            leader => {
                if let Some(leader) = leader {
                    // Each use is to be validated by itself.
                    self.shared.private.remember(&self.flight);
                    leader.complete(Landed::Private);
                }
                match recording {
                    Some(recording) => {
                        CacheBody::store(Recorder::new(body, recording, on_end(place)))
                    }
                    None => CacheBody::pass(body),
                }
            }
        };
        Response::from_parts(head, body)
    }

    /// A part of a response: it is put to what is stored of the same, and when that is all there is, that is stored as a whole.
    fn keep_part<B>(
        mut self,
        mut head: response::Parts,
        body: B,
        part: Range<u64>,
        total: u64,
    ) -> Response<CacheBody<B>>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let whole = whole_head(&head, total);
        let length = part.end - part.start;
        let verdict = self.judge(&whole);
        let Some(verdict) = verdict.filter(|_| length <= self.shared.max_object as u64) else {
            return self.pass(head, body);
        };
        self.listen_to_search(&whole);
        let mut headers = end_to_end(&whole.headers);
        for name in &verdict.omitted {
            headers.remove(name);
        }
        let place = self.place(&whole, &headers, verdict);
        let recording = Recording::new(whole.status, headers, self.shared.max_object);
        let recording = recording.announced(Some(length));
        self.tell(&mut head, true);
        let parts = self.parts_place(&place);
        let limit = self.shared.max_object;
        let on_end = Box::new(move |outcome| {
            if let Outcome::Complete(recorded) = outcome {
                file_part(&place, &parts, &recorded, &part, total, limit);
            }
        });
        let body = CacheBody::store(Recorder::new(body, recording, on_end));
        Response::from_parts(head, body)
    }

    /// Where the parts of a response are kept: beside the place of the whole, and they go with what is there.
    fn parts_place(&self, whole: &Place) -> Place {
        let primary = parts_key(&whole.primary);
        let mut under = whole.under.clone();
        under.push(whole.primary.clone());
        Place {
            variant: self.variant_of(&primary, whole.variant.as_ref()),
            primary,
            under,
            ..whole.clone()
        }
    }

    fn variant_of(
        &self,
        primary: &[u8],
        whole: Option<&(Selecting, Arc<[u8]>)>,
    ) -> Option<(Selecting, Arc<[u8]>)> {
        let (selecting, _) = whole?;
        let mut key = Vec::new();
        let normalize = self.shared.normalize.as_deref();
        let request = &self.parts.headers;
        write_variant(&mut key, primary, selecting, request, normalize);
        Some((Arc::clone(selecting), key.into()))
    }

    /// Puts a body where others can read it too.
    fn share<B>(
        &self,
        head: Head,
        body: B,
        leader: Leader,
        record: Option<(Recording, Place)>,
    ) -> buttress_wire::tape::TapeReader<super::flight::Live>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let head = Arc::new(head);
        let (window, stall) = (self.shared.window, self.shared.stall);
        let (tape, reader) = Tape::new(live(body), window, laggards(stall));
        if let Some((recording, place)) = record {
            tape.record(recording, on_end(place));
        }
        let landing = leader.land(
            Landed::Response(Arc::clone(&head), reader.clone()),
            Landed::Streaming(head, tape.clone()),
        );
        // The key is free once the start of the body is gone, the body has ended (and is stored), or nobody reads it.
        tape.on_closed(move || drop(landing));
        reader
    }

    /// Whether what a `POST` has answered is also what a `GET` would get (RFC 9110, 9.3.3): then it says where it is, and how long it is
    /// fresh.
    fn is_storable_post(&self, head: &response::Parts) -> bool {
        let target = self.target.as_ref().filter(|_| self.shared.store_post);
        self.asked.method == Method::POST
            && head.status == StatusCode::OK
            && target.is_some_and(|target| target.is_at_content_location(&head.headers))
            && is_explicit(&head.headers, &self.shared.rules, self.shared.date())
    }

    /// The key by what the response says of its query; the next who asks for its path will have it too.
    fn listen_to_search(&mut self, head: &response::Parts) {
        if !self.shared.search {
            return;
        }
        let rule = SearchRule::of(&head.headers);
        let mut primary = Vec::new();
        let shared = &self.shared;
        shared.write_primary_by(&mut primary, &self.parts, rule.as_ref());
        let mut rule_key = Vec::new();
        shared.write_rule_key(&mut rule_key, &self.parts);
        if primary != self.primary || rule.is_some() {
            set_search_rule(&shared.cache, &rule_key, rule.clone(), self.stamp);
        }
        self.rule = rule.map(|_| rule_key);
        self.primary = primary;
    }

    /// How the response may be stored, if it may be.
    fn judge(&self, head: &response::Parts) -> Option<Verdict> {
        // A response that was joined inside of us was begun for somebody else, perhaps before what has been invalidated since, and has
        // lost its tags: whoever led stores it.
        let joined = head.extensions.get() == Some(&Flight::Joined);
        let refused = || !self.shared.may_store(&self.parts, head);
        if self.why == Forwarded::Bypass || joined || is_event_stream(&head.headers) || refused() {
            return None;
        }
        let received = Instant::now();
        let arrival = Arrival {
            time: self.shared.date(),
            delay: received.saturating_duration_since(self.begun),
            ttl: self.shared.ttl_of(&self.parts, head),
        };
        storable(&self.asked, head, &self.shared.rules, arrival)
    }

    fn place(&self, head: &response::Parts, headers: &HeaderMap, verdict: Verdict) -> Place {
        let mut tags = head
            .extensions
            .get::<CacheTags>()
            .cloned()
            .unwrap_or_default()
            .0;
        tags.extend(self.shared.header_tags(&head.headers));
        tags.extend(self.shared.tags_of(&self.parts, head));
        tags.extend(groups(headers, &self.shared.origin(&self.parts)));
        let made = Made {
            policy: verdict.policy,
            tags: tags.into(),
            depends_on: self.shared.dependencies_of(&self.parts, head),
            received: Instant::now(),
            date: self.shared.date(),
        };
        self.place_of(headers, made)
    }

    fn place_of(&self, headers: &HeaderMap, made: Made) -> Place {
        Place {
            cache: self.shared.cache.clone(),
            primary: self.primary.clone(),
            under: self.rule.iter().cloned().collect(),
            variant: self.variant(headers),
            max_variants: self.shared.max_variants,
            stamp: self.stamp,
            keep: self.shared.keep,
            made,
            marks: self.shared.marks.clone(),
        }
    }

    /// The origin says that what is stored still holds: its client gets that, whether it asked for a 304 or not (RFC 9111, 4.3.3).
    fn confirmed<B>(mut self, head: &response::Parts) -> Response<CacheBody<B>> {
        let is_only = self.candidates.len() == 1;
        let mut candidates = std::mem::take(&mut self.candidates).into_iter();
        let found = candidates.find_map(|candidate| {
            let stored = candidate.stored.recorded.headers();
            let confirms = confirms(&head.headers, stored, is_only);
            (confirms != Confirms::Other || is_only).then_some((candidate, confirms))
        });
        let leader = self.leader.take();
        let Some((candidate, confirms)) = found else {
            if let Some(leader) = leader {
                leader.complete(Landed::Private);
            }
            return unmatched(&self.parts.headers);
        };
        let mut stored = candidate.stored;
        let mut is_stored = false;
        match confirms {
            Confirms::This => (stored, is_stored) = self.freshen(&stored, &candidate.key, head),
            Confirms::Unchanged => {}
            // The origin contradicts itself; nobody else is to be answered with it.
            Confirms::Other => remove(&self.shared.cache, &candidate.key),
        }
        if let Some(leader) = leader {
            leader.complete(if is_stored {
                Landed::Stored
            } else {
                Landed::Private
            });
        }
        let told = Told {
            why: Some(self.why),
            fwd_status: Some(head.status),
            stored: is_stored,
            ..Told::default()
        };
        let now = Instant::now();
        let outcome = CacheOutcome::Revalidated;
        answer(&self.shared, &self.parts, &stored, now, outcome, told)
    }

    /// A stored response with what a 304 says, and whether it is in the store.
    fn freshen(
        &self,
        stored: &Arc<Stored>,
        key: &Arc<[u8]>,
        head: &response::Parts,
    ) -> (Arc<Stored>, bool) {
        let mut merged = Response::new(()).into_parts().0;
        merged.status = stored.recorded.status();
        merged.headers = updated(&stored.headers(), &head.headers);
        let arrival = Arrival {
            time: self.shared.date(),
            delay: self.begun.elapsed(),
            ttl: self.shared.ttl_of(&self.parts, &merged),
        };
        let asked = Asked {
            method: Method::GET,
            ..self.asked.clone()
        };
        let verdict = storable(&asked, &merged, &self.shared.rules, arrival);
        let is_storable = verdict.is_some();
        let verdict = verdict.unwrap_or_default();
        for name in &verdict.omitted {
            merged.headers.remove(name);
        }
        let made = Made {
            policy: verdict.policy,
            tags: Arc::clone(&stored.tags),
            depends_on: Arc::clone(&stored.depends_on),
            received: Instant::now(),
            date: arrival.time,
        };
        // Under this request's own key: one of another variant is from now on for both.
        let place = self.place_of(&merged.headers, made);
        let recorded = Recorded::new(
            merged.status,
            merged.headers,
            stored.recorded.body().clone(),
            stored.recorded.trailers().cloned(),
        );
        if is_storable {
            return (place.store(&recorded), true);
        }
        if !self.asked.no_store {
            remove(&self.shared.cache, key);
        }
        (place.unstored(&recorded), false)
    }

    /// The stale response in place of a failure, if both sides allow it (RFC 5861, 4). Looked for again: it may have been removed while the origin
    /// was asked.
    pub(super) fn stale_instead<B>(
        &self,
        status: Option<StatusCode>,
    ) -> Option<Response<CacheBody<B>>> {
        let stale = self.stale.as_ref()?;
        let now = Instant::now();
        let key = self.key_of(stale.recorded.headers());
        let stored = peek(&self.shared.cache, &key, now)?;
        if !self.wish.takes_if_error(&stored.policy, stored.age(now)) {
            return None;
        }
        emit(&self.shared.cache, Event::ServedStale { key: &key });
        let told = Told {
            why: Some(self.why),
            fwd_status: status,
            detail: Some("stale-if-error"),
            ..Told::default()
        };
        let outcome = CacheOutcome::Stale;
        Some(answer(
            &self.shared,
            &self.parts,
            &stored,
            now,
            outcome,
            told,
        ))
    }

    /// What a follower gets of the response that it waited for, if that is for it too: it selects the same, is still fresh, and began after
    /// whatever this request must not miss.
    pub(super) fn may_have(&self, head: &Head) -> bool {
        let policy = &head.made.policy;
        let same = |(selecting, key): &(Selecting, Arc<[u8]>)| {
            let mut own = Vec::new();
            let normalize = self.shared.normalize.as_deref();
            let request = &self.parts.headers;
            write_variant(&mut own, &head.primary, selecting, request, normalize);
            **key == *own
        };
        head.variant.as_ref().is_none_or(same)
            && head.age(Instant::now()) < policy.lifetime
            && is_current(
                &self.shared.cache,
                head.stamp,
                self.asked_at,
                &head.primary,
                &head.made.tags,
            )
    }

    /// The head that a follower gets.
    pub(super) fn follow<B>(&self, head: &Head, body: CacheBody<B>) -> Response<CacheBody<B>> {
        emit(&self.shared.cache, Event::Joined { key: &self.primary });
        let mut response = Response::new(body);
        *response.status_mut() = head.status;
        *response.version_mut() = head.version;
        let headers = response.headers_mut();
        headers.clone_from(&head.headers);
        headers.insert(AGE, age_value(head.age(Instant::now()).as_secs()));
        let told = Told {
            why: Some(self.why),
            collapsed: true,
            ..Told::default()
        };
        let outcome = CacheOutcome::Collapsed(self.why);
        self.mark(headers, outcome, told);
        if self.shared.extension {
            response.extensions_mut().insert(outcome);
        }
        response
    }

    fn tell(&self, head: &mut response::Parts, stored: bool) {
        let outcome = CacheOutcome::Forwarded(self.why);
        let told = Told {
            why: Some(self.why),
            stored,
            ..Told::default()
        };
        self.mark(&mut head.headers, outcome, told);
        if self.shared.extension {
            head.extensions.insert(outcome);
        }
    }

    /// Adds this cache's word after those of the caches nearer to the origin (RFC 9211, section 2).
    fn mark(&self, headers: &mut HeaderMap, outcome: CacheOutcome, told: Told<'_>) {
        let key = self.shared.told_key(&self.parts);
        let told = Told {
            key: key.as_deref(),
            ..told
        };
        let line: HeaderValue = told.line(&self.shared.marks.name);
        headers.append(CACHE_STATUS, line);
        if self.shared.marks.x_cache {
            headers.insert(X_CACHE, outcome.x_cache());
        }
    }

    /// What a response takes out of the store: the tags that its handler names, and, after an unsafe method that did not fail, the
    /// target, what `Location` and `Content-Location` name on the same origin (RFC 9111, section 4.4), and groups (RFC 9875, 3).
    fn invalidate(&self, head: &response::Parts) {
        if head.status.is_server_error() {
            return;
        }
        let cache = &self.shared.cache;
        if let Some(super::CacheInvalidate(tags)) = head.extensions.get() {
            invalidate(cache, tags, Depth::Expire);
        }
        let Some(target) = &self.target else {
            return self.contradicted(head);
        };
        if head.status.is_client_error() {
            return;
        }
        self.remove_target();
        for parts in target.named(&head.headers) {
            self.remove(&parts);
        }
        let groups = invalidated_groups(&head.headers, &self.shared.origin(&self.parts));
        if !groups.is_empty() {
            invalidate(cache, &groups, Depth::Remove);
        }
    }

    /// A `HEAD` that tells of another representation than the stored one (RFC 9111, 4.3.5).
    fn contradicted(&self, head: &response::Parts) {
        if self.parts.method == Method::HEAD
            && head.status == StatusCode::OK
            && let Some(stale) = &self.stale
            && contradicts(&head.headers, stale.recorded.headers())
        {
            let key = self.key_of(stale.recorded.headers());
            remove(&self.shared.cache, &key);
        }
    }

    /// After an unsafe request whose response is not seen: what has been done is not known, and it costs a miss.
    pub(super) fn remove_target(&self) {
        if let Some(target) = &self.target {
            self.remove(&target.parts);
        }
    }

    fn remove(&self, parts: &request::Parts) {
        for key in self.shared.keys_of(parts) {
            remove(&self.shared.cache, &key);
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

fn on_end(place: Place) -> Box<dyn FnOnce(Outcome) + Send> {
    Box::new(move |outcome| {
        if let Outcome::Complete(recorded) = outcome {
            place.store(&recorded);
        }
    })
}

/// Puts a part to the others, and the whole in its place once it is there.
fn file_part(
    place: &Place,
    parts: &Place,
    recorded: &Recorded,
    part: &Range<u64>,
    total: u64,
    limit: usize,
) {
    let piece = Pieces::new(total, part.start, recorded.body().clone());
    let head = |body| Recorded::new(recorded.status(), recorded.headers().clone(), body, None);
    if let Some(whole) = parts.store_part(&head(Bytes::new()), piece, limit) {
        place.store(&head(whole));
    }
}

/// Where the parts of what is under a primary key are kept.
pub(super) fn parts_key(primary: &[u8]) -> Vec<u8> {
    let mut key = primary.to_vec();
    KeyBuilder::new(&mut key).part("parts");
    key
}

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
