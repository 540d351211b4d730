//! A response that is stored, shared, or for its client alone.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use buttress_dedup::http::Flight;
use buttress_wire::fields::{announced_length, end_to_end, is_event_stream};
use buttress_wire::tape::{Tape, TapeReader};
use buttress_wire::{Outcome, Recorded, Recorder, Recording};
use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Response, StatusCode, response};
use http_body::Body;
use tokio::time::Instant;

use super::{Errand, is_failure};
use crate::http::CacheTags;
use crate::http::body::CacheBody;
use crate::http::flight::{Head, Landed, Leader, Live, laggards, live};
use crate::http::invalidation::groups;
use crate::http::place::Place;
use crate::http::query::SearchRule;
use crate::http::settings::MAX_TAGS;
use crate::http::sight::Sight;
use crate::http::status::Forwarded;
use crate::http::storability::{Arrival, Verdict, is_explicit, storable};
use crate::http::store::set_search_rule;
use crate::http::stored::{Made, marked};
use crate::http::variants::{Variant, said};

impl Errand {
    /// A response that is for its client alone.
    pub(super) fn pass<B>(&mut self, mut head: response::Parts, body: B) -> Response<CacheBody<B>> {
        self.remember_vain();
        if let Some(leader) = self.leader.take() {
            // A failure says nothing of what comes after it, and a 304 nothing of the 200 that it stands for.
            if !is_failure(head.status) && head.status != StatusCode::NOT_MODIFIED {
                self.remember_private();
            }
            leader.complete(Landed::Private);
        }
        self.tell(&mut head, false);
        Response::from_parts(head, CacheBody::pass(body))
    }

    /// A response that is stored as it streams, and shared with those who wait for it.
    pub(super) fn keep<B>(
        &mut self,
        mut head: response::Parts,
        body: B,
        judged: Judged,
    ) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.listen_to_search(&head);
        let is_fresh = judged.verdict.policy.is_fresh_at_first();
        let announced = announced_length(&head.headers, body.size_hint().exact());
        let kept = Arc::new(self.head(&head, judged));
        let recording = self.recording(&kept, announced);
        let leader = self.leader.take();
        self.tell(&mut head, recording.is_some());
        let body = match leader {
            Some(leader) if is_fresh => {
                if let Some(flight) = &self.flight {
                    self.shared.private.forget(flight.hash);
                }
                CacheBody::shared(self.share(kept, body, leader, recording))
            }
            leader => {
                if let Some(leader) = leader {
                    // Each use is to be validated by itself.
                    self.remember_private();
                    leader.complete(Landed::Private);
                }
                match recording {
                    Some(recording) => {
                        let on_end = Box::new(self.on_end(kept));
                        CacheBody::store(Recorder::new(body, recording, on_end))
                    }
                    None => {
                        self.remember_vain();
                        CacheBody::pass(body)
                    }
                }
            }
        };
        Response::from_parts(head, body)
    }

    /// What is stored of a response, and shared, beside its body.
    fn head(&self, head: &response::Parts, judged: Judged) -> Head {
        let fields = stored_fields(&head.headers, judged.sight, &judged.verdict);
        let (headers, is_only_teller) = marked(&fields, judged.date, &self.shared.marks);
        let place = self.place(head, &headers, judged);
        Head {
            version: head.version,
            recorded: Recorded::new(head.status, headers, Bytes::new(), None),
            is_only_teller,
            place,
        }
    }

    /// What records the body; `None` for what is announced to be too large.
    fn recording(&self, head: &Head, announced: Option<u64>) -> Option<Recording> {
        let limit = self.shared.max_object;
        let is_too_large = announced.is_some_and(|bytes| bytes > limit as u64);
        let recording = || Recording::of(head.recorded.clone(), limit).announced(announced);
        (!is_too_large).then(recording)
    }

    /// Stores what was recorded whole. Until then nobody else refreshes what it is to take the place of; and nobody of its like for a while, if it was not.
    fn on_end(&mut self, head: Arc<Head>) -> impl FnOnce(Outcome) + Send + use<> + 'static {
        let (shared, refreshing) = (Arc::clone(&self.shared), self.refreshing.take());
        let flight = self.flight.as_ref().map(|flight| flight.hash);
        move |outcome| {
            if let Outcome::Complete(recorded) = outcome {
                let place = &head.place;
                place.store_ready(&shared, recorded, head.is_only_teller);
            } else if let (Some(_), Some(flight)) = (&refreshing, flight) {
                shared.vain.remember(flight);
            }
            drop(refreshing);
        }
    }

    /// Puts a body where others can read it too.
    fn share<B>(
        &mut self,
        head: Arc<Head>,
        body: B,
        leader: Leader,
        recording: Option<Recording>,
    ) -> TapeReader<Live>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (window, stall) = (self.shared.window, self.shared.stall);
        let (tape, reader) = Tape::boxed(live(body), window, laggards(stall));
        match recording {
            Some(recording) => tape.record(recording, self.on_end(Arc::clone(&head))),
            None => self.remember_vain(),
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
    pub(super) fn is_storable_post(&self, head: &response::Parts) -> bool {
        let target = self.target.as_ref().filter(|_| self.shared.store_post);
        self.asked.method == Method::POST
            && head.status == StatusCode::OK
            && target.is_some_and(|target| target.is_at_content_location(&head.headers))
            && is_explicit(&head.headers, &self.shared.rules, self.shared.date())
    }

    /// The key by what the response says of its query; the next who asks for its path will have it too.
    pub(super) fn listen_to_search(&mut self, head: &response::Parts) {
        if !self.shared.search {
            return;
        }
        let rule = SearchRule::of(&head.headers);
        let mut primary = Vec::new();
        let shared = &self.shared;
        shared.write_primary_by(&mut primary, &self.parts, rule.as_ref());
        let mut rule_key = Vec::new();
        shared.write_rule_key(&mut rule_key, &self.parts);
        if *primary != *self.primary || rule.is_some() {
            set_search_rule(&shared.cache, &rule_key, rule.clone(), self.stamp);
        }
        self.rule = rule.map(|_| rule_key);
        self.primary = primary.into();
    }

    /// How the response may be stored, if it may be.
    pub(super) fn judge(&self, head: &response::Parts) -> Option<Judged> {
        if self.why == Forwarded::Bypass || is_joined(head) {
            return None;
        }
        let mut received = (self.begun, SystemTime::UNIX_EPOCH);
        let arrival = || {
            received = (Instant::now(), self.shared.date());
            Arrival {
                time: received.1,
                delay: received.0.saturating_duration_since(self.begun),
                ttl: self.shared.ttl_of(&self.parts, head),
            }
        };
        let rules = &self.shared.rules;
        let sight = Sight::of(&head.headers, &rules.targets);
        let verdict = storable(&self.asked, head, sight, rules, arrival)?;
        // What must not be stored nearly always says so; only of the rest is more asked.
        let may_be = !is_event_stream(&head.headers)
            && self.shared.header_tags(&head.headers).count() <= MAX_TAGS
            && self.shared.may_store(&self.parts, head);
        let (received, date) = received;
        may_be.then_some(Judged {
            verdict,
            sight,
            received,
            date,
        })
    }

    pub(super) fn place(
        &self,
        head: &response::Parts,
        headers: &HeaderMap,
        judged: Judged,
    ) -> Place {
        let named = head.extensions.get::<CacheTags>();
        let mut tags = named.cloned().unwrap_or_default().0;
        tags.extend(self.said_tags(head, headers, judged.sight));
        let made = Made {
            policy: judged.verdict.policy,
            tags: tags.into(),
            depends_on: self.shared.dependencies_of(&self.parts, head).into(),
            received: judged.received,
            date: judged.date,
        };
        self.place_of(headers, made)
    }

    /// The tags that a response has by its fields, and by whom this cache's owner asks.
    pub(super) fn said_tags(
        &self,
        head: &response::Parts,
        headers: &HeaderMap,
        sight: Sight,
    ) -> Vec<String> {
        let named = self.shared.header_tags(&head.headers);
        let mut tags: Vec<_> = named.map(str::to_owned).collect();
        tags.extend(self.shared.tags_of(&self.parts, head));
        if sight.has_groups() {
            tags.extend(groups(headers, &self.shared.origin(&self.parts)));
        }
        tags
    }

    pub(super) fn place_of(&self, headers: &HeaderMap, made: Made) -> Place {
        let variant = self.variant(headers);
        let said = |(selecting, _): &Variant| said(selecting, &self.parts.headers);
        Place {
            primary: Arc::clone(&self.primary),
            under: self.rule.iter().cloned().collect(),
            said: variant.as_ref().and_then(said),
            variant,
            begun: self.begun,
            stamp: self.stamp,
            made,
        }
    }
}

/// A response that may be stored: how, and when it came.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) sight: Sight,
    pub(super) received: Instant,
    pub(super) date: SystemTime,
}

/// The fields of a response that are stored of it: mostly all.
pub(super) fn stored_fields<'a>(
    headers: &'a HeaderMap,
    sight: Sight,
    verdict: &Verdict,
) -> Cow<'a, HeaderMap> {
    if verdict.omitted.is_empty() && !sight.has_hop_by_hop() {
        return Cow::Borrowed(headers);
    }
    let mut stored = end_to_end(headers);
    for name in &verdict.omitted {
        stored.remove(name);
    }
    Cow::Owned(stored)
}

/// A response that was joined inside of us was begun for somebody else, perhaps before what has been invalidated since, and has
/// lost its tags: whoever led stores it.
pub(super) fn is_joined(head: &response::Parts) -> bool {
    head.extensions.get() == Some(&Flight::Joined)
}
