//! What other processes have stored.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use tokio::time::Instant;

use super::Errand;
use crate::http::answer::{answer, only_if_cached};
use crate::http::body::CacheBody;
use crate::http::flight::Landed;
use crate::http::glance::Glance;
use crate::http::reuse::Reuse;
use crate::http::status::{CacheOutcome, Forwarded, Told};
use crate::http::store::Found;
use crate::http::stored::Stored;
use crate::{Event, Tier};

/// A look into the level that processes share.
pub(in crate::http) type Look = Pin<Box<dyn Future<Output = Brought> + Send>>;

/// What it has for a request.
pub(in crate::http) struct Brought {
    /// By what the other processes know its target: they may know more of its query.
    primary: Arc<[u8]>,
    found: Found,
}

impl Errand {
    /// A look below, before the inner service is asked. `None` where there is nothing below, or nothing of it will do.
    pub(in crate::http) fn look_below(&self) -> Option<Look> {
        let is_for_the_store = !matches!(self.why, Forwarded::Bypass | Forwarded::Method);
        let looks = is_for_the_store && self.shared.looks_below(&self.wish);
        #[cfg(feature = "l2")]
        return looks.then(|| {
            let parts = super::copy(&self.parts, self.shared.has_hooks());
            let (shared, primary) = (Arc::clone(&self.shared), Arc::clone(&self.primary));
            Box::pin(look::select(shared, parts, primary)) as Look
        });
        #[cfg(not(feature = "l2"))]
        {
            let _ = looks;
            None
        }
    }

    /// What was found below, if it will do. Otherwise it is what the origin is asked about, if anything is.
    pub(in crate::http) fn found_below<B>(
        &mut self,
        brought: Brought,
    ) -> Option<Response<CacheBody<B>>> {
        self.primary = brought.primary;
        match brought.found {
            Found::Nothing => {}
            Found::OtherVariant(known) if self.stale.is_none() => {
                self.variants = Some(known);
                self.why = Forwarded::VaryMiss;
            }
            Found::OtherVariant(_) => {}
            Found::Response(stored, known) => {
                let age = stored.age(Instant::now());
                match self.wish.reuse(&stored.policy, age) {
                    Reuse::Fresh | Reuse::Stale => return Some(self.hit_below(&stored, age)),
                    _ if self.why != Forwarded::Request => self.why = Forwarded::Stale,
                    _ => {}
                }
                self.stale = Some(stored.into_stored());
                self.variants = known;
            }
        }
        // Who wants only what is stored has seen all that is.
        let is_enough = self.wish.is_only_if_cached();
        is_enough.then(|| only_if_cached(&self.parts.headers))
    }

    fn hit_below<B>(&mut self, stored: &Stored, age: Duration) -> Response<CacheBody<B>> {
        self.shared.cache.emit(Event::Hit {
            key: &self.primary,
            tier: Tier::Redis,
        });
        if let Some(leader) = self.leader.take() {
            self.shared.filed.add();
            leader.complete(Landed::Stored);
        }
        let told = Told {
            detail: Some("redis"),
            ..Told::default()
        };
        let request = Glance::at(&self.parts);
        let outcome = CacheOutcome::HitRedis;
        answer(&self.shared, &request, stored, age, outcome, told)
    }
}

#[cfg(feature = "l2")]
mod look {
    use std::sync::Arc;

    use futures_util::future::join_all;
    use http::request;
    use tokio::time::Instant;

    use super::Brought;
    use crate::Cache;
    use crate::entry::Usable;
    use crate::http::glance::Glance;
    use crate::http::settings::Shared;
    use crate::http::store::{Found, Held, other_than};
    use crate::http::stored::{CachedResponse, Kind, Stored};
    use crate::http::variants::write_variant;
    use crate::keyed::Keyed;

    /// What a request selects of what is below.
    pub(super) async fn select(
        shared: Arc<Shared>,
        parts: request::Parts,
        mut primary: Arc<[u8]>,
    ) -> Brought {
        if shared.search {
            let mut rule = Vec::new();
            shared.write_rule_key(&mut rule, &parts);
            if fetch(&shared.cache, &rule).await.is_some() {
                let mut by_rule = Vec::new();
                shared.write_primary(&mut by_rule, &Glance::at(&parts));
                primary = by_rule.into();
            }
        }
        let found = find(&shared, &parts, &primary).await;
        Brought { primary, found }
    }

    async fn find(shared: &Shared, parts: &request::Parts, primary: &[u8]) -> Found {
        let (request, normalize) = (&parts.headers, shared.normalize.as_deref());
        let variants = match fetch(&shared.cache, primary).await.map(|found| found.0) {
            Some(Kind::Response(stored)) => {
                return match other_than(&stored, primary, &Glance::at(parts), normalize) {
                    Some(known) => Found::OtherVariant(known),
                    None => Found::Response(Held::Own(stored), None),
                };
            }
            Some(Kind::Variants(variants)) => variants,
            Some(Kind::Search(_)) | None => return Found::Nothing,
        };
        let found = variants.sets.iter().map(|selecting| {
            let mut key = Vec::new();
            write_variant(&mut key, primary, selecting, request, normalize);
            async move { fetch(&shared.cache, &key).await }
        });
        let now = Instant::now();
        let newer = |one: Arc<Stored>, other: Arc<Stored>| {
            if other.is_newer(&one, now) {
                other
            } else {
                one
            }
        };
        let found = join_all(found).await.into_iter();
        match found.filter_map(response).reduce(newer) {
            Some(stored) => Found::Response(Held::Own(stored), Some(variants)),
            None => Found::OtherVariant(variants),
        }
    }

    fn response(found: Option<CachedResponse>) -> Option<Arc<Stored>> {
        match found?.0 {
            Kind::Response(stored) => Some(stored),
            Kind::Search(_) | Kind::Variants(_) => None,
        }
    }

    /// What is under a key, here or below, whichever is the newer; and it is here then, if there is room.
    async fn fetch(cache: &Cache<CachedResponse>, key: &[u8]) -> Option<CachedResponse> {
        let place = Keyed::new(cache, key);
        let below = place.look_below(false).await;
        let here = cache.peek(key, Instant::now());
        let below = below.filter(|found| {
            let is_newer = |stored| found.entry.stored >= stored;
            found.usable == Usable::Fresh
                && here
                    .as_ref()
                    .is_none_or(|here| is_newer(here.entry().stored))
        });
        let Some(found) = below else {
            return here.map(|here| CachedResponse::clone(&here));
        };
        let value = found.entry.value().cloned();
        cache.keep(&place.full, &found.entry);
        value
    }
}
