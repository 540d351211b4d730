//! The origin says that what is stored still holds, or fails to say anything.

use std::borrow::Cow;
use std::sync::Arc;

use buttress_wire::Recorded;
use http::{Method, Response, StatusCode, response};
use tokio::time::Instant;

use super::Errand;
use super::keep::{is_joined, stored_fields};
use crate::Stale;
use crate::http::CacheTags;
use crate::http::answer::{answer, unmatched};
use crate::http::body::CacheBody;
use crate::http::flight::Landed;
use crate::http::freshness::initial_age;
use crate::http::glance::Glance;
use crate::http::policy::Policy;
use crate::http::settings::MAX_TAGS;
use crate::http::sight::Sight;
use crate::http::status::{CacheOutcome, Told};
use crate::http::storability::{Arrival, Asked, Verdict, storable};
use crate::http::store::{Found, Heard, remove, tell};
use crate::http::stored::{Made, Stored};
use crate::http::validation::{Confirms, confirms, updated};

impl Errand {
    /// The origin says that what is stored still holds: its client gets that, whether it asked for a 304 or not (RFC 9111, 4.3.3).
    pub(super) fn confirmed<B>(&mut self, head: &response::Parts) -> Response<CacheBody<B>> {
        let is_only = self.candidates.len() == 1;
        let candidates = std::mem::take(&mut self.candidates);
        let found = candidates.iter().find_map(|candidate| {
            let stored = candidate.stored.recorded.headers();
            let confirms = confirms(&head.headers, stored, is_only);
            (confirms != Confirms::Other || is_only).then_some((candidate, confirms))
        });
        let Some((candidate, confirms)) = found else {
            // An origin that does not say which one it means is not asked so again: the next one asks for the whole.
            for candidate in &candidates {
                remove(&self.shared.cache, &candidate.key);
            }
            self.release(None);
            return unmatched(&self.parts.headers);
        };
        let mut stored = Arc::clone(&candidate.stored);
        let mut is_stored = false;
        match confirms {
            Confirms::This => (stored, is_stored) = self.freshen(&stored, &candidate.key, head),
            // It cannot be renewed, or the origin contradicts itself: the next one asks for the whole.
            Confirms::Unchanged | Confirms::Other => remove(&self.shared.cache, &candidate.key),
        }
        if !is_stored {
            self.remember_vain();
        }
        self.release(is_stored.then_some(&*stored));
        let told = Told {
            why: Some(self.why),
            fwd_status: Some(head.status),
            stored: is_stored,
            ..Told::default()
        };
        let (age, outcome) = (stored.age(Instant::now()), CacheOutcome::Revalidated);
        let request = Glance::at(&self.parts);
        answer(&self.shared, &request, &stored, age, outcome, told)
    }

    /// Tells those who wait whether there is something for them in the store. What is not fresh even now is to be asked about by each for itself.
    fn release(&mut self, stored: Option<&Stored>) {
        let Some(leader) = self.leader.take() else {
            return;
        };
        let is_shared = stored.is_some_and(|stored| stored.is_fresh(Instant::now()));
        if !is_shared {
            self.remember_private();
        }
        leader.complete(if is_shared {
            Landed::Stored
        } else {
            Landed::Private
        });
    }

    /// A stored response with what a 304, or a `HEAD`, says of it, and whether it is in the store.
    pub(super) fn freshen(
        &self,
        stored: &Arc<Stored>,
        key: &Arc<[u8]>,
        head: &response::Parts,
    ) -> (Arc<Stored>, bool) {
        let (merged, made, fate) = self.renewed(stored, head);
        // Under this request's own key: one of another variant is from now on for both.
        let place = self.place_of(&merged.headers, made);
        // Another response has come since that one was asked about: it is no longer what is stored (4.3.4).
        if let Some(newer) = place.overtaken_by(&self.shared.cache, &merged.headers) {
            return (newer, true);
        }
        let recorded = Recorded::new(
            merged.status,
            merged.headers,
            stored.recorded.body().clone(),
            stored.recorded.trailers().cloned(),
        );
        match fate {
            Fate::Renewed => return (place.store(&self.shared, &recorded), true),
            Fate::Stays => {}
            Fate::Goes => remove(&self.shared.cache, key),
        }
        (place.unstored(&self.shared, &recorded), false)
    }

    /// The head of a stored response with what is said of it, as it is to be stored; when and how that came; and what becomes of what is stored.
    fn renewed(&self, stored: &Stored, head: &response::Parts) -> (response::Parts, Made, Fate) {
        let mut merged = Response::new(()).into_parts().0;
        merged.status = stored.recorded.status();
        merged.headers = updated(&stored.headers(), &head.headers);
        merged.extensions = head.extensions.clone();
        let arrival = Arrival {
            time: self.shared.date(),
            delay: self.begun.elapsed(),
            ttl: self.shared.ttl_of(&self.parts, &merged),
        };
        let sight = Sight::of(&merged.headers, &self.shared.rules.targets);
        let (verdict, fate) = self.judge_renewed(&merged, sight, arrival);
        if let Cow::Owned(stored) = stored_fields(&merged.headers, sight, &verdict) {
            merged.headers = stored;
        }
        let tags = self.renewed_tags(stored, &merged, sight);
        let fits = tags.len() <= stored.tags.len().max(2 * MAX_TAGS);
        let made = Made {
            policy: verdict.policy,
            tags: tags.into(),
            depends_on: stored.depends_on.clone(),
            received: Instant::now(),
            date: arrival.time,
        };
        (merged, made, if fits { fate } else { Fate::Goes })
    }

    /// How a stored response is to be used with what is said of it, and what becomes of it. Whoever asks, it is nobody's own; but what a 304 says to one who is known may be.
    fn judge_renewed(
        &self,
        merged: &response::Parts,
        sight: Sight,
        arrival: Arrival,
    ) -> (Verdict, Fate) {
        let judge = |asked: &Asked| storable(asked, merged, sight, &self.shared.rules, || arrival);
        let by_anybody = judge(&Asked::by_anybody());
        let verdict = judge(&Asked {
            method: Method::GET,
            ..self.asked.clone()
        });
        let may_store = self.shared.may_store(&self.parts, merged);
        let fate = if verdict.is_some() && may_store && !is_joined(merged) {
            Fate::Renewed
        } else if by_anybody.is_some() && may_store {
            Fate::Stays
        } else {
            Fate::Goes
        };
        let verdict = verdict.unwrap_or_else(|| Verdict {
            policy: Policy {
                initial_age: initial_age(&merged.headers, arrival.time, arrival.delay),
                ..Policy::default()
            },
            omitted: Vec::new(),
        });
        (verdict, fate)
    }

    /// What names a stored response, with what is said of it.
    fn renewed_tags(&self, stored: &Stored, merged: &response::Parts, sight: Sight) -> Vec<String> {
        let said = self.said_tags(merged, &merged.headers, sight);
        match merged.extensions.get() {
            Some(CacheTags(named)) => [&named[..], &said].concat(),
            // What named them before is not heard again.
            None => with_new(&stored.tags, said),
        }
    }

    /// The stale response in place of a failure, if both sides allow it (RFC 5861, 4). Looked for again: it may have been removed while the origin
    /// was asked.
    pub(in crate::http) fn stale_instead<B>(
        &self,
        status: Option<StatusCode>,
    ) -> Option<Response<CacheBody<B>>> {
        self.stale.as_ref()?;
        let now = Instant::now();
        let Found::Response(stored, _) = self.find(now) else {
            return None;
        };
        let age = stored.age(now);
        if !self.wish.takes_if_error(&stored.policy, age) {
            return None;
        }
        tell(
            &self.shared.cache,
            &self.primary,
            Heard::ServedStale(Stale::Failed),
        );
        let told = Told {
            why: Some(self.why),
            fwd_status: status,
            detail: Some("stale-if-error"),
            ..Told::default()
        };
        let (request, outcome) = (Glance::at(&self.parts), CacheOutcome::Stale);
        let answer = answer(&self.shared, &request, &stored, age, outcome, told);
        Some(answer)
    }
}

/// What becomes of what is stored, once more is said of it.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// What is said is stored with it.
    Renewed,
    /// As it was: what is said is for one alone.
    Stays,
    /// It may not be stored any more.
    Goes,
}

/// These, and those of `new` that are not among them.
fn with_new(these: &[String], new: Vec<String>) -> Vec<String> {
    let mut all = these.to_vec();
    all.extend(new.into_iter().filter(|tag| !these.contains(tag)));
    all
}
