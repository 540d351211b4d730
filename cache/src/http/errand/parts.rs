//! A part of a response (RFC 9111, sections 3.3 and 3.4).

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use buttress_wire::key::KeyBuilder;
use buttress_wire::{Outcome, Recorded, Recorder, Recording};
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
        let verdict = self.judge(&whole);
        let Some(verdict) = verdict.filter(|_| length <= self.shared.max_object as u64) else {
            return self.pass(head, body);
        };
        self.listen_to_search(&whole);
        let headers = stored_fields(&whole.headers, &verdict);
        let place = self.place(&whole, &headers, verdict);
        let parts = self.parts_place(&place);
        // Who has a part already is told nothing else of the whole again (RFC 9110, 15.3.7).
        let is_addition = self.parts.headers.contains_key(IF_RANGE);
        if is_addition && parts.earlier(&headers, total).is_none() {
            return self.pass(head, body);
        }
        if let Some(leader) = self.leader.take() {
            leader.complete(Landed::Private);
        }
        let limit = self.shared.max_object;
        let recording = Recording::new(whole.status, headers, limit).announced(Some(length));
        self.tell(&mut head, true);
        let on_end = Box::new(move |outcome| {
            if let Outcome::Complete(recorded) = outcome
                && !(is_addition && parts.earlier(recorded.headers(), total).is_none())
            {
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
    if let Some(whole) = parts.store_part(recorded.headers().clone(), piece, limit) {
        place.store(&whole);
    }
}

/// Where the parts of what is under a primary key are kept.
pub(in crate::http) fn parts_key(primary: &[u8]) -> Vec<u8> {
    let mut key = primary.to_vec();
    KeyBuilder::new(&mut key).part("parts");
    key
}
