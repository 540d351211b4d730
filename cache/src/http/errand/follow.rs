//! What a follower gets of the response that it waited for.

use http::Response;
use http::header::AGE;
use tokio::time::Instant;

use super::Errand;
use crate::http::age::age_value;
use crate::http::body::CacheBody;
use crate::http::flight::Head;
use crate::http::status::{CacheOutcome, Told};
use crate::http::store::{Heard, is_current, tell};
use crate::http::variants::Variant;

impl Errand {
    /// What a follower gets of the response that it waited for, if that is for it too: it selects the same, is still fresh, and began after
    /// whatever this request must not miss.
    pub(in crate::http) fn may_have(&self, head: &Head) -> bool {
        let policy = &head.made.policy;
        let same = |(selecting, key): &Variant| *key == self.variant_key(&head.primary, selecting);
        head.variant.as_ref().is_none_or(same)
            && head.age(Instant::now()) < policy.lifetime
            && is_current(
                &self.shared.cache,
                head.stamp,
                self.asked_at,
                &head.made.tags,
                head.goes_with(),
            )
    }

    /// The head that a follower gets.
    pub(in crate::http) fn follow<B>(
        &self,
        head: &Head,
        body: CacheBody<B>,
    ) -> Response<CacheBody<B>> {
        tell(&self.shared.cache, &self.primary, Heard::Joined);
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
}
