//! A stored response that is sent as it is: what most hits are.

use http::Response;

use super::answer::put_words;
use super::body::CacheBody;
use super::store::Held;
use super::words::Words;

/// A stored response, and what is to be told of it. The response itself is made in the place that it is wanted in, when it is asked for: to hand it on from one
/// place to the next, larger than it is here, would take as long as making it.
pub(super) struct Whole {
    stored: Held,
    words: Words,
}

impl Whole {
    pub(super) fn new(stored: Held, words: Words) -> Self {
        Self { stored, words }
    }

    #[inline(always)]
    pub(super) fn into_response<B>(self) -> Response<CacheBody<B>> {
        let recorded = &self.stored.recorded;
        let mut headers = recorded.headers().clone();
        let (is_only_teller, words) = (self.stored.is_only_teller(), self.words);
        put_words(&mut headers, is_only_teller, words.age, words.line);
        let mut response = Response::new(CacheBody::hit(recorded.replay_body()));
        *response.status_mut() = recorded.status();
        *response.headers_mut() = headers;
        response
    }
}
