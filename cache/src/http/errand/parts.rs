//! A part of a response (RFC 9111, sections 3.3 and 3.4).

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use buttress_wire::key::KeyBuilder;
use buttress_wire::{Outcome, Recorder, Recording};
use http::header::IF_RANGE;
use http::{Response, response};
use http_body::Body;

use super::Errand;
use super::keep::stored_fields;
use crate::http::body::CacheBody;
use crate::http::flight::Landed;
use crate::http::pieces::{Pieces, whole_head};
use crate::http::place::Place;

impl Errand {
    /// A part of a response: it is put to what is stored of the same, and when that is all there is, that is stored as a whole.
    pub(super) fn keep_part<B>(
        &mut self,
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
        let judged = self.judge(&whole);
        let Some(judged) = judged.filter(|_| length <= self.shared.max_object as u64) else {
            return self.pass(head, body);
        };
        self.listen_to_search(&whole);
        let headers = stored_fields(&whole.headers, judged.sight, &judged.verdict).into_owned();
        let place = self.place(&whole, &headers, judged);
        let parts = self.parts_place(&place);
        // Who has a part already is told nothing else of the whole again (RFC 9110, 15.3.7).
        let is_addition = self.parts.headers.contains_key(IF_RANGE);
        let cache = &self.shared.cache;
        if is_addition && parts.earlier(cache, &headers, total).is_none() {
            return self.pass(head, body);
        }
        if let Some(leader) = self.leader.take() {
            leader.complete(Landed::Private);
        }
        let limit = self.shared.max_object;
        let recording = Recording::new(whole.status, headers, limit).announced(Some(length));
        self.tell(&mut head, true);
        let shared = Arc::clone(&self.shared);
        let on_end = Box::new(move |outcome| {
            let Outcome::Complete(recorded) = outcome else {
                return;
            };
            let earlier = || parts.earlier(&shared.cache, recorded.headers(), total);
            if is_addition && earlier().is_none() {
                return;
            }
            // The whole takes its place once it is there.
            let piece = Pieces::new(total, part.start, recorded.body().clone());
            if let Some(whole) = parts.store_part(&shared, recorded.headers().clone(), piece) {
                place.store(&shared, &whole);
            }
        });
        let body = CacheBody::store(Recorder::new(body, recording, on_end));
        Response::from_parts(head, body)
    }

    /// Where the parts of a response are kept: beside the place of the whole, and they go with what is there.
    fn parts_place(&self, whole: &Place) -> Place {
        let primary: Arc<[u8]> = parts_key(&whole.primary).into();
        let mut under = whole.under.clone();
        under.push(whole.primary.to_vec());
        let variant = whole.variant.as_ref().map(|(selecting, _)| {
            let key = self.variant_key(&primary, selecting);
            (Arc::clone(selecting), key)
        });
        Place {
            variant,
            primary,
            under,
            ..whole.clone()
        }
    }
}

/// Where the parts of what is under a primary key are kept.
pub(in crate::http) fn parts_key(primary: &[u8]) -> Vec<u8> {
    let mut key = primary.to_vec();
    KeyBuilder::new(&mut key).part("parts");
    key
}
