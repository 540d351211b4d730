//! A response that is stored, shared, or for its client alone.

use std::error::Error;
use std::sync::Arc;

use buttress_dedup::http::Flight;
use buttress_wire::fields::{announced_length, end_to_end, is_event_stream};
use buttress_wire::tape::{Tape, TapeReader};
use buttress_wire::{Outcome, Recorder, Recording};
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
use crate::http::status::Forwarded;
use crate::http::storability::{Arrival, Verdict, is_explicit, storable};
use crate::http::store::set_search_rule;
use crate::http::stored::Made;
use crate::http::variants::{Variant, said};

impl Errand {
    /// A response that is for its client alone.
    pub(super) fn pass<B>(&mut self, mut head: response::Parts, body: B) -> Response<CacheBody<B>> {
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
        verdict: Verdict,
    ) -> Response<CacheBody<B>>
    where
        B: Body + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.listen_to_search(&head);
        let is_fresh = verdict.policy.is_fresh_at_first();
        let headers = stored_fields(&head.headers, &verdict);
        let place = self.place(&head, &headers, verdict);
        let announced = announced_length(&head.headers, body.size_hint().exact());
        let record = self.record(&head, &headers, announced, &place);
        let leader = self.leader.take();
        self.tell(&mut head, record.is_some());
        let body = match leader {
            Some(leader) if is_fresh => {
                if let Some(flight) = &self.flight {
                    self.shared.private.forget(flight);
                }
                let of = Head::new(&head, headers, &place);
                CacheBody::shared(self.share(of, body, leader, record))
            }
            leader => {
                if let Some(leader) = leader {
                    // Each use is to be validated by itself.
                    self.remember_private();
                    leader.complete(Landed::Private);
                }
                alone(body, record)
            }
        };
        Response::from_parts(head, body)
    }

    /// What is recorded, and where it goes; `None` for what is announced to be too large.
    fn record(
        &self,
        head: &response::Parts,
        headers: &HeaderMap,
        announced: Option<u64>,
        place: &Place,
    ) -> Option<Record> {
        let limit = self.shared.max_object;
        let is_too_large = announced.is_some_and(|bytes| bytes > limit as u64);
        let recording = Recording::new(head.status, headers.clone(), limit);
        (!is_too_large).then(|| (recording.announced(announced), place.clone()))
    }

    /// Puts a body where others can read it too.
    fn share<B>(
        &self,
        head: Head,
        body: B,
        leader: Leader,
        record: Option<Record>,
    ) -> TapeReader<Live>
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
        if primary != self.primary || rule.is_some() {
            set_search_rule(&shared.cache, &rule_key, rule.clone(), self.stamp);
        }
        self.rule = rule.map(|_| rule_key);
        self.primary = primary;
    }

    /// How the response may be stored, if it may be.
    pub(super) fn judge(&self, head: &response::Parts) -> Option<Verdict> {
        let refused = || !self.shared.may_store(&self.parts, head);
        if self.why == Forwarded::Bypass
            || is_joined(head)
            || is_event_stream(&head.headers)
            || refused()
        {
            return None;
        }
        let arrival = || Arrival {
            time: self.shared.date(),
            delay: self.begun.elapsed(),
            ttl: self.shared.ttl_of(&self.parts, head),
        };
        storable(&self.asked, head, &self.shared.rules, arrival)
    }

    pub(super) fn place(
        &self,
        head: &response::Parts,
        headers: &HeaderMap,
        verdict: Verdict,
    ) -> Place {
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

    pub(super) fn place_of(&self, headers: &HeaderMap, made: Made) -> Place {
        let variant = self.variant(headers);
        let said = |(selecting, _): &Variant| said(selecting, &self.parts.headers);
        Place {
            cache: self.shared.cache.clone(),
            primary: self.primary.clone(),
            under: self.rule.iter().cloned().collect(),
            said: variant.as_ref().and_then(said),
            variant,
            max_variants: self.shared.max_variants,
            stamp: self.stamp,
            keep: self.shared.keep,
            made,
            marks: self.shared.marks.clone(),
        }
    }
}

type Record = (Recording, Place);

/// A body that is stored, and not shared.
fn alone<B>(body: B, record: Option<Record>) -> CacheBody<B>
where
    B: Body,
{
    match record {
        Some((recording, place)) => CacheBody::store(Recorder::new(body, recording, on_end(place))),
        None => CacheBody::pass(body),
    }
}

/// The fields of a response that are stored of it.
pub(super) fn stored_fields(headers: &HeaderMap, verdict: &Verdict) -> HeaderMap {
    let mut stored = end_to_end(headers);
    for name in &verdict.omitted {
        stored.remove(name);
    }
    stored
}

/// A response that was joined inside of us was begun for somebody else, perhaps before what has been invalidated since, and has
/// lost its tags: whoever led stores it.
pub(super) fn is_joined(head: &response::Parts) -> bool {
    head.extensions.get() == Some(&Flight::Joined)
}

fn on_end(place: Place) -> Box<dyn FnOnce(Outcome) + Send> {
    Box::new(move |outcome| {
        if let Outcome::Complete(recorded) = outcome {
            place.store(&recorded);
        }
    })
}
