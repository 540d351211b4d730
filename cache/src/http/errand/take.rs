//! What a response takes out of the store.

use http::{Method, StatusCode, request, response};

use super::Errand;
use crate::Depth;
use crate::http::CacheInvalidate;
use crate::http::invalidation::invalidated_groups;
use crate::http::store::{invalidate, remove};
use crate::http::validation::{HeadTells, told_by_head};

impl Errand {
    /// What a response takes out of the store: the tags that its handler names, and, after an unsafe method that did not fail, the
    /// target, what `Location` and `Content-Location` name on the same origin (RFC 9111, section 4.4), and groups (RFC 9875, 3).
    pub(super) fn invalidate(&self, head: &response::Parts) {
        if head.status.is_server_error() {
            return;
        }
        let cache = &self.shared.cache;
        if let Some(CacheInvalidate(tags)) = head.extensions.get() {
            invalidate(cache, tags, Depth::Expire);
        }
        let Some(target) = &self.target else {
            return self.compare_head(head);
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

    /// A `HEAD` that tells whether what is stored for the same still holds (RFC 9111, 4.3.5).
    fn compare_head(&self, head: &response::Parts) {
        let is_told = self.parts.method == Method::HEAD && head.status == StatusCode::OK;
        let Some(stale) = self.stale.as_ref().filter(|_| is_told) else {
            return;
        };
        let stored = stale.recorded.headers();
        let key = self.key_of(stored);
        match told_by_head(&head.headers, stored, stale.total()) {
            HeadTells::Same => drop(self.freshen(stale, &key, head)),
            HeadTells::Other => remove(&self.shared.cache, &key),
            HeadTells::Nothing => {}
        }
    }

    /// After an unsafe request whose response is not seen: what has been done is not known, and it costs a miss.
    pub(in crate::http) fn remove_target(&self) {
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
