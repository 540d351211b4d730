//! What a follower gets of the response that it waited for.

use http::Response;
use tokio::time::Instant;

use super::Errand;
use crate::http::age::age_value;
use crate::http::answer::put_words;
use crate::http::body::CacheBody;
use crate::http::flight::Head;
use crate::http::status::{CacheOutcome, Told, X_CACHE};
use crate::http::store::{Heard, is_current, tell};
use crate::http::variants::Variant;

impl Errand {
    /// Whether a response that this request waited for is for it too: it selects the same, is still fresh, and began after whatever this request
    /// must not miss.
    pub(in crate::http) fn may_have(&self, head: &Head) -> bool {
        let place = &head.place;
        let same = |(selecting, key): &Variant| *key == self.variant_key(&place.primary, selecting);
        place.variant.as_ref().is_none_or(same) && self.is_current(head)
    }

    /// Whether it is still fresh, and began after whatever this request must not miss.
    pub(in crate::http) fn is_current(&self, head: &Head) -> bool {
        let place = &head.place;
        head.age(Instant::now()) < place.made.policy.lifetime
            && self.shared.cache.covers(place.begun, self.begun)
            && is_current(
                &self.shared.cache,
                place.stamp,
                self.asked_at,
                &place.made.tags,
                head.goes_with(),
            )
    }

    /// A response whose body is long under way, and which is of use to nobody who comes now, is in the way of none of them. Not for those
    /// who waited for it: the first of them to come back leads, and the flight of the key is his by then.
    pub(in crate::http) fn close_if_old(&self, head: &Head) {
        if let Some(flight) = self.flight.as_ref().filter(|_| !self.is_current(head)) {
            self.shared.flights.forget(&flight.key);
        }
    }

    /// The head that a follower gets.
    pub(in crate::http) fn follow<B>(
        &self,
        head: &Head,
        body: CacheBody<B>,
    ) -> Response<CacheBody<B>> {
        tell(&self.shared.cache, &self.primary, Heard::Joined);
        let mut response = Response::new(body);
        *response.status_mut() = head.recorded.status();
        *response.version_mut() = head.version;
        let headers = response.headers_mut();
        headers.clone_from(head.recorded.headers());
        let age = age_value(head.age(Instant::now()).as_secs());
        let told = Told {
            why: Some(self.why),
            collapsed: true,
            ..Told::default()
        };
        let outcome = CacheOutcome::Collapsed(self.why);
        put_words(headers, head.is_only_teller, age, self.line(told));
        if self.shared.marks.x_cache {
            headers.insert(X_CACHE, outcome.x_cache());
        }
        if self.shared.extension {
            response.extensions_mut().insert(outcome);
        }
        response
    }
}
